"""Files embedded in a page agree with the page."""

import base64
import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pandas as pd

from fdp_lightning.evaluation.charts import curves_chart
from fdp_lightning.evaluation.pages import palette, standalone, with_links

TABLE = """<div class="box" role="region" tabindex="0" aria-label="Scores &amp; more"><table>
<thead><tr><th scope="col">Class</th><th scope="col">F1<small>, mean</small></th></tr></thead>
<tbody><tr><th scope="row">a &amp; b_c<small>note</small></th>
<td>−0.5<small>0.1–0.2</small><small>p 0.01</small></td></tr>
<tr><th scope="row">d</th><td>1</td></tr></tbody></table></div>"""


def saved(page: str, suffix: str) -> str:
    (data,) = re.findall(rf'<a download="[^"]*\.{suffix}" href="data:[^;]*;base64,([^"]*)"', page)
    return base64.b64decode(data).decode()


def test_a_saved_table_has_its_notes_in_columns_of_their_own() -> None:
    page = with_links(TABLE)
    rows = list(csv.reader(io.StringIO(saved(page, "csv"))))
    assert rows == [
        ["Class", "Class, notes", "F1 , mean", "F1 , mean, notes"],
        ["a & b_c", "note", "-0.5", "0.1–0.2; p 0.01"],
        ["d", "", "1", ""],
    ]
    assert page.startswith(TABLE)


def test_a_saved_figure_is_a_complete_svg_without_css_variables() -> None:
    chart = curves_chart({"train": pd.DataFrame({"001": [0.0, 1.0]})}, 'a <label> & "more"')
    page = with_links(f"<figure><figcaption>loss</figcaption>{chart}</figure>")
    text = saved(page, "svg")
    drawing = ElementTree.fromstring(text)
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg" and float(drawing.get("width", 0)) > 100
    assert "var(" not in text and palette()["--accent"] in text
    assert standalone(str(chart)) == text

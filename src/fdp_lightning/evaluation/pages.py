"""Templates of pages, and links that save each figure of a page as SVG and each table as CSV and LaTeX.

The links contain the files as data URIs, so a page remains a single file without scripts. They are built from the
finished HTML, whatever produced it.
"""

import base64
import html
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import escape

from fdp_lightning.evaluation.tables.words import csv_text, latex_escape

if TYPE_CHECKING:
    from jinja2 import Template

_BOX = re.compile(r'<div class="box"[^>]*aria-label="([^"]*)"[^>]*>(?:(?!</div>).)*<table.*?</div>', re.DOTALL)
_FIGURE = re.compile(r'</figcaption>(<svg[^>]*aria-label="([^"]*)".*?</svg>)', re.DOTALL)
_SMALL = re.compile(r"<small\b[^>]*>(.*?)</small>", re.DOTALL)
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")


def template(name: str, folder: Path = Path(__file__).parent, escaped: bool = True) -> "Template":
    """Return a template by its file name; values are escaped unless `escaped` is False, and undefined names raise."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def with_links(page: str) -> str:
    """Add links below each figure and each table in a box; the same page yields the same bytes."""

    def table_links(found: re.Match[str]) -> str:
        name, rows = html.unescape(found[1]), table_rows(found[0])
        links = _link(name, "CSV", "csv", "text/csv", table_csv(rows))
        links += _link(name, "LaTeX", "tex", "application/x-tex", table_latex(rows))
        return f'{found[0]}<p class="save">{links}</p>'

    def figure_link(found: re.Match[str]) -> str:
        name = html.unescape(found[2])[:80]
        return f'{found[0]}<p class="save">{_link(name, "SVG", "svg", "image/svg+xml", standalone(found[1]))}</p>'

    return _FIGURE.sub(figure_link, _BOX.sub(table_links, page))


def _link(name: str, kind: str, suffix: str, media: str, content: str) -> str:
    data = base64.b64encode(content.encode()).decode()
    file = "_".join(re.findall(r"\w+", name.lower()))[:60] or "saved"
    label = escape(f"Save as {kind}: {name}")
    return f'<a download="{escape(file)}.{suffix}" href="data:{media};base64,{data}" aria-label="{label}">{kind}</a>'


def standalone(drawing: str) -> str:
    """Convert a drawing of a page to an SVG file with the page's light colours and background."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    background = f'<rect width="100%" height="100%" fill="{palette()["--page"]}"/>'
    opened = rf'<svg {names} width="\2" height="\3"\1 font-family="sans-serif">{background}'
    drawing = re.sub(r'^<svg( viewBox="\S+ \S+ (\S+) (\S+)"[^>]*)>', opened, drawing)
    return _VARIABLE.sub(lambda found: palette()[found[1]], drawing) + "\n"


@cache
def palette() -> dict[str, str]:
    """Return the page's light colours by the names of their CSS variables."""
    css = (Path(__file__).parent / "page.css").read_text()
    return dict(re.findall(r"(--[\w-]+): (#\w+)", css[: css.index("@media")]))


def table_rows(table: str) -> list[list[tuple[str, str]]]:
    """Return the rows of a table of our templates, each cell as its main text and its small print."""
    rows = []
    for row in re.findall(r"<tr\b.*?</tr>", table, re.DOTALL):
        cells = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        small = ["; ".join(filter(None, map(_text, _SMALL.findall(cell)))) for cell in cells]
        rows.append(list(zip([_text(_SMALL.sub("", cell)) for cell in cells], small, strict=True)))
    return rows


def _text(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", markup)).split())


def table_csv(rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Format a table as CSV; small print goes into a separate column next to its cell."""
    width = max(len(row) for row in rows)
    has_small = [any(len(row) > place and row[place][1] for row in rows[1:]) for place in range(width)]
    lines = []
    for number, row in enumerate(rows):
        cells: list[str] = []
        for (main, small), has in zip(row, has_small, strict=False):
            head = f"{main} {small}".strip()
            texts = (main.replace("−", "-"), small.replace("−", "-")) if number else (head, f"{head}, notes")
            cells += texts[: 1 + has]
        lines.append(cells)
    return csv_text(lines)


def table_latex(rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    r"""Format a table for `\input` with booktabs."""
    width = max(len(row) for row in rows)
    lines = []
    for number, row in enumerate(rows):
        cells = [
            latex_escape(main) + (rf" {{\scriptsize {latex_escape(small)}}}" if small else "") for main, small in row
        ]
        lines.append(" & ".join([*cells, *[""] * (width - len(row))]) + r" \\")
        lines += [r"\midrule"] if number == 0 else []
    body = "\n".join(lines)
    columns = f"l*{{{width - 1}}}{{r}}" if width > 1 else "l"
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"

"""The report page of a multi-label run."""

import json
import re
from pathlib import Path

import pytest
from random_units import UNITS, make_unit_run
from test_report_page import SECTIONS, Page

from fdp_lightning.evaluation.report import build_report


@pytest.fixture
def unit_run(tmp_path: Path) -> Path:
    return make_unit_run(tmp_path / "synthetic_au" / "default" / "seed-42", subjects=4, clips=6)


def _section(text: str, name: str) -> str:
    return text.split(f'<section id="{name}"')[1].split("</section>")[0]


def test_the_page_is_whole_and_its_numbers_are_those_of_metrics(unit_run: Path) -> None:
    text = build_report(unit_run, "A title", True, False).read_text()
    page = Page(text)
    single = ("calibration", "embedding")  # of one label per clip alone
    assert [name for name in page.ids if name in SECTIONS] == [name for name in SECTIONS if name not in single]
    assert not page.unlabelled
    found = json.loads((unit_run / "metrics.json").read_text())
    last = found["selections"]["last"]
    scores = _section(text, "scores")
    for row in (*found["selections"].values(), *found["floors"].values()):
        for name in ("accuracy", "mean_f1"):
            assert f"<td>{row[name]:.3f}" in scores
    low, high = last["ci95"]["mean_f1"]
    assert f"{low:.3f}–{high:.3f}" in scores
    for words in ("constant", "majority answer", "chance", "above 0.5", "optimism gap"):
        assert words in scores
    assert not re.search(r"UF1|UAR|majority class", scores)
    for unit in UNITS:
        (tn, fp), (fn, tp) = last["confusion"][unit]
        counts = "".join(f"<td>{n}</td>" for n in (tp + fn, tp, fp, fn, tn))
        assert f'<th scope="row">{unit}</th>{counts}' in _section(text, "confusion")
        low, high = last["ci95"]["f1"][unit]
        values = f"<td>{last['f1'][unit]:.3f}<small>{low:.3f}–{high:.3f}</small></td>"
        values += f"<td>{found['floors']['constant']['f1'][unit]:.3f}</td>"
        row = re.search(f'<th scope="row">{unit}</th>.*', _section(text, "classes"))
        assert row is not None and values in row[0]

"""The report page of a multi-label run."""

import json
import re
from pathlib import Path

import pytest
from random_units import UNITS, make_unit_run
from test_report_page import SECTIONS, Page

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.evaluation.report import build_report


@pytest.fixture
def unit_run(tmp_path: Path) -> Path:
    return make_unit_run(tmp_path / "synthetic_au" / "default" / "seed-42", subjects=4, clips=6)


def _section(text: str, name: str) -> str:
    return text.split(f'<section id="{name}"')[1].split("</section>")[0]


def test_the_page_is_whole_and_its_numbers_are_those_of_metrics(unit_run: Path) -> None:
    text = build_report(unit_run, "A title", True, False).read_text()
    page = Page(text)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
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


def test_subjects_show_their_share_of_right_decisions(unit_run: Path) -> None:
    text = _section(build_report(unit_run, "A title", False, False).read_text(), "subjects")
    table, _ = read_predictions(unit_run / "predictions.csv")
    for subject, part in table[table["selection"] == "last"].groupby("subject"):
        target, prediction = ([set(t.split("+")) - {""} for t in part[name]] for name in ("target", "prediction"))
        wrong = sum(len(t ^ p) for t, p in zip(target, prediction, strict=True))
        total = len(part) * len(UNITS)
        assert f"<span>{subject}</span>" in text
        assert f">{total - wrong} / {total}<" in text
    assert "decisions (clip and action unit) right of all" in text


def test_ranks_are_by_unit_and_no_picture_is_there_twice(unit_run: Path) -> None:
    text = build_report(unit_run, "A title", True, False).read_text()
    table, _ = read_predictions(unit_run / "predictions.csv")
    targets = table.loc[table["selection"] == "last", "target"]
    ranks = _section(text, "ranks")
    for unit in UNITS:
        clips = sum(unit in target.split("+") for target in targets)
        assert f"<figcaption>{unit} <small>{clips} clips" in ranks
    assert ranks.count("<svg") == len(UNITS)
    pictures = re.findall(r'alt="([^"]*)"', _section(text, "images"))
    assert 2 * len(UNITS) < len(pictures) == len(set(pictures)) <= 4 * len(UNITS)
    assert any("+" in picture for picture in pictures)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m | {"multi_label": False},
        lambda m: m | {"classes": m["classes"][::-1]},
        lambda m: m["selections"]["last"]["confusion"].update(AU1=[[1, 2], [3, 4]]) or m,
        lambda m: m["selections"]["last"]["confusion"].pop("AU1") and m,
    ],
)
def test_metrics_of_another_table_are_refused(unit_run: Path, change) -> None:
    path = unit_run / "metrics.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match="not of predictions"):
        build_report(unit_run, "A title", False, False)


def test_a_single_subject_has_a_page(tmp_path: Path) -> None:
    run = make_unit_run(tmp_path / "run", subjects=1)
    assert "too few subjects" in build_report(run, "A title", False, True).read_text()

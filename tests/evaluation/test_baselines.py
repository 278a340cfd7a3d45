"""Trained baselines: their table, their scores, and where they are shown."""

import json
from pathlib import Path

import pandas as pd
import pytest
from random_runs import CLASSES, make_predictions
from rich.console import Console
from scored_runs import table_of, write_run

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.baselines import (
    BASELINES,
    FILE,
    read_baselines,
    score_baselines,
    write_baselines,
)
from fdp_lightning.evaluation.outcomes import Outcomes
from fdp_lightning.evaluation.paired import paired_differences
from fdp_lightning.evaluation.predictions import pool, read_predictions, write_predictions
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.summary import scored, summarise
from fdp_lightning.evaluation.tables.comparison import Variant, compare, variant_tables
from fdp_lightning.evaluation.tables.render import variants_grid, write_variants
from fdp_lightning.evaluation.terminal import terminal_table
from fdp_lightning.labels import KEY


def last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["selection"] == "last"].reset_index(drop=True)


def of_baselines(**options: float) -> pd.DataFrame:
    """Predictions of both baselines over the clips of `table_of`."""
    parts = [last(table_of(number, skill=0.3, **options)) for number in (1, 2)]
    return pd.concat(
        [part.assign(selection=name, seed=0) for part, name in zip(parts, BASELINES, strict=True)], ignore_index=True
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    scores = score_baselines(of_baselines(), last(table_of(0)), CLASSES)
    folder = write_run(tmp_path / "default" / "seed-0", more={"baselines": scores})
    write_baselines(folder / FILE, of_baselines(), CLASSES)
    return folder


def test_scores_of_baselines_are_those_of_their_table(run: Path) -> None:
    path = run / "metrics.json"
    path.write_text(path.read_text().replace(str(read_run(run).metrics["baselines"]["linear_arp"]["uf1"]), "0.01"))
    with pytest.raises(UserError, match="baselines linear_arp uf1"):
        read_run(run)


def test_the_table_comes_back_and_is_no_table_of_predictions(tmp_path: Path) -> None:
    table = of_baselines()
    write_baselines(tmp_path / FILE, table, CLASSES)
    pd.testing.assert_frame_equal(read_baselines(tmp_path / FILE), table, check_dtype=False)
    header = (tmp_path / FILE).read_text().splitlines()[0].split(",")
    assert "baseline" in header and "selection" not in header and header[:4] == KEY
    with pytest.raises(UserError):
        read_predictions(tmp_path / FILE)
    write_predictions(tmp_path / "predictions.csv", make_predictions(), CLASSES)
    with pytest.raises(UserError):
        read_baselines(tmp_path / "predictions.csv")


def test_a_fold_without_its_baselines_is_named() -> None:
    table = of_baselines()
    expected = last(table_of(0))[[*KEY, "target"]]
    folds = [part for _, part in table.groupby("fold")]
    assert len(pool(folds, expected, CLASSES, names=list(BASELINES))) == len(table)
    with pytest.raises(UserError, match=r"linear_apex.*missing"):
        first = folds[0][folds[0]["selection"] == "linear_arp"]
        pool([*folds[1:], first], expected, CLASSES, names=list(BASELINES))
    with pytest.raises(UserError, match="missing"):
        pool(folds[1:], expected, CLASSES, names=list(BASELINES))


def test_scores_are_those_of_any_table_and_the_difference_is_paired() -> None:
    table, own = of_baselines(), last(table_of(0))
    found = score_baselines(table, own, CLASSES)
    assert list(found) == list(BASELINES)
    for name, row in found.items():
        part = table[table["selection"] == name]
        assert row["uf1"] == summarise(part.assign(selection="last"), CLASSES, "p", [])["selections"]["last"]["uf1"]
        assert {key: value for key, value in row.items() if key != "last_minus"} == scored(Outcomes.of(part, CLASSES))
        difference = paired_differences([part], [own], CLASSES)["uf1"]
        assert row["last_minus"]["uf1"] == {"value": difference.value, "ci95": difference.ci95, "p": difference.p}
    json.dumps(found, allow_nan=False)


def test_terminal_report_and_tables_show_each_baseline(run: Path, tmp_path: Path) -> None:
    finished = read_run(run)
    page = build_report(run, "title", show_faces=False, synthetic=True).read_text()
    console = Console(width=80, record=True, file=(tmp_path / "screen").open("w"))
    console.print(terminal_table(finished.metrics))
    screen = console.export_text()
    assert max(map(len, screen.splitlines())) <= 80
    (table,) = compare([Variant("run", (finished,))], [])
    (variants,) = variant_tables([Variant("run", (finished,))], {"run": ()})
    write_variants(tmp_path, [variants], "title", "command")
    grid = Console(width=80, record=True, file=(tmp_path / "grid").open("w"))
    grid.print(variants_grid(variants))
    shown = {"page": page, "screen": screen, "grid": grid.export_text()}
    shown |= {kind: (tmp_path / f"variants.{kind}").read_text() for kind in ("html", "md", "tex")}
    for (name, label), row in zip(BASELINES.items(), table.block("baseline"), strict=True):
        assert row.name == label and row.scores["uf1"] == finished.metrics["baselines"][name]["uf1"]
        for where, text in shown.items():
            assert label in text and f"{row.scores['uf1']:.3f}" in text, where

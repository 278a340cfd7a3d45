"""Trained baselines: their table, their scores, and where they appear."""

from pathlib import Path

import pandas as pd
import pytest
from looks import printed
from random_runs import CLASSES, last, paired_differences, table_of, write_run

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.baselines import BASELINES, FILE, read_baselines, score_baselines, write_baselines
from fdp_lightning.evaluation.predictions import Outcomes, read_predictions
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.summary import scored
from fdp_lightning.evaluation.tables.comparison import Variant, compare, variant_tables
from fdp_lightning.evaluation.tables.render import variants_grid, write_variants
from fdp_lightning.evaluation.terminal import terminal_table


@pytest.fixture
def table() -> pd.DataFrame:
    """Predictions of both baselines for the clips of `table_of`."""
    parts = {name: last(table_of(number, skill=0.3)) for number, name in enumerate(BASELINES, start=1)}
    return pd.concat([part.assign(selection=name, seed=0) for name, part in parts.items()], ignore_index=True)


@pytest.fixture
def run(tmp_path: Path, table: pd.DataFrame) -> Path:
    scores = score_baselines(table, last(table_of(0)), CLASSES)
    folder = write_run(tmp_path / "default" / "seed-0", more={"baselines": scores})
    write_baselines(folder / FILE, table, CLASSES)
    return folder


def test_the_table_is_read_back_unchanged_and_never_as_predictions(run: Path, table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(read_baselines(run / FILE), table, check_dtype=False)
    for read, path in ((read_predictions, run / FILE), (read_baselines, run / "predictions.csv")):
        with pytest.raises(UserError):
            read(path)


def test_scores_and_differences_follow_from_the_predictions(run: Path, table: pd.DataFrame) -> None:
    found = read_run(run).metrics["baselines"]
    assert list(found) == list(BASELINES)
    for name, row in found.items():
        part = table[table["selection"] == name]
        assert {key: value for key, value in row.items() if key != "last_minus"} == scored(Outcomes.of(part, CLASSES))
        difference = paired_differences([part], [last(table_of(0))], CLASSES)["uf1"]
        assert row["last_minus"]["uf1"] == {"value": difference.value, "ci95": difference.ci95, "p": difference.p}


def test_predictions_of_another_run_are_refused(table: pd.DataFrame) -> None:
    own = last(table_of(0))
    relabelled = own.assign(target=own["target"].where(own["clip"] != "002_3", "others"))
    for other, message in (
        (own.iloc[1:], "1 clips not among the predictions: synthetic/001/001_1@1"),
        (pd.concat([own, own.iloc[:1]]), "more than once: synthetic/001/001_1@1"),
        (relabelled, "target: synthetic/002/002_3"),
        (own.rename(columns={"prob_others": "prob_fear"}), "other classes"),
    ):
        with pytest.raises(UserError, match=message):
            score_baselines(table, other, CLASSES)


def test_terminal_report_and_tables_show_each_baseline(run: Path, tmp_path: Path) -> None:
    finished = read_run(run)
    screen = printed(terminal_table(finished.metrics))
    assert max(map(len, screen.splitlines())) <= 80
    (compared,) = compare([Variant("run", (finished,))], [])
    (variants,) = variant_tables([Variant("run", (finished,))], {"run": ()})
    write_variants(tmp_path, [variants], "title", "command")
    page = build_report(run, "title", show_faces=False, synthetic=True).read_text()
    shown = {"page": page, "screen": screen, "grid": printed(variants_grid(variants))}
    shown |= {kind: (tmp_path / f"variants.{kind}").read_text() for kind in ("html", "md", "tex")}
    for (name, label), row in zip(BASELINES.items(), compared.block("trained"), strict=True):
        assert row.name == label and row.scores["uf1"] == finished.metrics["baselines"][name]["uf1"]
        for where, text in shown.items():
            assert label in text and f"{row.scores['uf1']:.3f}" in text, where

"""Detection of runs that did not learn: signs on hand-made tables, no false alarms, the mark in ranked tables."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from looks import printed
from random_runs import CLASSES, UNITS, last, make_run, make_unit_predictions, table_of, write_run

from fdp_lightning.evaluation.learning import (
    DECISIVE,
    FoldTraining,
    Sign,
    has_learned,
    learning_signs,
    read_trainings,
)
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.summary import summarise
from fdp_lightning.evaluation.tables.comparison import Variant, compare, variant_tables
from fdp_lightning.evaluation.tables.render import scores_grid, variants_grid, write_comparison, write_variants
from fdp_lightning.evaluation.terminal import learning_note


def signs_of(
    table: pd.DataFrame, trainings: Sequence[FoldTraining] = (), classes: Sequence[str] = tuple(CLASSES)
) -> dict[str, Sign]:
    metrics = summarise(table, classes, "p", [])
    found = learning_signs(last(table), classes, metrics["selections"]["last"], metrics["floors"], trainings)
    return {sign.kind: sign for sign in found}


def answering(table: pd.DataFrame, name: str, folds: int = 99) -> pd.DataFrame:
    """Return the table with one prediction for all clips of the first folds."""
    stuck = table["fold"].isin(sorted(set(table["fold"]))[:folds])
    answers = {f"prob_{label}": 0.6 if label == name else 0.1 for label in CLASSES} | {"prediction": name}
    return table.assign(**{column: table[column].where(~stuck, answer) for column, answer in answers.items()})


def guessing(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its predictions permuted over the clips."""
    answers = ["prediction", *(f"prob_{name}" for name in CLASSES)]
    order = np.random.default_rng(0).permutation(len(table))
    return table.assign(**{name: table[name].to_numpy()[order] for name in answers})


def test_a_good_run_shows_no_sign_however_skewed_its_subjects() -> None:
    falling = [FoldTraining(f"{n:03d}", (1.7, 1.5, 2.2), math.log(5), dict.fromkeys(CLASSES, 9)) for n in range(1, 7)]
    assert signs_of(table_of(skill=0.8), falling) == {}
    for skill in (0.35, 0.5, 0.7):
        found = signs_of(table_of(1, subjects=24, clips=9, skill=skill, balanced=False))
        assert not set(DECISIVE) & {*found}


def test_folds_that_each_predict_one_class_are_a_decisive_sign() -> None:
    table = table_of(skill=0.9)
    each = pd.concat([answering(part, CLASSES[int(fold) % 5]) for fold, part in table.groupby("fold")])
    sign = signs_of(each)["one_class"]
    assert sign.decisive and sign.detail.startswith("6 of 6")
    assert signs_of(answering(table, "others", 3))["one_class"].detail.startswith("3 of 6")
    assert "one_class" not in signs_of(answering(table, "others", 2))
    # Folds of fewer than four clips are judged together.
    small = table_of(subjects=12, clips=3)
    assert "disgust" in signs_of(answering(small, "disgust"))["one_class"].detail
    assert "one_class" not in signs_of(table_of(subjects=40, clips=3, skill=0.9))
    assert "one_class" not in signs_of(each.assign(target=each["prediction"]))  # folds that have one class


def test_an_interval_that_is_not_above_every_baseline_is_a_decisive_sign() -> None:
    found = signs_of(guessing(table_of(subjects=10)))
    assert found["at_baseline"].decisive and not found["accuracy_at_baseline"].decisive


def test_a_held_out_loss_that_never_falls_below_that_of_a_uniform_guess_is_a_sign() -> None:
    def flat(*lowest: float, uniform: float | None = None) -> bool:
        trainings = [FoldTraining(str(n), (value + 1, value, value + 2), uniform) for n, value in enumerate(lowest)]
        return "flat_loss" in signs_of(table, trainings)

    table, chance = table_of(skill=0.8), math.log(5)
    assert flat(*[chance - 0.02] * 9, chance - 0.3)  # in nine of ten folds
    assert not flat(*[chance - 0.02] * 8, chance - 0.3, chance - 0.3)
    # Relative to a uniform guess under the fold's own weights: focal weighting makes every loss smaller.
    assert flat(1.0, uniform=1.0) and not flat(1.9, uniform=2.0)


def test_a_class_that_was_tested_but_never_trained_and_too_few_steps_are_signs() -> None:
    counts = dict.fromkeys(CLASSES, 7)
    trainings = [FoldTraining("001", steps=8), FoldTraining("002", class_counts={**counts, "disgust": 0}, steps=8)]
    found = signs_of(table_of(skill=0.8), trainings)
    assert list(found) == ["missing_class", "few_steps"] and has_learned([*found.values()])
    assert found["missing_class"].detail.startswith("1 of 6") and "002: disgust" in found["missing_class"].detail
    untested = table_of(skill=0.8)
    untested = untested[(untested["fold"] != "002") | (untested["target"] != "disgust")]
    assert signs_of(untested, [*trainings, FoldTraining("003", steps=40)]) == {}


def test_signs_of_action_units() -> None:
    good = make_unit_predictions(skill=3.0, subjects=10)
    assert signs_of(good, classes=UNITS) == {}
    flat = [FoldTraining("001", (0.69, 0.70), None, dict.fromkeys(UNITS, 4) | {UNITS[0]: 0})]
    assert list(signs_of(good, flat, UNITS)) == ["flat_loss", "missing_class"]
    silent = good.assign(prediction="", **{f"prob_{name}": 0.1 for name in UNITS})
    assert {"one_class", "at_baseline"} <= set(signs_of(silent, classes=UNITS))


def test_trainings_are_read_and_damaged_folds_have_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", subjects=3)
    for number, path in enumerate(sorted(run.glob("folds/*/fold.json"))):
        curves = pd.read_csv(path.parent / "curves.csv").assign(**{"test/emotion_loss": 1.5})
        if number == 1:
            curves.loc[0, "test/emotion_loss"] = np.nan  # an epoch without evaluation of the held-out clips
        curves.to_csv(path.parent / "curves.csv", index=False)
        facts = json.loads(path.read_text()) | {"uniform_loss": 1.25, "class_counts": {"others": 3}}
        path.write_text(json.dumps(facts) if number else "{")
    known = FoldTraining("003", (1.5,) * 6, 1.25, {"others": 3})
    assert read_trainings(run) == [FoldTraining("001"), replace(known, name="002", held_out_loss=()), known]


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> list[Variant]:
    place = tmp_path_factory.mktemp("variants")
    stuck = answering(table_of(skill=0.9, subjects=12), "others")
    good = [table_of(seed, subjects=12, skill=0.6) for seed in range(2)]
    tables = {"stuck": [stuck], "chance": [guessing(table_of(subjects=12, skill=0.9))], "good": good}

    def variant(name: str, tables: Sequence[pd.DataFrame]) -> Variant:
        folders = [write_run(place / name / f"seed-{i}", table=t.assign(seed=i)) for i, t in enumerate(tables)]
        return Variant(name, tuple(map(read_run, folders)))

    return [variant(name, of) for name, of in (tables | {"one of three": [*good, stuck]}).items()]


LEARNED = {"stuck": False, "chance": False, "good": True, "one of three": True}


def test_runs_that_did_not_learn_are_shown_and_not_ranked(variants: list[Variant], tmp_path: Path) -> None:
    (table,) = compare(variants, [])
    rows = {row.name: row for row in table.rows if row.kind == "run" and row.selection == "last"}
    assert {name: row.learned for name, row in rows.items()} == LEARNED
    assert {name: row.rank is not None for name, row in rows.items()} == LEARNED
    assert {row.name for row in table.block("unlearned")} == {"stuck", "chance"}
    assert any("seed 2: " in note for note in rows["one of three"].notes)
    differ = {pair.name: pair.meaningful for pair in table.paired}
    assert differ == {"chance": False, "good": True, "one of three": True}
    page, lines, tex = (path.read_text() for path in write_comparison(tmp_path, [table], {}))
    found = list(csv.DictReader(lines.splitlines()))
    assert {row["system"]: row["learned"] == "true" for row in found if row["kind"] == "run"} == LEARNED
    for text, mark in ((printed(scores_grid(table)), " ‡"), (page, " ‡"), (tex, r"\textdaggerdbl{}")):
        assert f"stuck{mark}" in text and f"good{mark}" not in text


def test_a_sweep_marks_variants_that_did_not_learn(variants: list[Variant], tmp_path: Path) -> None:
    (table,) = variant_tables(variants, {variant.name: () for variant in variants})
    assert {row.name: row.meaningful for row in table.variants} == {name: name != "chance" for name in LEARNED}
    paths = write_variants(tmp_path / "out", [table], "a · sweep", "x")
    rows = {row["variant"]: row for row in csv.DictReader(paths[1].read_text().splitlines())}
    assert {name: row["learned"] == "true" for name, row in rows.items()} == LEARNED
    for text in (printed(variants_grid(table)), paths[0].read_text(), paths[2].read_text()):
        assert "chance ‡" in text and "good ‡" not in text


def test_the_report_warns_near_its_headline_of_a_run_that_did_not_learn(tmp_path: Path) -> None:
    for skill, warns in ((0.85, False), (0.0, True)):
        run = make_run(tmp_path / str(skill), skill=skill)
        head = build_report(run, "A title", False, False).read_text().split("</header>")[0]
        assert ('id="learned-title"' in head) == warns
    signs = read_run(run).signs
    assert signs and all(sign.detail.split(" (")[0] in head for sign in signs)
    assert all(sign.detail in learning_note(signs).plain for sign in signs)

"""Leave-one-subject-out through the command line: complete, repeatable, and nothing lost."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from tests.tasks.conftest import run_of, start

TEXT = dict.fromkeys(["dataset", "subject", "clip", "fold"], str)


def predictions(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "predictions.csv", dtype=TEXT)


def test_each_clip_is_predicted_once_by_the_fold_that_left_its_subject_out(finished_workplace: Path) -> None:
    table = predictions(run_of(finished_workplace))
    assert set(table["selection"]) == {"last", "oracle"}
    for _, part in table.groupby("selection"):
        assert len(part) == 30
        assert not part.duplicated(["dataset", "subject", "clip", "onset"]).any()
        assert (part["fold"] == part["subject"]).all()
    assert set(table["dataset"]) == {"synthetic"}


def test_pooled_scores_are_those_of_scikit_learn(finished_workplace: Path) -> None:
    run = run_of(finished_workplace)
    metrics = json.loads((run / "metrics.json").read_text())
    for selection, part in predictions(run).groupby("selection"):
        scores, labels = metrics["selections"][selection], metrics["classes"]
        options = {"labels": labels, "zero_division": 0}
        target, prediction = part["target"], part["prediction"]
        assert scores["accuracy"] == pytest.approx(accuracy_score(target, prediction))
        assert scores["uf1"] == pytest.approx(f1_score(target, prediction, average="macro", **options))
        assert scores["uar"] == pytest.approx(recall_score(target, prediction, average="macro", **options))
        assert scores["weighted_f1"] == pytest.approx(f1_score(target, prediction, average="weighted", **options))
        assert scores["confusion"] == confusion_matrix(target, prediction, labels=labels).tolist()
    assert metrics["selections"]["oracle"]["accuracy"] >= metrics["selections"]["last"]["accuracy"]


def test_the_second_run_skips_every_fold(workplace: Path) -> None:
    run = run_of(workplace)
    before = {path: path.stat().st_mtime_ns for path in (run / "folds").rglob("*") if path.is_file()}
    table = (run / "predictions.csv").read_bytes()
    done = start(workplace)
    assert done.returncode == 0, done.stderr
    assert "0 of 3 folds to run" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (run / "folds").rglob("*") if path.is_file()} == before
    assert (run / "predictions.csv").read_bytes() == table


def test_the_same_command_gives_identical_predictions_with_any_number_of_workers(workplace: Path) -> None:
    run = run_of(workplace)
    table = (run / "predictions.csv").read_bytes()
    outputs = {path.parent.name: np.load(path) for path in run.glob("folds/*/outputs.npz")}
    scores = {name: arrays["rank_scores"].copy() for name, arrays in outputs.items()}
    shutil.rmtree(workplace / "runs")
    done = start(workplace, "loso.workers=1")
    assert done.returncode == 0, done.stderr
    assert (run / "predictions.csv").read_bytes() == table
    for name, old in scores.items():
        np.testing.assert_array_equal(np.load(run / "folds" / name / "outputs.npz")["rank_scores"], old)


def test_damaged_and_missing_folds_alone_are_run_again_and_end_as_before(workplace: Path) -> None:
    run = run_of(workplace)
    table = (run / "predictions.csv").read_bytes()
    kept = (run / "folds/01/fold.json").stat().st_mtime_ns
    damaged = run / "folds/02/predictions.csv"
    damaged.write_bytes(damaged.read_bytes().replace(b"happiness", b"surprise_", 1))
    shutil.rmtree(run / "folds/03")
    (run / "folds/.03.elsewhere.1.partial").mkdir()  # of a machine that was killed
    fingerprint = json.loads((run / "folds/01/fold.json").read_text())["fingerprint"]
    (run / "unfinished/03").mkdir(parents=True)
    (run / f"unfinished/03/{fingerprint}-epoch000001-0123456789abcdef.ckpt").write_bytes(b"half of a checkpoint")
    done = start(workplace)
    assert done.returncode == 0, done.stderr
    assert re.search(r"fold 02 is run again: \S+/folds/02/predictions.csv is not what was written", done.stderr)
    assert re.search(r"fold 03: \S+0123456789abcdef.ckpt is damaged \(checksum differs\) and is not used", done.stderr)
    assert "2 of 3 folds to run" in done.stderr
    assert (run / "folds/01/fold.json").stat().st_mtime_ns == kept
    assert (run / "predictions.csv").read_bytes() == table
    assert (run / "superseded/02-1/predictions.csv").is_file()


def test_a_crashing_fold_leaves_the_others_and_no_pooled_score(workplace: Path) -> None:
    run = run_of(workplace)
    for path in ("folds/01", "folds/02"):
        shutil.rmtree(run / path)
    assert (run / "metrics.json").is_file()  # of the whole run; it must not stand for what is left of it
    # A checkpoint to resume fold 01 from that is whole and none: reading it is an error that nobody expects.
    fingerprint = json.loads((run / "folds/03/fold.json").read_text())["fingerprint"]
    content, place = b"no checkpoint", run / "unfinished/01"
    place.mkdir(parents=True)
    (place / f"{fingerprint}-epoch000001-{hashlib.sha256(content).hexdigest()[:16]}.ckpt").write_bytes(content)
    done = start(workplace)
    assert done.returncode == 1
    assert "1 of 3 folds failed" in done.stderr
    assert "fold 01" in done.stderr
    assert (run / "folds/02/predictions.csv").is_file()
    assert not (run / "metrics.json").exists()


def test_one_fold_alone_equals_the_same_fold_of_the_whole_run(workplace: Path) -> None:
    run = run_of(workplace)
    table = (run / "folds/02/predictions.csv").read_bytes()
    shutil.rmtree(run / "folds/02")
    done = start(workplace, "task=fold", "fold=02")
    assert done.returncode == 0, done.stderr
    assert (run / "folds/02/predictions.csv").read_bytes() == table


def test_a_sweep_over_seeds_keeps_one_run_and_makes_another(workplace: Path) -> None:
    done = start(workplace, "-m", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert "0 of 3 folds to run" in done.stderr and "3 of 3 folds to run" in done.stderr
    first = run_of(workplace)
    second = first.with_name("seed-1")
    tables = [predictions(run) for run in (first, second)]
    assert set(tables[1]["seed"]) == {1}
    assert not np.array_equal(tables[0]["prob_disgust"], tables[1]["prob_disgust"])
    assert {path.name for path in workplace.iterdir()} == {"data", "stores", "runs"}


def test_the_report_can_be_made_again_from_the_folds(workplace: Path) -> None:
    run = run_of(workplace)
    table, metrics = (run / "predictions.csv").read_bytes(), (run / "metrics.json").read_bytes()
    for name in ("predictions.csv", "metrics.json", "report.html"):
        (run / name).unlink()
    done = start(workplace, "task=report", f"run={run.relative_to(workplace)}")
    assert done.returncode == 0, done.stderr
    assert (run / "predictions.csv").read_bytes() == table
    assert (run / "metrics.json").read_bytes() == metrics
    assert (run / "report.html").stat().st_size > 10_000
    shutil.rmtree(run / "folds/03")
    done = start(workplace, "task=report", f"run={run.relative_to(workplace)}")
    assert done.returncode == 2
    assert "clips missing" in done.stderr

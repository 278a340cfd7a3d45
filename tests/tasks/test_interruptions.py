"""Runs that are killed, interrupted, swept fold by fold or split over two processes give the plain run's results."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.labels import KEY
from tests.command import new_process
from tests.tasks.conftest import SMALL, begin, end_group, run_of, start, wait_for

ARGUMENTS = ["loso.checkpoint_seconds=0", "loso.workers=2"]


# Kills are tested below and in test_wandb.py, kills of a build in data/test_store_resume.py.
def test_ctrl_c_leaves_no_process_and_does_not_change_the_results(emptied: Path, finished_workplace: Path) -> None:
    process = begin(emptied, *ARGUMENTS, "loso.workers=1")  # so that folds remain when one ends
    wait_for(lambda: list(emptied.glob("runs/*/*/seed-0/folds/[!.]*/fold.json")), process)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal: sent to every process
    assert process.wait(timeout=60) == 130
    assert " of 3 folds are finished in runs/" in (emptied / "err.txt").read_text()
    end_group(process.pid)
    run = run_of(emptied)
    assert not (run / "metrics.json").exists()
    start(emptied, *ARGUMENTS)
    assert (run / "predictions.csv").read_bytes() == (run_of(finished_workplace) / "predictions.csv").read_bytes()
    assert not (run / "unfinished").exists()


def test_a_sweep_over_the_folds_writes_the_files_of_the_whole_run(emptied: Path, finished_workplace: Path) -> None:
    start(emptied, "-m", "task=fold", "fold=03,01,02")
    whole, swept = run_of(finished_workplace), run_of(emptied)
    files = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (whole, swept)]
    assert files[0] == files[1]
    for name in ("predictions.csv", "metrics.json", "expected.json"):
        assert (swept / name).read_bytes() == (whole / name).read_bytes(), name
    for path in whole.glob("folds/*/outputs.npz"):
        arrays, other = np.load(path), np.load(swept / path.relative_to(whole))
        assert all(arrays[name].tobytes() == other[name].tobytes() for name in {*arrays, *other})


def test_two_processes_of_a_fold_learn_the_same_as_one_and_predict_each_clip_once(emptied: Path) -> None:
    # Double precision, since Adam amplifies last-bit noise; no dropout, since each process draws its own.
    exact = ["model.mer_head.dropout=0.0", "trainer.precision=64-true", "task=fold", "fold=01"]
    for run, trainer in (("one", "cpu"), ("two", "ddp_cpu")):
        start(emptied, *exact, f"trainer={trainer}", f"run={run}")
    folds = [emptied / run / "folds/01" for run in ("one", "two")]
    tables, (classes, _) = zip(*(read_predictions(fold / "predictions.csv") for fold in folds), strict=True)
    assert not tables[1].duplicated([*KEY, "selection"]).any() and len(tables[1]) == 2 * 10
    names = [f"prob_{name}" for name in classes]
    np.testing.assert_allclose(tables[1][names], tables[0][names], rtol=1e-6)
    pd.testing.assert_frame_equal(tables[1].drop(columns=names), tables[0].drop(columns=names))
    curves = [pd.read_csv(fold / "curves.csv") for fold in folds]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-6, atol=1e-9)
    assert np.ptp(curves[0]["train/loss"]) > 0.1  # the training had an effect


def test_folds_that_diverge_are_named_and_have_no_score(emptied: Path) -> None:
    done = start(emptied, "model.optimizer.lr=1e30", "trainer.gradient_clip_val=null", code=1)
    assert "fold 01: " in done.stderr and "DivergedError" in done.stderr
    run = run_of(emptied)
    assert not list(run.glob("folds/*/predictions.csv")) and not (run / "metrics.json").exists()


LONGER = ["trainer.max_epochs=6", *ARGUMENTS]
SPACE = "tune.space={model.optimizer.lr: {low: 1e-3, high: 1e-2, log: true}}"
SEARCH = ["task=tune", "selection.inner_subjects=1", "tune.trials=2", SPACE]
SCORES = {"predictions.csv", "metrics.json"}
COMMANDS: dict[str, tuple[list[str], set[str]]] = {
    "loso": (LONGER, SCORES),
    "fit": (["task=fit", *LONGER], {"model.safetensors"}),
    "tune": ([*SEARCH, *LONGER], SCORES | {"nested.csv", "trials.csv"}),
    "sweep": (["-m", "model.pooling=mean,arp", *LONGER], SCORES | {"variants.csv"}),
}
"""Name → arguments, names of the compared files (others contain times)."""


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_at_random_moments_ends_bit_for_bit_as_without_kills(name: str, workplace: Path) -> None:
    arguments, compared = COMMANDS[name]
    place = workplace / "runs"

    def results() -> dict[Path, bytes]:
        """Return the content of the results, after checking that there are no partial files."""
        paths = [path for path in place.rglob("*") if "superseded" not in path.parts]
        assert [path for path in paths if path.suffix in (".partial", ".tmp", ".building")] == []
        return {path: path.read_bytes() for path in paths if path.name in compared}

    shutil.rmtree(place)
    began = time.monotonic()
    new_process(*SMALL, *arguments, cwd=workplace, code=0)
    longest = time.monotonic() - began
    expected = results()
    assert expected
    shutil.rmtree(place)
    moments, kills = random.Random(name), 0
    while kills < 8:
        process = begin(workplace, *arguments)
        try:
            assert process.wait(timeout=moments.uniform(0, longest)) == 0
        except subprocess.TimeoutExpired:
            # Only the parent, so that its workers have to notice, or all processes, as schedulers do.
            (os.kill if kills % 2 else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            end_group(process.pid)
            kills += 1
            continue
        assert results() == expected
        shutil.rmtree(place)
    new_process(*SMALL, *arguments, cwd=workplace, code=0)
    assert results() == expected

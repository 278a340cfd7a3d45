"""Runs that are killed, interrupted, swept fold by fold or shared out to two processes end as the plain one does."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.labels import KEY
from tests.tasks.conftest import SMALL, run_of, start

pytestmark = pytest.mark.costly

ARGUMENTS = ["loso.checkpoint_seconds=0", "loso.workers=2"]


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command, begun in a process group of its own, as a terminal has it."""
    command = [sys.executable, "-m", "fdp_lightning", *SMALL, *ARGUMENTS, *arguments]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, **pipes)


def end_group(group: int) -> None:
    """Wait until every process of the group is gone."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("processes of the run are left")


@pytest.fixture
def emptied(workplace: Path) -> Path:
    """Data and store are there; no fold is."""
    shutil.rmtree(workplace / "runs")
    return workplace


@pytest.fixture(scope="session")
def expected(finished_workplace: Path) -> bytes:
    return (run_of(finished_workplace) / "predictions.csv").read_bytes()


def epochs_done(folder: Path) -> int:
    """Epochs that a run would not train again: of finished folds, and of those a checkpoint is kept of."""
    points = [int(path.name.split("epoch")[1][:6]) for path in folder.glob("runs/*/*/seed-0/unfinished/*/*.ckpt")]
    finished = folder.glob("runs/*/*/seed-0/folds/[!.]*/fold.json")
    return sum(points) + sum(json.loads(path.read_text())["epochs"] for path in finished)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_bit(emptied: Path) -> None:
    longer = ["trainer.max_epochs=15"]
    whole = start(emptied, *ARGUMENTS, *longer)
    assert whole.returncode == 0, whole.stderr
    (run,) = emptied.glob("runs/synthetic_loso/*/seed-0")
    expected = {path.name: path.read_bytes() for path in (run / "predictions.csv", run / "metrics.json")}
    moments, reached, kills = random.Random(0), [0], 0
    while kills < 20:
        if epochs_done(emptied) >= 45:  # all that can be interrupted was: the next run begins
            done = start(emptied, *ARGUMENTS, *longer)
            assert done.returncode == 0, done.stderr
            assert {name: (run / name).read_bytes() for name in expected} == expected
            shutil.rmtree(emptied / "runs")
            reached.append(0)
        for lock in run.glob("unfinished/*.lock"):
            lock.unlink()  # so that the first one there is says: the training begins
        process = begin(emptied, *longer)
        wait_for(emptied, "unfinished/*.lock", process)
        time.sleep(moments.uniform(0, 4))
        os.kill(process.pid, signal.SIGKILL)  # the parent alone: its folds have to notice
        process.communicate()
        end_group(process.pid)
        kills += 1
        assert epochs_done(emptied) >= reached[-1]  # nothing that was kept is lost
        reached.append(epochs_done(emptied))
        # Until all folds are there, no score stands anywhere.
        assert not (run / "metrics.json").exists() or len(list(run.glob("folds/[!.]*/fold.json"))) == 3
    print("epochs kept after each kill:", reached)
    assert len(set(reached)) > 5  # the kills did fall into the training
    done = start(emptied, *ARGUMENTS, *longer)
    assert done.returncode == 0, done.stderr
    assert {name: (run / name).read_bytes() for name in expected} == expected
    assert not (run / "unfinished").exists()


def test_a_kill_and_ctrl_c_change_no_bit_and_leave_no_process(emptied: Path, expected: bytes) -> None:
    killed = begin(emptied)
    wait_for(emptied, "unfinished/*/*.ckpt", killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    end_group(killed.pid)
    interrupted = begin(emptied, "loso.workers=1")  # so that at the end of a fold there are folds left
    wait_for(emptied, "folds/[!.]*/fold.json", interrupted)
    os.killpg(interrupted.pid, signal.SIGINT)  # what Ctrl-C in a terminal does: every process hears it
    _, errors = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "Traceback" not in errors
    assert re.search(r"[12] of 3 folds are finished in runs/", errors)
    end_group(interrupted.pid)
    run = run_of(emptied)
    assert not (run / "metrics.json").exists()
    done = start(emptied, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert (run / "predictions.csv").read_bytes() == expected
    assert {path.name for path in (run / "folds").iterdir()} == {"01", "02", "03"}
    assert not (run / "unfinished").exists()


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    for _ in range(6000):  # a loaded machine takes minutes to import what folds need
        if list(folder.glob(f"runs/*/*/seed-0/{pattern}")):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{pattern} did not appear")


def test_a_sweep_over_the_folds_in_any_order_gives_the_files_and_predictions_of_the_whole_run(
    emptied: Path, finished_workplace: Path
) -> None:
    done = start(emptied, "-m", "task=fold", "fold=03,01,02")
    assert done.returncode == 0, done.stderr
    whole, swept = run_of(finished_workplace), run_of(emptied)
    files = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (whole, swept)]
    assert files[0] == files[1]
    for name in ("predictions.csv", "metrics.json", "expected.json"):
        assert (swept / name).read_bytes() == (whole / name).read_bytes(), name
    configs = [(run / "config.yaml").read_text().replace("workers: 2", "workers: null") for run in (whole, swept)]
    assert configs[0] == configs[1]


def test_two_processes_of_a_fold_learn_what_one_learns_and_predict_each_clip_once(emptied: Path) -> None:
    # In double precision, since Adam turns noise in the last bit into steps; each process drops neurons of its own.
    exact = ["model.mer_head.dropout=0.0", "trainer.precision=64-true", "task=fold", "fold=01"]
    for run, trainer in (("one", "cpu"), ("two", "ddp_cpu")):
        done = start(emptied, *exact, f"trainer={trainer}", f"run={run}")
        assert done.returncode == 0, done.stderr
    folds = [emptied / run / "folds/01" for run in ("one", "two")]
    tables, (classes, _) = zip(*(read_predictions(fold / "predictions.csv") for fold in folds), strict=True)
    assert not tables[1].duplicated([*KEY, "selection"]).any() and len(tables[1]) == 2 * 10
    names = [f"prob_{name}" for name in classes]
    np.testing.assert_allclose(tables[1][names], tables[0][names], rtol=1e-6)
    pd.testing.assert_frame_equal(tables[1].drop(columns=names), tables[0].drop(columns=names))
    curves = [pd.read_csv(fold / "curves.csv") for fold in folds]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-6, atol=1e-9)
    assert np.ptp(curves[0]["train/loss"]) > 0.1  # it did learn
    assert list((emptied / "two/logs").iterdir()) == []


def test_a_fold_that_diverges_is_named_and_yields_no_score(emptied: Path) -> None:
    done = start(emptied, "model.optimizer.lr=1e30", "trainer.gradient_clip_val=null")
    assert done.returncode == 1
    assert "3 of 3 folds failed" in done.stderr
    assert "fold 01: fdp_lightning.training.recorder.DivergedError: " in done.stderr
    (run,) = emptied.glob("runs/synthetic_loso/*/seed-0")
    assert not list(run.glob("folds/*/predictions.csv")) and not (run / "metrics.json").exists()

"""A search from the command line: killed, gone on with, and blind to what the held-out clips gave."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import f1_score, log_loss

from fdp_lightning.files import sha256
from fdp_lightning.search.trials import compose_trial, read_inner
from tests.tasks.conftest import SMALL, start

SEARCH = [
    "task=tune",
    "selection.inner_subjects=1",
    "tune.sampler=grid",
    "tune.space={model.optimizer.lr: {choices: [0.001, 0.01, 1e30]}}",
]
TEXT = dict.fromkeys(["dataset", "subject", "clip", "fold"], str)


def folder_of_search(place: Path) -> Path:
    (folder,) = place.glob("runs/synthetic_loso/tune-grid-*/seed-0")
    return folder


def tables(place: Path) -> dict[str, bytes]:
    names = ("trials.csv", "nested.csv", "predictions.csv", "metrics.json", "best.yaml")
    return {name: (folder_of_search(place) / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def place(finished_workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of three trials, one of which diverges."""
    folder = tmp_path_factory.mktemp("tune") / "place"
    shutil.copytree(finished_workplace, folder, ignore=lambda _, names: {"runs"} & set(names))
    done = start(folder, *SEARCH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" failed: ") == 1
    # Only the nested score is shown, with how it came about; no table of a trial's own test scores.
    assert done.stdout.count("\n majority") == 1
    assert "nested score of a search over 3 trials" in " ".join(done.stdout.split())
    return folder


def trials(place: Path) -> pd.DataFrame:
    return pd.read_csv(folder_of_search(place) / "trials.csv", keep_default_na=False)


def test_trials_that_diverge_are_recorded_and_the_others_go_on(place: Path) -> None:
    table = trials(place)
    assert table["trial"].tolist() == [0, 1, 2]
    failures = table.set_index("model.optimizer.lr")["failure"]
    assert failures[0.001] == failures[0.01] == ""
    assert "the training diverged" in failures[1e30]
    finished = table[table["status"] == "finished"]
    assert set(finished["model.optimizer.lr"]) == {0.001, 0.01}
    assert (finished["low"].astype(float) <= finished["inner/uf1"].astype(float)).all()


def test_the_nested_score_is_of_each_folds_best_trial_on_its_own_inner_clips(place: Path) -> None:
    classes = json.loads((folder_of_search(place) / "metrics.json").read_text())["classes"]
    finished = trials(place).query("status == 'finished'")
    nested = pd.read_csv(folder_of_search(place) / "nested.csv", dtype={"fold": str}).set_index("fold")
    pooled = pd.read_csv(folder_of_search(place) / "predictions.csv", dtype=TEXT)
    assert set(pooled["selection"]) == {"last"} and len(pooled) == 30
    for fold in ("01", "02", "03"):
        ranks = {}
        for _, trial in finished.iterrows():
            inner = pd.read_csv(place / trial["run"] / "folds" / fold / "inner.csv", dtype=TEXT)
            last = inner[inner["selection"] == "last"]
            assert len(last) == 10 and fold not in set(last["subject"])
            ordered = sorted(classes)
            loss = log_loss(last["target"], last[[f"prob_{c}" for c in ordered]].to_numpy(), labels=ordered)
            uf1 = f1_score(last["target"], last["prediction"], average="macro", labels=classes, zero_division=0)
            ranks[trial["trial"]] = (round(-uf1, 12), loss)
        best = min(ranks, key=lambda number: ranks[number])
        assert nested.loc[fold, "trial"] == best
        run = place / finished.set_index("trial").loc[best, "run"]
        expected = pd.read_csv(run / "folds" / fold / "predictions.csv", dtype=TEXT).query("selection == 'last'")
        own = pooled[pooled["fold"] == fold].sort_values("clip")
        assert own["prob_disgust"].tolist() == expected.sort_values("clip")["prob_disgust"].tolist()


def test_the_inner_score_of_a_trial_is_pooled_over_the_folds_and_the_best_is_pasted_as_its_own_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = json.loads((folder_of_search(place) / "metrics.json").read_text())["classes"]
    finished = trials(place).query("status == 'finished'")
    for _, trial in finished.iterrows():
        inner = pd.concat(read_inner(path.parent) for path in (place / trial["run"]).glob("folds/*/inner.csv"))
        last = inner[inner["selection"] == "last"]
        uf1 = f1_score(last["target"], last["prediction"], average="macro", labels=classes, zero_division=0)
        assert float(trial["inner/uf1"]) == pytest.approx(uf1)
    best = yaml.safe_load((folder_of_search(place) / "best.yaml").read_text())
    assert best["inner"]["value"] == finished["inner/uf1"].astype(float).max()
    monkeypatch.chdir(place)
    config, run = compose_trial(shlex.split(best["command"])[3:])
    assert run.as_posix() == finished.set_index("trial").loc[best["trial"], "run"]
    assert (config.task, config.model.optimizer.lr) == ("loso", best["parameters"]["model.optimizer.lr"])


@pytest.mark.slow  # two searches and a half; that killed folds and runs go on is tested beside it
def test_killed_and_started_again_a_search_ends_as_one_that_was_not(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "killed"
    shutil.copytree(place, other, ignore=lambda _, names: {"runs"} & set(names))
    command = [sys.executable, "-m", "fdp_lightning", *SMALL, *SEARCH]
    search = subprocess.Popen(command, cwd=other, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while not (kept := list(other.glob("runs/*/*/seed-0/folds/[0-9]*/fold.json"))) and time.monotonic() < limit:
        time.sleep(0.05)
    os.kill(search.pid, signal.SIGKILL)
    search.wait()
    assert kept and not list(other.glob("runs/*/tune-*/seed-0/metrics.json"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    done = start(other, *SEARCH)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert tables(other) == tables(place)


def test_no_prediction_of_a_held_out_clip_has_a_part_in_the_search(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "altered"
    shutil.copytree(place, other)
    random = np.random.default_rng(0)
    for path in other.glob("runs/synthetic_loso/*/seed-0/folds/*/predictions.csv"):
        table = pd.read_csv(path, dtype=TEXT)
        of_class = [name for name in table if name.startswith("prob_")]
        table[of_class] = random.dirichlet(np.ones(len(of_class)), len(table))
        table["prediction"] = [of_class[i].removeprefix("prob_") for i in table[of_class].to_numpy().argmax(axis=1)]
        table.to_csv(path, index=False, lineterminator="\n")
        facts = json.loads((path.parent / "fold.json").read_text())
        facts["checksums"]["predictions.csv"] = sha256(path)
        (path.parent / "fold.json").write_text(json.dumps(facts))
    done = start(other, *SEARCH)
    assert done.returncode == 0, done.stderr
    old, new = tables(place), tables(other)
    assert {name for name in old if old[name] != new[name]} == {"predictions.csv", "metrics.json"}


def test_a_score_of_the_subjects_under_test_is_refused_before_any_training(tmp_path: Path) -> None:
    done = start(tmp_path, *SEARCH, "tune.objective=oracle/uf1")
    assert done.returncode == 2
    assert "inner/uf1" in done.stderr
    assert list(tmp_path.iterdir()) == []

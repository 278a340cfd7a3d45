"""Faults of a fold are reported, and the run then has no pooled score."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import ready_data, write_expected
from fdp_lightning.engine.plan import plan_fold
from fdp_lightning.engine.process import run_fold
from fdp_lightning.engine.run import pool_in_turn
from fdp_lightning.errors import UserError
from fdp_lightning.files import sha256
from fdp_lightning.runs.pooling import POOLED, pool_run
from tests.tasks.conftest import run_of


def seal_again(fold: Path, **changed: object) -> None:
    """Change facts of a fold and update the checksum of its predictions."""
    facts = json.loads((fold / "fold.json").read_text()) | changed
    facts["checksums"]["predictions.csv"] = sha256(fold / "predictions.csv")
    (fold / "fold.json").write_text(json.dumps(facts))


def share(fold: Path, side: str) -> None:
    """Record the test subject also on another side of the fold."""
    seal_again(fold, subjects={"train": [], "inner": [], "test": ["synthetic/02"], side: ["synthetic/02"]})


def edit(fold: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of predictions.csv and its checksum."""
    path = fold / "predictions.csv"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    seal_again(fold)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no fold": (shutil.rmtree, r"'last': 10 clips missing: synthetic/02/"),
    "no seal": (lambda fold: (fold / "fold.json").unlink(), r"folds/02"),
    "cut checkpoint": (lambda fold: os.truncate(fold / "checkpoints/last.ckpt", 99), r"02/checkpoints/last.ckpt"),
    "cut and sealed": (lambda fold: edit(fold, lambda rows: [*rows[:5], rows[5][:20]]), "truncated"),
    "row of another fold": (
        lambda fold: edit(fold, lambda rows: [*rows[:-1], rows[-1].replace(",02,", ",03,", 1)]), "02.*synthetic/03"
    ),
    "training on the test subject": (lambda fold: share(fold, "train"), "02: train and test .* synthetic/02"),
    "epoch chosen on the test subject": (lambda fold: share(fold, "inner"), "02: inner and test .* synthetic/02"),
    "other settings": (lambda fold: seal_again(fold, fingerprint="f" * 12), "f{12}: 02"),
}  # fmt: skip


@pytest.fixture
def run(finished_workplace: Path, tmp_path: Path) -> Path:
    """A copy of only the finished run."""
    return Path(shutil.copytree(run_of(finished_workplace), tmp_path / "run"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_leaves_no_score(run: Path, fault: str) -> None:
    plant, said = FAULTS[fault]
    plant(run / "folds/02")
    with pytest.raises(UserError, match=said):
        pool_run(run, OmegaConf.load(run / "config.yaml"))
    assert not [name for name in POOLED if (run / name).exists()]


def test_folds_of_different_torch_versions_are_pooled_with_a_caveat(run: Path) -> None:
    seal_again(run / "folds/01", torch="1.0.0")
    (caveat,) = pool_run(run, OmegaConf.load(run / "config.yaml"))["caveats"]  # type: ignore[misc]
    assert "1.0.0" in caveat


def test_parallel_jobs_that_finish_a_run_at_once_pool_it_one_after_the_other(run: Path) -> None:
    names = ("predictions.csv", "metrics.json")
    before = {name: (run / name).read_bytes() for name in names}
    config = OmegaConf.load(run / "config.yaml")
    with ThreadPoolExecutor(2) as jobs:  # each opens the lock file separately, as processes do
        for ended in [jobs.submit(pool_in_turn, config, run, trained=False) for _ in range(2)]:
            ended.result()
    assert {name: (run / name).read_bytes() for name in names} == before


@pytest.mark.costly
def test_a_fold_without_clips_is_listed(on_casme2: list[str], casme2_clips: pd.DataFrame, tmp_path: Path) -> None:
    third = casme2_clips[casme2_clips["subject"] == "03"]
    names = ",".join(f"'{subject}/{clip}'" for subject, clip in zip(third["subject"], third["clip"], strict=True))
    options = ["data.batch_size=4", "trainer.max_epochs=1", f"protocol.exclude=[{names}]", f"run={tmp_path}/run"]
    config = configuration(*on_casme2, *options)
    run, ready = tmp_path / "run", ready_data(config)
    plans = [plan_fold(config, ready, split, run) for split in ready.folds()]
    assert [plan.fold.name for plan in plans] == ["01", "02"]
    for plan in plans:
        run_fold(plan)
    write_expected(run, ready, [plan.fold for plan in plans])
    metrics = pool_run(run, config)
    assert (metrics["skipped_folds"], metrics["n_subjects"], metrics["n_clips"]) == (["03"], 2, 10)

"""Multiruns: one table at the end, whatever failed; the same command completes what is missing."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from fdp_lightning.errors import UserError
from fdp_lightning.sweeps.finish import SweepError, finish_sweep
from fdp_lightning.sweeps.variants import variant_runs
from tests.tasks.conftest import SMALL, start

pytestmark = pytest.mark.costly


def test_jobs_are_all_variants_at_all_points(tmp_path: Path) -> None:
    given = OverridesParser.create().parse_overrides(["seed=0,1", "model.optimizer.lr=0.1,0.2", "model.pooling=arp"])
    plain = variant_runs(given, {})
    assert [(job.variant, job.point) for job in plain] == [
        ("model.optimizer.lr=0.1", "seed=0"),
        ("model.optimizer.lr=0.2", "seed=0"),
        ("model.optimizer.lr=0.1", "seed=1"),
        ("model.optimizer.lr=0.2", "seed=1"),
    ]
    study = variant_runs(given, {"whole": [], "no rank loss": ["model.objective.rank=0"]})
    assert len(study) == len({job.overrides for job in study}) == 8
    assert study[1].variant == "no rank loss model.optimizer.lr=0.1"
    assert set(study[1].overrides) == {
        "model.objective.rank=0", "seed=0", "model.optimizer.lr=0.1", "model.pooling=arp"
    }  # fmt: skip
    only_seeds = OverridesParser.create().parse_overrides(["seed=0,1"])
    named = variant_runs(only_seeds, {})
    assert {job.variant for job in named} == {"default"}


def returned(error: Exception | None) -> JobReturn:
    job = JobReturn(status=JobStatus.FAILED if error else JobStatus.COMPLETED)
    job.return_value = error
    return job


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([None, UserError("lr must be above 0"), None], UserError),
        ([None, UserError("lr must be above 0"), OSError("disk")], SweepError),
        ([RuntimeError("pool"), RuntimeError("pool"), RuntimeError("pool")], SweepError),
    ],
)
def test_what_failed_is_named_and_a_users_mistake_stays_one(
    errors: list[Exception | None], kind: type, tmp_path: Path
) -> None:
    given = OverridesParser.create().parse_overrides(["model.optimizer.lr=1,2,3"])
    jobs = variant_runs(given, {})
    (tmp_path / "variants.csv").write_text("of an earlier sweep")
    with pytest.raises(kind) as caught:
        finish_sweep(tmp_path, jobs, [returned(error) for error in errors])
    assert not list(tmp_path.iterdir())
    failed = [number for number, error in enumerate(errors, 1) if error]
    assert f"{len(failed)} of 3 jobs failed" in str(caught.value)
    assert [f"lr={number}:" in str(caught.value) for number in (1, 2, 3)] == [number in failed for number in (1, 2, 3)]


def test_a_mistake_in_all_jobs_is_said_once(tmp_path: Path) -> None:
    given = OverridesParser.create().parse_overrides(["seed=1,2"])
    jobs = variant_runs(given, {})
    with pytest.raises(UserError, match=r"^there is no store$"):
        finish_sweep(tmp_path, jobs, [returned(UserError("there is no store"))] * 2)


def holder(log: Path) -> int | None:
    """The process that has a file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == log:
                return int(link.parts[2])
        except OSError:
            continue
    return None


@pytest.mark.slow
def test_a_worker_killed_in_a_sweep_costs_its_variant_alone_and_the_same_command_completes_it(workplace: Path) -> None:
    shutil.rmtree(workplace / "runs")
    sweep = ["-m", "model.pooling=mean,arp", "loso.workers=1"]
    command = [sys.executable, "-m", "fdp_lightning", *SMALL, *sweep]
    process = subprocess.Popen(command, cwd=workplace, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    mean, arp = (workplace / f"runs/synthetic_loso/{_variant(name)}/seed-0" for name in ("mean", "arp"))
    deadline = time.monotonic() + 120
    while (worker := holder(mean / "logs/02.txt")) is None:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 1, errors
    assert "1 of 2 jobs failed" in errors and "1 of 3 folds failed" in errors
    assert "missing: model.pooling=mean" in output
    assert not (mean / "metrics.json").exists() and (arp / "metrics.json").is_file()
    kept = {fold: (mean / f"folds/{fold}/fold.json").stat().st_mtime_ns for fold in ("01", "03")}
    (table,) = (workplace / "runs/multirun/synthetic_loso").rglob("variants.csv")
    assert [row["uf1"] != "" for row in csv.DictReader(table.open())] == [False, True]
    again = start(workplace, *sweep)
    assert again.returncode == 0, again.stderr
    assert "missing" not in again.stdout
    assert {fold: (mean / f"folds/{fold}/fold.json").stat().st_mtime_ns for fold in kept} == kept
    rows = list(csv.DictReader(table.open()))
    assert [row["variant"] for row in rows] == ["model.pooling=mean", "model.pooling=arp"]
    assert all(row["uf1"] for row in rows) and rows[1]["uf1_difference"]
    assert {path.name for path in table.parent.iterdir()} == {
        "multirun.yaml", "variants.csv", "variants.html", "variants.md", "variants.tex",
    }  # fmt: skip


def _variant(pooling: str) -> str:
    from fdp_lightning.runs.folder import variant_name

    return variant_name([*SMALL, f"model.pooling={pooling}"])

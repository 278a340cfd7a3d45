"""Multiruns: jobs in parallel with the real launchers, where a failing job costs no other."""

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.initialize import initialize_config_dir
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from fdp_lightning.config import CONF_DIR, register_schema
from fdp_lightning.errors import UserError
from fdp_lightning.processes import CORES, cpu_count
from fdp_lightning.runs.pooling import POOLED
from fdp_lightning.sweeps.launchers.joblib_jobs import jobs_at_once
from fdp_lightning.sweeps.launchers.jobs import JobLostError, Sweep, jobs_of, outcome
from fdp_lightning.sweeps.launchers.submitit_jobs import Submitted, new_executor
from fdp_lightning.sweeps.variants import SweepError, VariantRun, finish_sweep, variant_runs
from hydra_plugins.fdp_launchers import ParallelLauncher
from tests.command import Run, new_process
from tests.tasks.conftest import SMALL, begin, run_of, wait_for

LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local"],
    "ray": ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"],
}


def processes(folder: Path) -> set[str]:
    """Return the ids of processes with this folder as working folder or argument."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder or str(folder) in (process / "cmdline").read_text():
                found.add(process.name)
        except OSError:
            continue  # it has ended, or belongs to another user
    return found


def check_no_process_left(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while (left := processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


@pytest.fixture
def place(workplace: Path) -> Path:
    """A folder in which fold 03 is finished; folds 01 and 02 and the store are missing."""
    run = run_of(workplace)
    for name in POOLED:
        (run / name).unlink()
    for name in ("01", "02"):
        shutil.rmtree(run / "folds" / name)
    shutil.rmtree(workplace / "stores")
    return workplace


@pytest.mark.slow  # each job starts Python and PyTorch, and Ray itself takes ten seconds
@pytest.mark.parametrize("launcher", ["submitit", "ray"])
def test_folds_in_parallel_change_no_result(place: Path, finished_workplace: Path, launcher: str) -> None:
    new_process(*SMALL, "-m", "task=fold", *LAUNCHERS[launcher], "fold=01,02", cwd=place, code=0)
    run = run_of(place)
    for name in ("predictions.csv", "metrics.json"):
        assert (run / name).read_bytes() == (run_of(finished_workplace) / name).read_bytes()
    assert sorted(path.name for path in (run / "folds").iterdir()) == ["01", "02", "03"]
    assert len(list((place / "stores").glob("[!.]*"))) == 1
    check_no_process_left(place)


@pytest.mark.slow  # as above, for each of the launchers
@pytest.mark.parametrize(("launcher", "how"), [*((name, "Ctrl-C") for name in LAUNCHERS), ("joblib", "kill")])
def test_an_interrupted_sweep_leaves_no_process(place: Path, launcher: str, how: str) -> None:
    long = ["-m", "task=fold", "model.optimizer.steps=4000", "run=long"]
    sweep = begin(place, *long, *LAUNCHERS[launcher], "fold=01,02")
    wait_for(lambda: len(list((place / "long/unfinished").glob("*.lock"))) == 2, sweep)
    assert len(processes(place)) > 6  # the command; job, forkserver and fold of each
    if how == "kill":
        sweep.kill()
    else:
        os.killpg(sweep.pid, signal.SIGINT)
    code = sweep.wait(timeout=60)
    assert code == (130 if how == "Ctrl-C" else -signal.SIGKILL), (place / "err.txt").read_text()
    check_no_process_left(place)
    assert not list((place / "long/folds").glob("[!.]*"))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["hydra/launcher=slurm"], ["Did you mean submitit_slurm"]),
        (["hydra/launcher=joblib", "hydra.launcher.njobs=2"], ["'hydra.launcher.njobs'", "hydra.launcher.n_jobs"]),
        (["hydra/launcher=submitit_slurm"], ["sbatch", "submitit_local"]),  # no Slurm here
    ],
)
def test_a_wrong_launcher_is_refused(run_cli: Run, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    answer = run_cli("-m", *arguments, "seed=0,1", code=2)
    assert "Traceback" not in answer.stderr
    assert all(part in answer.stderr for part in parts), answer.stderr
    assert not list(tmp_path.glob("runs/[!m]*"))


class NoPickleError(Exception):
    """An error that pickle cannot restore because its arguments differ from those of its constructor."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")


def task(config: DictConfig) -> str:
    """Be killed, fail or finish, as the name of the fold says."""
    logging.getLogger("fdp_lightning").info("training")
    print(f"fold {config.fold} on {cpu_count()} cores")
    if config.fold == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.fold == "mistaken":
        raise UserError("data.root is nowhere")
    if config.fold == "buggy":
        raise NoPickleError(7, "a bug")
    time.sleep(1)
    return f"{config.fold} {cpu_count()}"


def launched(launcher: Any, folder: Path, folds: list[str]) -> list[JobReturn]:
    """Launch a job per fold as Hydra does."""
    with sweep_of(task, f"hydra.sweep.dir={folder}") as sweep:
        launcher.setup(hydra_context=sweep.context, task_function=sweep.task, config=sweep.config)
        return launcher.launch([["task=fold", f"fold={fold}"] for fold in folds], 4)


@contextmanager
def sweep_of(function: Callable[..., Any], *overrides: str) -> Iterator[Sweep]:
    """Yield the arguments that Hydra passes to a launcher."""
    register_schema()
    setup_globals()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        config = loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
        yield Sweep(HydraContext(config_loader=loader, callbacks=Callbacks()), config, function)


FOLDS = ["killed", "01", "mistaken", "buggy", "02"]


def check_outcomes(returned: list[JobReturn], cores: int) -> None:
    """Check that folds 01 and 02 have finished with this number of cores each, and how the others have failed."""
    killed, first, mistaken, buggy, last = [outcome(each) for each in returned]
    assert (first, last) == (f"01 {cores}", f"02 {cores}")
    assert [each.status == JobStatus.COMPLETED for each in returned] == [False, True, False, False, True]
    assert isinstance(killed, JobLostError) and "job #4 fold=killed" in str(killed)
    assert isinstance(mistaken, UserError) and str(mistaken) == "data.root is nowhere"
    assert str(buggy) == "NoPickleError: a bug (7)"  # the original could not be pickled
    assert "test_launchers.py" in buggy.__notes__[0] and "a bug (7)" in buggy.__notes__[0]
    assert [each.overrides[-1] for each in returned] == [f"fold={fold}" for fold in FOLDS]


def test_a_killed_job_of_joblib_costs_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    returned = launched(ParallelLauncher("joblib", n_jobs=2), tmp_path, FOLDS)
    share = max(1, cpu_count() // 2)
    check_outcomes(returned, share)
    assert "SIGKILL" in str(outcome(returned[0]))
    out, err = capfd.readouterr()
    assert f"#5 fold=01 fold 01 on {share} cores\n" in out
    assert [line for line in err.splitlines() if line.startswith("#8 fold=02 ") and line.endswith(" training")]


@pytest.mark.slow  # each job starts Python
def test_a_killed_job_of_submitit_costs_no_other(tmp_path: Path) -> None:
    options = {"submitit_folder": f"{tmp_path}/jobs/%j", "timeout_min": 5, "cpus_per_task": 1, "gpus_per_node": None}
    check_outcomes(launched(ParallelLauncher("submitit", cluster="local", **options), tmp_path, FOLDS), 1)
    assert "fold 02 on 1 cores" in "".join(path.read_text() for path in tmp_path.glob("jobs/*/*_log.out"))


@pytest.mark.slow  # Ray itself takes ten seconds
def test_a_killed_job_of_ray_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes its token there
    init = {"address": "local", "num_cpus": 2, "include_dashboard": False, "object_store_memory": 100_000_000}
    launcher = ParallelLauncher("ray", ray={"init": init, "remote": {"num_cpus": 1, "max_retries": 0}})
    check_outcomes(launched(launcher, tmp_path, FOLDS), 1)
    with pytest.raises(UserError, match=r"remote\.num_gpus"):  # instead of waiting forever
        launched(ParallelLauncher("ray", ray={"init": init, "remote": {"num_gpus": 9}}), tmp_path, ["01"])
    assert not list(Path("/tmp").glob("fdp[0-9]*-*"))


def waits_once(config: DictConfig) -> str:
    """Wait for the time limit in the first call, and return in the second."""
    if (been := Path(config.run)).exists():
        return "done"
    been.touch()
    time.sleep(60)
    return "not interrupted"


@pytest.mark.slow  # as submitit above
def test_a_job_at_its_time_limit_is_queued_again(tmp_path: Path) -> None:
    # submitit's local executor handles Slurm's signal as its Slurm executor does.
    with sweep_of(waits_once, f"hydra.sweep.dir={tmp_path}") as sweep:
        (job,) = jobs_of([["task=fold", f"run={tmp_path}/been"]], 0)
        options = {"submitit_folder": f"{tmp_path}/jobs/%j", "timeout_min": 5, "max_num_timeout": 1}
        handle = new_executor("local", **options).submit(Submitted(sweep, job, None, Singleton.get_state()))
        while not (tmp_path / "been").exists():
            assert not handle.done()
            time.sleep(0.1)
        (child,) = Path(f"/proc/{handle.job_id}/task/{handle.job_id}/children").read_text().split()
        os.kill(int(child), signal.SIGUSR2)
        assert outcome(handle.result()) == "done"


def test_parallel_jobs_share_the_available_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORES, raising=False)
    cores = cpu_count()
    monkeypatch.setenv(CORES, "1")
    assert cpu_count() == 1
    monkeypatch.setenv(CORES, str(cores + 7))
    assert cpu_count() == cores
    assert [jobs_at_once(n, 1000) for n in (3, -1, -2, -999)] == [3, cores, max(1, cores - 1), 1]
    assert jobs_at_once(8, 3) == 3
    with pytest.raises(UserError, match="n_jobs"):
        jobs_at_once(0, 2)


def test_options_reach_the_script_for_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "srun"):  # submitit only looks for them on the PATH before it writes the script
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = ["gpus_per_node=2", "timeout_min=90", "setup=[module load cuda]", f"submitit_folder='{tmp_path}/jobs/%j'"]
    with sweep_of(task, "hydra/launcher=submitit_slurm", *(f"hydra.launcher.{each}" for each in asked)) as sweep:
        options = sweep.config.hydra.launcher
        launcher = ParallelLauncher(**{key: value for key, value in options.items() if key != "_target_"})
    executor = new_executor(**launcher.options)._executor
    script = executor._make_submission_file_text("COMMAND", "uid").splitlines()
    lines = {line.removeprefix("#SBATCH --") for line in script}
    wanted = {"gpus-per-node=2", "time=90", "cpus-per-task=8", "mem=16GB", "nodes=1", "ntasks-per-node=1"}
    assert wanted | {"signal=USR2@120", "module load cuda"} <= lines
    assert executor.max_num_timeout == 3


def planned(*overrides: str, variants: dict[str, list[str]] | None = None) -> list[VariantRun]:
    return variant_runs(OverridesParser.create().parse_overrides(list(overrides)), variants or {})


def test_a_study_has_a_job_for_each_variant_at_each_point() -> None:
    given = ["seed=0,1", "model.optimizer.lr=0.1,0.2", "model.pooling=arp"]
    points = [(f"model.optimizer.lr={lr}", f"seed={seed}") for seed in (0, 1) for lr in (0.1, 0.2)]
    assert [(job.variant, job.point) for job in planned(*given)] == points
    study = planned(*given, variants={"whole": [], "no rank loss": ["model.objective.rank=0"]})
    assert len(study) == len({job.overrides for job in study}) == 8
    assert study[1].variant == "no rank loss model.optimizer.lr=0.1"
    assert {*study[1].overrides} == {"model.objective.rank=0", "seed=0", "model.optimizer.lr=0.1", "model.pooling=arp"}


def returned(error: Exception | None) -> JobReturn:
    job = JobReturn(status=JobStatus.FAILED if error else JobStatus.COMPLETED)
    job.return_value = error
    return job


def test_failed_jobs_are_named_after_a_sweep(tmp_path: Path) -> None:
    jobs, mistake = planned("model.optimizer.lr=1,2,3"), returned(UserError("lr must be above 0"))
    for last, kind in ((returned(None), UserError), (returned(OSError("disk")), SweepError)):
        (tmp_path / "variants.csv").write_text("of an earlier sweep")
        with pytest.raises(kind, match="lr=2:") as caught:
            finish_sweep(tmp_path, jobs, [returned(None), mistake, last])
        assert "lr=1:" not in str(caught.value) and ("lr=3:" in str(caught.value)) == (kind is SweepError)
        assert not list(tmp_path.iterdir())

"""Sweeps with their jobs side by side, as users give them: nothing is lost, doubled, or left running."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fdp_lightning.runs.pooling import POOLED
from tests.command import Done, new_process
from tests.tasks.conftest import SMALL, run_of

pytestmark = pytest.mark.costly

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
RAY = ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"]
LAUNCHERS = {"joblib": JOBLIB, "submitit": ["hydra/launcher=submitit_local"], "ray": RAY}
SOURCE, SITE = Path(__file__).parents[2] / "src", Path(pytest.__file__).parents[1]


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A sweep, begun in a process group of its own, as a terminal has it."""
    command = [sys.executable, "-m", "fdp_lightning", *SMALL, "-m", "task=fold", *arguments]
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        return subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, stdout=out, stderr=err)


def processes(folder: Path) -> dict[int, tuple[int, str]]:
    """Processes that work in this folder or were given it: parent and command line of each."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder or str(folder) in (process / "cmdline").read_text():
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                found[int(process.name)] = parent, (process / "cmdline").read_text().replace("\0", " ")
        except (OSError, ValueError):
            continue  # it has ended meanwhile, or is another user's
    return found


def in_training(run: Path) -> list[int]:
    """The processes that train folds of this run: each has its log file open."""
    found = []
    for opened in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if opened.resolve().parent == run / "logs":
                found.append(int(opened.parts[2]))
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], folder: Path) -> None:
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, (folder / "err.txt").read_text()
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def no_process_is_left(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while (left := processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == {}


@pytest.fixture
def place(workplace: Path) -> Path:
    """Fold 03 is finished; 01 and 02 are to be run, and the store to be built."""
    run = run_of(workplace)
    for name in POOLED:
        (run / name).unlink()
    for name in ("01", "02"):
        shutil.rmtree(run / "folds" / name)
    shutil.rmtree(workplace / "stores")
    return workplace


@pytest.fixture(scope="session")
def expected(finished_workplace: Path) -> dict[str, bytes]:
    return {name: (run_of(finished_workplace) / name).read_bytes() for name in ("predictions.csv", "metrics.json")}


def is_as_expected(place: Path, expected: dict[str, bytes]) -> None:
    run = run_of(place)
    assert {name: (run / name).read_bytes() for name in expected} == expected
    assert sorted(path.name for path in (run / "folds").iterdir()) == ["01", "02", "03"]
    assert len([path for path in (place / "stores").iterdir() if not path.name.startswith(".")]) == 1


@pytest.mark.slow
def test_of_joblib_jobs_two_are_killed_and_the_same_command_completes_the_run(
    place: Path, expected: dict[str, bytes]
) -> None:
    run = run_of(place)
    shutil.rmtree(run / "folds/03")
    sweep = begin(place, *JOBLIB, "fold=01,02,03", "loso.checkpoint_seconds=0")
    wait_for(lambda: in_training(run), sweep, place)
    fold, there = in_training(run)[0], processes(place)
    os.kill(fold, signal.SIGKILL)  # of one job the process that trains
    its_worker = there[there[fold][0]][0]  # the forkserver is between them
    (other,) = {pid for pid, (_, command) in there.items() if "LokyProcess" in command} - {its_worker}
    os.kill(other, signal.SIGKILL)  # of another job the process that Hydra started
    sweep.wait(timeout=400)
    errors = (place / "err.txt").read_text()
    assert sweep.returncode == 1, errors
    (lost,) = set(re.findall(r"job #\d fold=(\d\d) was lost \(its process ended with SIGKILL", errors))
    (failed,) = set(re.findall(r"^#\d fold=(\d\d) .*fold \1 FAILED", errors, re.M))
    no_process_is_left(place)
    assert {path.name for path in (run / "folds").glob("[!.]*")} == {"01", "02", "03"} - {lost, failed}
    assert lost != failed and not [name for name in POOLED if (run / name).exists()]
    again = new_process(*SMALL, "-m", "task=fold", *JOBLIB, "fold=01,02,03", "loso.checkpoint_seconds=0", cwd=place)
    assert again.returncode == 0, again.stderr
    is_as_expected(place, expected)
    told = re.findall(r"^(#\d fold=\d\d) fold (\d\d)(?: is finished)?: ", again.stdout, re.M)
    assert sorted(told) == [("#0 fold=01", "01"), ("#1 fold=02", "02"), ("#2 fold=03", "03")]
    assert all(re.match(r"#\d fold=\d\d |\d\d:\d\d:\d\d |$", line) for line in again.stderr.splitlines()), again.stderr


@pytest.mark.slow  # each job of these two starts Python and PyTorch anew, and Ray itself takes ten seconds
@pytest.mark.parametrize("launcher", ["submitit", "ray"])
def test_two_folds_side_by_side_give_what_one_after_the_other_gives(
    place: Path, expected: dict[str, bytes], launcher: str
) -> None:
    done = new_process(*SMALL, "-m", "task=fold", *LAUNCHERS[launcher], "fold=01,02", cwd=place)
    assert done.returncode == 0, done.stderr
    is_as_expected(place, expected)
    no_process_is_left(place)


@pytest.mark.slow  # as above, for each of the launchers
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_ctrl_c_ends_all_jobs_and_the_same_command_goes_on(
    place: Path, expected: dict[str, bytes], launcher: str
) -> None:
    longer = ["model.optimizer.steps=4000", "run=long"]
    sweep = begin(place, *LAUNCHERS[launcher], *longer, "fold=01,02")
    wait_for(lambda: len(list((place / "long/unfinished").glob("*.lock"))) == 2, sweep, place)
    assert len(processes(place)) > 6  # the command; each job, its forkserver, its fold
    os.killpg(sweep.pid, signal.SIGINT)
    sweep.wait(timeout=60)
    errors = (place / "err.txt").read_text()
    assert sweep.returncode == 130, errors
    no_process_is_left(place)
    assert not list((place / "long/folds").glob("[!.]*"))


@pytest.mark.slow  # as above
def test_of_ray_jobs_one_is_killed_and_the_same_command_completes_the_run(
    place: Path, expected: dict[str, bytes]
) -> None:
    sweep = begin(place, *RAY, "fold=01,02,03")
    wait_for(lambda: list((run_of(place) / "unfinished").glob("*.lock")), sweep, place)
    workers = [pid for pid, (_, command) in processes(place).items() if command.startswith("ray::_job")]
    os.kill(workers[0], signal.SIGKILL)
    sweep.wait(timeout=400)
    errors = (place / "err.txt").read_text()
    assert sweep.returncode == 1, errors
    assert len(set(re.findall(r"job (#\d fold=\d\d) was lost", errors))) == 1, errors
    no_process_is_left(place)
    assert len(list((run_of(place) / "folds").glob("[!.]*"))) == 2
    again = new_process(*SMALL, "-m", "task=fold", *RAY, "fold=01,02,03", cwd=place)
    assert again.returncode == 0, again.stderr
    is_as_expected(place, expected)


@pytest.mark.slow  # as above
def test_a_sweep_that_is_killed_itself_leaves_no_joblib_job(place: Path) -> None:
    sweep = begin(place, *JOBLIB, "model.optimizer.steps=4000", "run=long", "fold=01,02")
    wait_for(lambda: len(list((place / "long/unfinished").glob("*.lock"))) == 2, sweep, place)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    no_process_is_left(place)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["hydra/launcher=jobblib"], ["'hydra/launcher/jobblib'", "Did you mean joblib", "submitit_slurm"]),
        (["hydra/launcher=slurm"], ["Did you mean submitit_slurm"]),
        ([*JOBLIB, "hydra.launcher.njobs=2"], ["'hydra.launcher.njobs'", "hydra.launcher.n_jobs"]),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], ["hydra.launcher.n_jobs is 0"]),
        (["hydra/launcher=submitit_slurm"], ["no sbatch", "submitit_local"]),
        (["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=soon"], ["submitit refuses", "timeout_min"]),
    ],
    ids=lambda value: value[-1] if "=" in value[-1] else "",
)
def test_a_launcher_that_cannot_be_meant(
    run_cli: Callable[..., Done], tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    answer = run_cli("-m", *arguments, "seed=0,1")
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr
    for part in parts:
        assert part in answer.stderr
    assert not list(tmp_path.glob("runs/[!m]*"))


@pytest.mark.parametrize(
    "launcher", ["joblib", *(pytest.param(name, marks=pytest.mark.slow) for name in ("submitit_local", "ray"))]
)
def test_a_launcher_whose_extra_is_not_installed(tmp_path: Path, launcher: str) -> None:
    extra = launcher.partition("_")[0]
    site = tmp_path / "site"
    (site / "hydra_plugins").mkdir(parents=True)
    for package in [*SITE.iterdir(), *SITE.glob("hydra_plugins/*")]:
        name = str(package.relative_to(SITE))
        if name not in ("hydra_plugins", extra, f"hydra_plugins/hydra_{extra}_launcher"):
            (site / name).symlink_to(package)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(site)])}
    command = [sys.executable, "-S", "-m", "fdp_lightning", "-m", f"hydra/launcher={launcher}", "seed=0,1"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2, answer.stderr
    assert f"hydra/launcher={launcher} needs packages that are not installed" in answer.stderr
    assert f"pip install 'fdp-lightning[{extra}]'" in answer.stderr
    assert "Traceback" not in answer.stderr and "Warning" not in answer.stderr

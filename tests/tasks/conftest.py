"""A complete leave-one-subject-out run from the command line, shared by the tests that inspect it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from fdp_lightning.config import configuration
from fdp_lightning.data.protocols.splits import choose_fold
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.plan import FoldPlan, plan_fold
from fdp_lightning.engine.process import run_fold
from tests.command import Done, command, once

if TYPE_CHECKING:
    from fdp_lightning.inference.model import Model

SMALL = [
    "+experiment=synthetic_loso", "data.generate.subjects=3", "data.generate.clips_per_emotion=2",
    "data.generate.min_frames=10", "data.generate.max_frames=12", "data.generate.height=180",
    "data.generate.width=240", "data.batch_size=10", "trainer.max_epochs=2",
]  # fmt: skip


QUICK = {
    "test_budget.py", "test_explanation.py", "test_fold_outputs.py", "test_pooling.py", "test_prediction_files.py",
    "test_recognizers.py", "test_run_files.py",
}  # fmt: skip
"""Files whose tests are costly only if a fixture is; the tests of all other files are costly."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name not in QUICK:
            item.add_marker("costly")


def start(folder: Path, *arguments: str, code: int | None = 0) -> Done:
    """Run the small configuration in this process; it must end with this exit code (see `command`)."""
    return command(*SMALL, *arguments, cwd=folder, code=code)


def begin(folder: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start the small run in its own process group, as a terminal does, with standard error in err.txt."""
    command = [sys.executable, "-m", "fdp_lightning", *SMALL, *arguments]
    with (folder / "err.txt").open("w") as errors:
        pipes = {"stdout": subprocess.DEVNULL, "stderr": errors, **options}
        return subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, **pipes)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for a condition while the process runs; on a loaded machine, imports alone take minutes."""
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def end_group(group: int, within_s: float = 30) -> None:
    """Wait until all processes of the group have ended."""
    for _ in range(int(10 * within_s)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("processes of the run are left")


def run_of(folder: Path) -> Path:
    (run,) = folder.glob("runs/synthetic_loso/*/seed-0")
    return run


def fold_here(*overrides: str) -> FoldPlan:
    """Run the fold `fold=…` of a configuration in this process, which has already done the slow imports."""
    config = configuration(*overrides)
    data = ready_data(config)
    plan = plan_fold(config, data, choose_fold(data.folds(), config.fold), Path(config.run))
    run_fold(plan)
    return plan


SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "prediction.schema.json").read_text())


def problems(facts: Any) -> list[str]:
    """Return the deviations of a predict.json from its schema."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMA).iter_errors(facts)]


@pytest.fixture(scope="session")
def model() -> "Model":
    """The bundled model. Shared: do not change it."""
    from fdp_lightning import load_model  # imports torch

    return load_model()


@pytest.fixture(scope="session")
def finished_workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, store and a finished run of three folds by two workers. Copy it before changing it."""
    return once(tmp_path_factory, "loso", lambda folder: start(folder, "loso.workers=2"))


def beside(finished: Path, folder: Path) -> Path:
    """Link data and store of the shared run into a folder, for reading only; return the folder, which has no run."""
    folder.mkdir(exist_ok=True)
    for name in ("data", "stores"):
        (folder / name).symlink_to(finished / name)
    return folder


@pytest.fixture
def emptied(finished_workplace: Path, tmp_path: Path) -> Path:
    """A folder with the data and store of `finished_workplace`, but no run."""
    return beside(finished_workplace, tmp_path / "emptied")


@pytest.fixture(scope="session")
def on_casme2(casme2_root: Path, store_folder_path: Path) -> list[str]:
    """Overrides for three subjects with five clips each, already aligned."""
    data = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={casme2_root}"]
    return [*data, f"data.store={store_folder_path.parent}"]


@pytest.fixture
def workplace(finished_workplace: Path, tmp_path: Path) -> Path:
    """A copy of `finished_workplace`; the images keep their modification times, so the store is found."""
    return Path(shutil.copytree(finished_workplace, tmp_path / "place"))


@pytest.fixture(scope="session")
def logged_workplace(finished_workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data with a run with three loggers that was killed and resumed. Copy it before changing it."""
    from tests.tasks.wandb_files import kill_and_go_on  # imports this module

    def make(place: Path) -> None:
        shutil.copytree(finished_workplace, place, dirs_exist_ok=True)
        shutil.rmtree(place / "runs")
        kill_and_go_on(place)

    return once(tmp_path_factory, "logged", make)

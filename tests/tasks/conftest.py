"""A whole leave-one-subject-out run through the command line, shared by the tests that look at it."""

import shutil
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.data.protocols.splits import choose_fold
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.fold import run_fold
from fdp_lightning.engine.plan import FoldPlan, plan_fold
from tests.command import Done, command, once

SMALL = [
    "+experiment=synthetic_loso", "data.generate.subjects=3", "data.generate.clips_per_emotion=2",
    "data.generate.min_frames=10", "data.generate.max_frames=12", "data.generate.height=180",
    "data.generate.width=240", "data.batch_size=10", "trainer.max_epochs=2",
]  # fmt: skip


def start(folder: Path, *arguments: str) -> Done:
    """The small run, in this process (see `command`)."""
    return command(*SMALL, *arguments, cwd=folder)


def run_of(folder: Path) -> Path:
    (run,) = folder.glob("runs/synthetic_loso/*/seed-0")
    return run


def fold_here(*overrides: str) -> FoldPlan:
    """Run the fold `fold=…` of a configuration in this process, which has the slow imports behind it."""
    config = configuration(*overrides)
    data = ready_data(config)
    plan = plan_fold(config, data, choose_fold(data.folds(), config.fold), Path(config.run))
    run_fold(plan)
    return plan


@pytest.fixture(scope="session")
def finished_workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, store and a finished run of three folds, by two workers. Copy it before you change it."""

    def make(folder: Path) -> None:
        done = start(folder, "loso.workers=2")
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "loso", make)


@pytest.fixture
def workplace(finished_workplace: Path, tmp_path: Path) -> Path:
    """A copy of `finished_workplace`; times of the images are kept, so its store is found."""
    return Path(shutil.copytree(finished_workplace, tmp_path / "place"))


@pytest.fixture(scope="session")
def logged_workplace(finished_workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data with a run of three loggers that was killed and ended later. Copy it before you change it."""
    from tests.tasks.logged_runs import kill_and_go_on  # it needs this module

    def make(place: Path) -> None:
        shutil.copytree(finished_workplace, place, dirs_exist_ok=True)
        shutil.rmtree(place / "runs")
        kill_and_go_on(place)

    return once(tmp_path_factory, "logged", make)

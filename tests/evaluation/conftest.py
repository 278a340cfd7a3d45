import shutil
from pathlib import Path

import pytest
from random_runs import CLASSES, make_run

from fdp_lightning.evaluation.report import build_report


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, shared by all tests; `run` is a copy that a test may change."""
    return make_run(tmp_path_factory.mktemp("whole") / "seed-42", classes=[*CLASSES[:2], "others"])


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "synthetic_loso" / "base" / "seed-42"))


@pytest.fixture(scope="session")
def pages(whole_run: Path) -> dict[bool, str]:
    """The report of `whole_run`: with faces (True), and without faces and marked as synthetic (False)."""
    return {faces: build_report(whole_run, "A title", faces, not faces).read_text() for faces in (True, False)}

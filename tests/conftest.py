"""Fixtures of all tests: tiny synthetic datasets on disk, a clip store, and the command line."""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import settings
from openpyxl import load_workbook

from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.store.build import build_store
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.data.store.sources import list_sources, store_folder
from fdp_lightning.data.synthetic import SyntheticFaces
from tests.command import Done, command, once

settings.register_profile("tests", deadline=None)  # beside other work, one example may take long
settings.load_profile("tests")

TINY = {"subjects": 3, "clips_per_emotion": 1, "min_frames": 10, "max_frames": 12, "height": 180, "width": 240}

COSTLY = {"run_cli", "finished_workplace", "browser", "server"}
"""Fixtures that train, start processes or a browser, or import slowly; modules use `pytestmark` instead."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if COSTLY & set(getattr(item, "fixturenames", ())):
            item.add_marker("costly")


@pytest.fixture(scope="session")
def casme2_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects and fifteen clips in CASME II's layout. Copy it before changing it."""
    return once(tmp_path_factory, "casme2", lambda place: SyntheticFaces(**TINY).write(place / "data")) / "data"


@pytest.fixture(scope="session")
def samm_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects in SAMM's layout. Copy it before changing it."""
    faces = SyntheticFaces(**{**TINY, "subjects": 2}, layout="samm")
    return once(tmp_path_factory, "samm", lambda place: faces.write(place / "data")) / "data"


@pytest.fixture(scope="session")
def casme2_clips(casme2_root: Path) -> pd.DataFrame:
    """The clip table of `casme2_root`."""
    return CASME2(casme2_root).clips()


@pytest.fixture(scope="session")
def store_folder_path(casme2_clips: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `casme2_root`, which the command line finds with data.store=<its parent>."""
    faces, sources = FaceSettings(), list_sources(casme2_clips)

    def folder(place: Path) -> Path:
        return store_folder(place, "casme2", faces, "strict", sources)

    return folder(
        once(tmp_path_factory, "stores", lambda place: build_store(folder(place), casme2_clips, sources, faces))
    )


@pytest.fixture(scope="session")
def store(store_folder_path: Path) -> ClipStore:
    """The opened store of `casme2_root`."""
    return open_store(store_folder_path)


@pytest.fixture
def small_copy(casme2_root: Path, tmp_path: Path) -> Path:
    """A copy of one clip of each subject of `casme2_root`, which a test may change."""
    root = tmp_path / "small"
    root.mkdir()
    name = "CASME2-coding-20190701.xlsx"
    book = load_workbook(casme2_root / name)
    header, *rows = book.active.values
    first_of = {row[0]: row for row in sorted(rows, reverse=True)}
    book.active.delete_rows(1, len(rows) + 1)
    for row in (header, *sorted(first_of.values())):
        book.active.append(row)
    book.save(root / name)
    for folder in CASME2(casme2_root).clips().drop_duplicates("subject")["folder"]:
        shutil.copytree(folder, root / Path(folder).relative_to(casme2_root))
    return root


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., Done]:
    """The command line in this process (see `command`); its working folder is `tmp_path`."""
    return partial(command, cwd=tmp_path)

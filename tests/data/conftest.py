"""Fixtures shared by several modules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.protocols.splits import leave_one_subject_out


@pytest.fixture
def clips(small_copy: Path) -> pd.DataFrame:
    """Three clips of three subjects; a test may damage them."""
    return CASME2(small_copy).clips()


@pytest.fixture(scope="session")
def labelled(casme2_clips: pd.DataFrame) -> pd.DataFrame:
    """The clips of the shared store with their emotions as targets."""
    return casme2_clips.assign(target=casme2_clips["emotion"])


@pytest.fixture(scope="session")
def module(store_folder_path: Path, labelled: pd.DataFrame) -> Callable[..., FoldDataModule]:
    """Function that returns the data module of the fold testing the second subject, on the shared or another store."""

    def make(clips: pd.DataFrame = labelled, folder: Path = store_folder_path, **options: Any) -> FoldDataModule:
        clips = clips.assign(target=clips["emotion"])
        options = {"batch_size": 4, "fold": leave_one_subject_out(clips)[1], **options}
        return FoldDataModule(folder, clips, sorted(set(clips["emotion"])), **options)

    return make

"""The three frames that stand for a held-out clip on the report page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.protocols.splits import Fold
from fdp_lightning.data.store.clip_store import ClipStore

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


@pytest.fixture
def held_out(store_folder_path: Path, casme2_clips: pd.DataFrame) -> Callable[..., tuple[FoldDataModule, pd.DataFrame]]:
    def make(apexes: Any, **options) -> tuple[FoldDataModule, pd.DataFrame]:
        clips = casme2_clips.assign(target=casme2_clips["emotion"], apex=pd.array(apexes, dtype="Int64"))
        fold = Fold("all", (0,), tuple(range(len(clips))))
        return FoldDataModule(store_folder_path, clips, CLASSES, fold, Sampling(5), **options), clips

    return make


def test_they_are_the_first_the_nearest_to_the_apex_and_the_last_that_the_model_sees(
    held_out: Callable[..., tuple[FoldDataModule, pd.DataFrame]], store: ClipStore, casme2_clips: pd.DataFrame
) -> None:
    onset, offset = (casme2_clips[name].astype(int).to_numpy() for name in ("onset", "offset"))
    apexes = onset + np.arange(len(onset)) % (offset - onset + 1)
    data, clips = held_out(apexes)
    frames, numbers = data.test_set.key_frames()
    assert frames.dtype == np.uint8 and frames.shape == (len(clips), 3, *store.read(0, np.array([0])).shape[1:])
    for place, row in enumerate(store.rows(clips)):
        seen = data.test_frame_numbers[place].tolist()
        nearest = min(seen, key=lambda number: abs(number - apexes[place]))
        assert numbers[place].tolist() == [seen[0], nearest, seen[-1]]
        among_all = [store.frame_numbers(row).tolist().index(number) for number in numbers[place]]
        np.testing.assert_array_equal(frames[place], store.read(row, np.array(among_all)))
    assert len({tuple(np.searchsorted(data.test_frame_numbers[i], numbers[i])) for i in range(len(clips))}) == 5


@pytest.mark.parametrize("options", [{}, {"normalisation": "each_set"}])
def test_without_an_apex_within_the_clip_it_is_the_middle_frame_and_pictures_are_as_stored(
    held_out: Callable[..., tuple[FoldDataModule, pd.DataFrame]], options: dict[str, Any]
) -> None:
    data, _ = held_out([pd.NA, *[1_000_000] * 14], **options)
    frames, numbers = data.test_set.key_frames()
    np.testing.assert_array_equal(numbers, data.test_frame_numbers[:, [0, 2, 4]])
    assert frames.max() > 100  # neither centred nor divided

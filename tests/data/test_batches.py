"""What a batch holds beyond the pictures, and the ways of the released code: floor sampling, sets normalised apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule
from fdp_lightning.data.loading.normalisation import Statistics
from fdp_lightning.data.loading.sampling import Sampling, floor, uniform
from fdp_lightning.data.protocols.splits import leave_one_subject_out
from fdp_lightning.data.store.clip_store import ClipStore

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


@pytest.fixture
def module(store_folder_path: Path, casme2_clips: pd.DataFrame) -> Callable[..., FoldDataModule]:
    table = casme2_clips.assign(target=casme2_clips["emotion"])

    def make(clips: pd.DataFrame = table, **options) -> FoldDataModule:
        return FoldDataModule(store_folder_path, clips, CLASSES, leave_one_subject_out(clips)[1], **options)

    return make


def items(dataset: ClipDataset) -> dict[str, torch.Tensor]:
    each = [dataset[i] for i in range(len(dataset))]
    return {name: torch.stack([item[name] for item in each]) for name in each[0]}


@given(st.integers(1, 200), st.integers(1, 32))
def test_floor_takes_the_released_frames_and_none_of_a_short_clip(n_frames: int, count: int) -> None:
    expected = [i * (n_frames // count) for i in range(count)] if n_frames >= count else []
    assert floor(n_frames, count).tolist() == expected
    assert Sampling(count, "floor").positions(n_frames).tolist() == expected
    assert Sampling(count).positions(n_frames).tolist() == uniform(n_frames, count).tolist()


@pytest.mark.parametrize("rule", ["uniform", "floor"])
def test_pictures_and_frame_numbers_are_of_the_same_frames(
    module: Callable[..., FoldDataModule], store: ClipStore, casme2_clips: pd.DataFrame, rule: str
) -> None:
    data = module(sampling=Sampling(4, rule))
    held_out = casme2_clips[casme2_clips["subject"] == "02"].reset_index(drop=True)
    batch = items(data.test_set)
    for place, row in enumerate(store.rows(held_out)):
        length = store.length(row)
        expected = np.array([i * (length // 4) for i in range(4)]) if rule == "floor" else uniform(length, 4)
        pictures = torch.from_numpy(store.read(row, expected)).float() / 255
        assert torch.equal(batch["frames"][place, :, 0], pictures)
        assert batch["frame_number"][place].tolist() == (held_out["onset"][place] + expected).tolist()
        assert data.test_frame_numbers[place].tolist() == batch["frame_number"][place].tolist()
    assert batch["frame_number"].dtype == batch["apex"].dtype == torch.float32


def test_an_apex_is_given_where_it_is_known_and_within_the_clip(
    module: Callable[..., FoldDataModule], casme2_clips: pd.DataFrame
) -> None:
    clips = casme2_clips.assign(target=casme2_clips["emotion"])
    held_out = clips.index[clips["subject"] == "02"]
    onset, offset = (clips.loc[held_out, name].tolist() for name in ("onset", "offset"))
    given = [pd.NA, onset[1] - 1, offset[2] + 1, onset[3], offset[4]]
    clips.loc[held_out, "apex"] = pd.array(given, dtype="Int64")
    apexes = items(module(clips).test_set)["apex"].numpy()
    np.testing.assert_array_equal(apexes, [np.nan, np.nan, np.nan, onset[3], offset[4]])
    assert items(module(clips).train_set)["apex"].isfinite().all()


def test_each_set_is_centred_by_its_own_mean_and_divided_by_its_own_maximum(
    module: Callable[..., FoldDataModule],
) -> None:
    usual, released = module(), module(normalisation="each_set")
    assert released.fitted.statistics == Statistics(mean=0.0, std=1.0) != usual.fitted.statistics
    means = []
    for ours, theirs in ((usual.train_set, released.train_set), (usual.test_set, released.test_set)):
        plain, changed = items(ours)["frames"].double(), items(theirs)["frames"].double()
        assert changed.mean().item() == pytest.approx(0, abs=1e-6)
        assert changed.max().item() == pytest.approx(1, abs=1e-6)
        centred = plain - plain.mean()
        torch.testing.assert_close(changed, centred / centred.max(), atol=1e-5, rtol=0)
        means.append(plain.mean().item())
    assert abs(means[0] - means[1]) > 1e-3  # by each other's mean they would not be centred


def test_a_set_of_one_grey_value_is_zero_and_not_divided_by_zero(module: Callable[..., FoldDataModule]) -> None:
    dataset = module().test_set
    dataset._clips = np.full_like(dataset._clips, 77)
    dataset.normalise_by_itself()
    assert items(dataset)["frames"].abs().max() < 1e-6

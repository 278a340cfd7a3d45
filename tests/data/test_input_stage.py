"""Maps of clips: as computed directly, kept beside the stores, scaled by training clips alone, mirrored."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fdp_lightning.data.annotations.clips import apex_numbers, apex_position
from fdp_lightning.data.inputs.flow import apex_flow
from fdp_lightning.data.inputs.stage import FOLDER, InputSettings, input_maps
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.protocols.splits import make_folds
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.errors import UserError

APEX_FLOW = InputSettings("apex_flow", phases=["onset_apex", "apex_offset"])


def copied(store: Path, place: Path) -> ClipStore:
    return open_store(Path(shutil.copytree(store, place / store.name)))


@pytest.fixture(scope="module")
def own_store(store_folder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """A copy of the store with a place of its own for maps, which the tests here share."""
    return copied(store_folder_path, tmp_path_factory.mktemp("stores"))


def made(store: ClipStore, clips: pd.DataFrame, settings: InputSettings = APEX_FLOW, **options: int) -> np.ndarray:
    return input_maps(store, store.rows(clips), apex_numbers(clips), Sampling(), settings, **options)


def test_maps_are_those_of_all_frames_about_the_apex_and_are_kept(
    store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path
) -> None:
    own_store = copied(store_folder_path, tmp_path)
    clips = casme2_clips.iloc[:4]
    maps = made(own_store, clips)
    assert maps.shape == (4, 2, 3, 28, 28)
    row = own_store.rows(clips)[2]
    frames = own_store.read(row, np.arange(own_store.length(row)))
    apex = apex_position(own_store.frame_numbers(row), apex_numbers(clips)[2])
    np.testing.assert_array_equal(maps[2], apex_flow(frames, apex, APEX_FLOW.flow).maps)
    files = {path: path.stat().st_mtime_ns for path in (own_store.folder.parent / FOLDER).rglob("*.npy")}
    assert len(files) == 4
    np.testing.assert_array_equal(made(own_store, casme2_clips.iloc[[2, 1]]), maps[[2, 1]])
    assert {path: path.stat().st_mtime_ns for path in files} == files
    next(iter(files)).write_bytes(b"damaged")
    np.testing.assert_array_equal(made(own_store, clips), maps)
    # Another apex is another file; without one the farthest frame takes its place.
    others = clips.assign(apex=clips["onset"] + 1)
    others.loc[others.index[2], "apex"] = pd.NA
    found = made(own_store, others)
    assert len(list((own_store.folder.parent / FOLDER).rglob("*.npy"))) == 8
    farthest = int(np.abs(frames - frames[:1].astype(float)).mean(axis=(1, 2)).argmax())
    np.testing.assert_array_equal(found[2], apex_flow(frames, farthest, APEX_FLOW.flow).maps)


def test_the_scale_of_a_fold_is_fitted_on_its_training_clips(own_store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    clips = casme2_clips.assign(target=casme2_clips["emotion"])
    settings = InputSettings("apex_flow", scale="train_std", gain=2.0)
    fold = make_folds(clips, "loso")[0]
    data = FoldDataModule(own_store.folder, clips, sorted(set(clips["emotion"])), fold, taken=settings)
    values = data.train_set.all_clips()["frames"]
    assert values.shape[1:] == (3, 28, 28)
    torch.testing.assert_close(values.square().mean(dim=(0, 2, 3)).sqrt(), torch.full((3,), 2.0), rtol=1e-4, atol=0)
    unscaled = made(own_store, clips, settings)
    rms = np.sqrt(np.square(unscaled[list(fold.train_rows)]).mean(axis=(0, 1, 3, 4)))
    assert data.test_set is not None
    expected = 2 * unscaled[list(fold.test_rows)][:, 0] / rms[:, None, None]
    np.testing.assert_allclose(data.test_set.all_clips()["frames"].numpy(), expected, rtol=1e-4)


def test_mirrored_maps_have_u_negated_and_only_in_training(own_store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    clips = casme2_clips.assign(target=casme2_clips["emotion"])
    fold = make_folds(clips, "loso")[0]
    settings = InputSettings("apex_flow", scale="none", flip=0.5)
    data = FoldDataModule(own_store.folder, clips, sorted(set(clips["emotion"])), fold, taken=settings)
    plain, seen = data.train_set.all_clips()["frames"], set()
    for epoch in range(3):
        data.epoch_batches(epoch)
        drawn = data.train_set.__getitems__(range(len(plain)))["frames"]
        for one, original in zip(drawn, plain, strict=True):
            mirrored = original.flip(2) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
            kind = torch.equal(one, original), torch.equal(one, mirrored)
            assert any(kind)
            seen.add(kind)
    assert {(True, False), (False, True)} <= seen
    assert data.test_set is not None
    tested = data.test_set.__getitems__(range(len(data.test_set)))["frames"]
    torch.testing.assert_close(tested, data.test_set.all_clips()["frames"], rtol=0, atol=0)


def test_frames_drawn_anew_have_no_maps(own_store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    settings = InputSettings("flow", size=32)
    maps = made(own_store, casme2_clips.iloc[:2], settings)
    assert maps.shape == (2, 8, 3, 32, 32)
    assert not maps[:, 0].any() and maps[:, 4].any()
    rows = own_store.rows(casme2_clips.iloc[:2])
    with pytest.raises(UserError, match="random_phase"):
        input_maps(own_store, rows, np.full(2, np.nan), Sampling(8, "random_phase"), settings)


def test_faces_are_no_maps(own_store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="64×64"):
        made(own_store, casme2_clips.iloc[:1], InputSettings("maps", scale="none"))


def test_a_single_name_stands_for_a_list_of_one() -> None:
    settings = InputSettings("apex_flow", channels="strain", phases="apex_offset")
    assert (settings.channels, settings.phases) == (("strain",), ("apex_offset",))
    assert (settings.flow.channels, settings.flow.phases) == (settings.channels, settings.phases)

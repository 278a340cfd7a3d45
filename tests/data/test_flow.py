"""Optical flow against known motion, strain and scales against their definitions, and the maps of clips and folds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from fdp_lightning.data.annotations.clips import apex_numbers, apex_position
from fdp_lightning.data.inputs.flow import (
    CHANNELS,
    METHODS,
    SCALES,
    FlowScale,
    InputSettings,
    apex_flow,
    find_apex,
    flow,
    flow_maps,
    flow_sequence,
    optical_strain,
)
from fdp_lightning.data.inputs.stage import FOLDER, input_maps
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.errors import UserError

SIDE = 48
EVERY = InputSettings(channels=CHANNELS, size=12)


def texture(right: float, down: float) -> np.ndarray:
    """Return a blurred random texture, displaced by the given numbers of pixels."""
    wide = cv2.GaussianBlur(np.random.default_rng(0).random((SIDE + 16, SIDE + 16)).astype(np.float32), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    moved = cv2.warpAffine(wide, np.float32([[1, 0, right], [0, 1, down]]), wide.shape, flags=cv2.INTER_CUBIC)
    return np.ascontiguousarray(moved[8:-8, 8:-8].round().clip(0, 255).astype(np.uint8))


def clip(*displacements: tuple[float, float]) -> np.ndarray:
    return np.stack([texture(*by) for by in displacements])


STILL_AND_BACK = clip((0, 0), (0.5, 0), (1.5, -0.5), (1, 0), (0, 0))


@pytest.mark.parametrize("method", METHODS)
def test_the_flow_of_a_translation_is_the_translation_and_of_mirrored_frames_the_mirrored_flow(method: str) -> None:
    for by in ((1.0, 0.5), (-1.5, 0.0), (0.0, -1.0)):
        found = flow(texture(0, 0), texture(*by), method)
        assert found.shape == (2, SIDE, SIDE) and found.dtype == np.float32
        np.testing.assert_allclose(found[:, 6:-6, 6:-6].mean(axis=(1, 2)), by, atol=0.1)
        assert np.array_equal(found, flow(texture(0, 0), texture(*by), method))
    first, second = texture(0, 0), texture(1.2, 0.6)
    settings = InputSettings("apex_flow", method, ("v", "u"), SIDE, "none")
    scale = FlowScale.fit(settings)
    mirrored = scale.mirror(scale.apply(flow_maps(first, second, settings)))
    of_mirrored = flow_maps(first[:, ::-1], second[:, ::-1], settings)
    assert np.abs(mirrored - of_mirrored)[:, 6:-6, 6:-6].mean() < 0.1
    assert of_mirrored[1].mean() < -0.9


def test_colour_is_converted_to_grey_and_invalid_frames_are_refused() -> None:
    first, second = texture(0, 0), texture(1, 0)
    coloured = [np.repeat(frame[..., None], 3, axis=2) for frame in (first, second)]
    assert np.array_equal(flow(*coloured), flow(first, second))
    for one, other in ((first / 255, second / 255), (first[:8], second[:8]), (first[None],) * 2):
        with pytest.raises(ValueError, match=r"uint8|16 pixels"):
            flow(one, other)


@pytest.mark.parametrize(
    ("u", "v", "strain"),
    [
        ((0.3, 0.0), (0.0, 0.0), 0.3),  # stretched along x
        ((0.0, 0.0), (0.0, -0.2), 0.2),  # squeezed along y
        ((0.0, 0.4), (0.0, 0.0), 0.4 / np.sqrt(2)),  # shear of u
        ((0.0, 0.0), (0.4, 0.0), 0.4 / np.sqrt(2)),  # shear of v
        ((0.0, 0.1), (-0.1, 0.0), 0.0),  # a rotation
        ((0.3, 0.2), (0.1, -0.4), np.sqrt(0.3**2 + 0.4**2 + 0.3**2 / 2)),
    ],
)
def test_strain_of_a_linear_field(u: tuple[float, float], v: tuple[float, float], strain: float) -> None:
    y, x = np.mgrid[:7, :9].astype(np.float64)
    found = optical_strain(u[0] * x + u[1] * y + 3, v[0] * x + v[1] * y - 1)
    np.testing.assert_allclose(found, np.full((7, 9), strain), atol=1e-12)
    inside = optical_strain(x**2, x * y)[1:-1, 1:-1]  # central differences are exact on these
    np.testing.assert_allclose(inside, np.sqrt((2 * x) ** 2 + x**2 + y**2 / 2)[1:-1, 1:-1])


def test_maps_have_the_requested_channels_in_order() -> None:
    first, second = texture(0, 0), texture(1, 0.5)
    u, v = flow(first, second)
    full = flow_maps(first, second, InputSettings(channels=("strain", "v", "magnitude", "u"), size=SIDE))
    np.testing.assert_array_equal(full, np.stack([optical_strain(u, v), v, np.hypot(u, v), u]))
    small = flow_maps(first, second, InputSettings(channels=("v",), size=12))
    np.testing.assert_allclose(small[0], v.reshape(12, 4, 12, 4).mean(axis=(1, 3)), atol=1e-5)  # still in pixels
    assert flow_maps(first, second, InputSettings(size=60)).shape == (3, 60, 60)


def test_a_missing_apex_is_estimated_and_reported() -> None:
    assert find_apex(STILL_AND_BACK) == 2
    assert find_apex(np.repeat(STILL_AND_BACK[:1], 4, axis=0)) == 0
    found = apex_flow(STILL_AND_BACK, None, EVERY)
    assert (found.apex, found.found) == (2, True)
    annotated = apex_flow(STILL_AND_BACK, 2, EVERY)
    assert (annotated.apex, annotated.found) == (2, False)
    assert np.array_equal(annotated.maps, found.maps)
    assert apex_flow(STILL_AND_BACK, 1, EVERY).apex == 1
    for outside in (-1, 5):
        with pytest.raises(ValueError, match=str(outside)):
            apex_flow(STILL_AND_BACK, outside, EVERY)


def test_phases_have_the_requested_order() -> None:
    both = apex_flow(STILL_AND_BACK, 2, InputSettings(channels=("u",), size=12, phases=("apex_offset", "onset_apex")))
    assert both.maps.shape == (2, 1, 12, 12)
    assert both.maps[0].mean() < -1 < 1 < both.maps[1].mean()
    at_the_end = apex_flow(STILL_AND_BACK, 4, InputSettings(method="farneback", phases=("apex_offset",)))
    assert not at_the_end.maps.any()


def test_a_sequence_starts_still_and_follows_the_motion() -> None:
    maps = flow_sequence(STILL_AND_BACK, EVERY)
    assert maps.shape == (5, 4, 12, 12)
    assert maps.dtype == np.float32
    assert not maps[0].any()
    np.testing.assert_allclose(maps[:, 0, 2:-2, 2:-2].mean(axis=(1, 2)), [0, 0.5, 1.5, 1, 0], atol=0.1)
    assert np.array_equal(flow_sequence(STILL_AND_BACK[[0, 2, 4]], EVERY), maps[[0, 2, 4]])


@pytest.mark.parametrize("scale", SCALES)
def test_scaling_and_mirroring_commute(scale: str) -> None:
    maps = np.random.default_rng(1).normal(size=(3, 4, 5, 5)).astype(np.float32)
    maps[:, 1] = maps[..., 2, 2] = 0  # no vertical motion, and none in the middle
    settings = InputSettings(channels=("magnitude", "v", "u", "strain"), scale=scale)
    fitted = FlowScale.fit(settings, [maps, 2 * maps])
    mirrored = maps[..., ::-1].copy()
    mirrored[:, 2] *= -1
    np.testing.assert_allclose(fitted.mirror(fitted.apply(maps)), fitted.apply(mirrored), atol=1e-6)
    assert fitted.apply(maps).dtype == np.float32
    if scale in ("clip_minmax", "train_std"):  # no motion is mapped to the clip's value of zero
        still = fitted.apply(maps * 0, like=maps)
        np.testing.assert_allclose(still, np.broadcast_to(fitted.apply(maps)[..., 2:3, 2:3], still.shape), atol=1e-6)


def test_clip_minmax_scales_each_clip_and_channel() -> None:
    maps = np.random.default_rng(2).normal(size=(3, 2, 5, 5)).astype(np.float32)
    maps[:, 1] = 0.7
    scale = FlowScale.fit(InputSettings(channels=("u", "strain")))
    scaled = scale.apply(maps)
    assert (scaled[:, 0].min(), scaled[:, 0].max()) == (0, 1)
    np.testing.assert_allclose(scaled[:, 0], (maps[:, 0] - maps[:, 0].min()) / np.ptp(maps[:, 0]), atol=1e-6)
    assert not scaled[:, 1].any()
    assert (FlowScale.fit(InputSettings(channels=("v",))).apply(maps[:, 1:]) == 0.5).all()
    assert np.array_equal(scale.apply(maps[0]), scale.apply(maps[:1])[0])


def test_train_std_uses_only_training_clips() -> None:
    rng = np.random.default_rng(3)
    training = [rng.normal(size=(t, 2, 4, 4)) * np.array([2.0, 0.0])[:, None, None] for t in (1, 3)]
    scale = FlowScale.fit(InputSettings(channels=("u", "v"), scale="train_std"), training)
    values = np.concatenate([maps[:, 0].ravel() for maps in training])
    assert scale.divisors == (pytest.approx(np.sqrt(np.mean(values**2))), 1.0)
    other = rng.normal(size=(1, 2, 4, 4))
    np.testing.assert_allclose(scale.apply(other)[:, 0], other[:, 0] / scale.divisors[0], rtol=1e-6)
    assert not scale.apply(np.zeros((1, 2, 4, 4))).any()
    with pytest.raises(ValueError, match="train_std"):
        FlowScale.fit(InputSettings(scale="train_std"))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"method": "tv-l1"}, "tv-l1"), ({"channels": ("u", "w")}, "channels"), ({"channels": ("u", "u")}, "channels"),
        ({"channels": ()}, "channels"), ({"scale": "minmax"}, "minmax"), ({"phases": ("apex",)}, "apex"),
        ({"size": 0}, "0"),
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(wrong: dict, word: str) -> None:
    with pytest.raises(UserError, match=word):
        InputSettings(**wrong)


Module = Callable[..., FoldDataModule]
APEX_FLOW = InputSettings("apex_flow", phases=["onset_apex", "apex_offset"])


def copied(store: Path, place: Path) -> ClipStore:
    return open_store(Path(shutil.copytree(store, place / store.name)))


@pytest.fixture(scope="module")
def own_store(store_folder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """A copy of the store with its own folder of maps, shared by the tests of this file."""
    return copied(store_folder_path, tmp_path_factory.mktemp("stores"))


def made(store: ClipStore, clips: pd.DataFrame, settings: InputSettings = APEX_FLOW, **options: int) -> np.ndarray:
    return input_maps(store, store.rows(clips), apex_numbers(clips), Sampling(), settings, **options)


def test_maps_are_cached(store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path) -> None:
    own_store = copied(store_folder_path, tmp_path)
    clips = casme2_clips.iloc[:4]
    maps = made(own_store, clips)
    assert maps.shape == (4, 2, 3, 28, 28)
    row = own_store.rows(clips)[2]
    frames = own_store.read(row, np.arange(own_store.length(row)))
    apex = apex_position(own_store.frame_numbers(row), apex_numbers(clips)[2])
    np.testing.assert_array_equal(maps[2], apex_flow(frames, apex, APEX_FLOW).maps)
    kept = own_store.folder.parent / FOLDER
    files = {path: path.stat().st_mtime_ns for path in kept.rglob("*.npy")}
    assert len(files) == 4
    np.testing.assert_array_equal(made(own_store, casme2_clips.iloc[[2, 1]]), maps[[2, 1]])
    assert {path: path.stat().st_mtime_ns for path in files} == files
    next(iter(files)).write_bytes(b"damaged")
    np.testing.assert_array_equal(made(own_store, clips), maps)
    # A different apex means a different file; a missing one is replaced by the farthest frame.
    others = clips.assign(apex=clips["onset"] + 1)
    others.loc[others.index[2], "apex"] = pd.NA
    found = made(own_store, others)
    assert len(list(kept.rglob("*.npy"))) == 8
    farthest = int(np.abs(frames - frames[:1].astype(float)).mean(axis=(1, 2)).argmax())
    np.testing.assert_array_equal(found[2], apex_flow(frames, farthest, APEX_FLOW).maps)


def test_scales_are_fitted_on_training_clips(module: Module, own_store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    settings = InputSettings("apex_flow", scale="train_std", gain=2.0)
    data = module(folder=own_store.folder, taken=settings)
    values = data.train_set.all_clips()["frames"]
    assert values.shape[1:] == (3, 28, 28)
    torch.testing.assert_close(values.square().mean(dim=(0, 2, 3)).sqrt(), torch.full((3,), 2.0), rtol=1e-4, atol=0)
    unscaled, tested = made(own_store, casme2_clips, settings), casme2_clips["subject"] == "02"
    rms = np.sqrt(np.square(unscaled[~tested]).mean(axis=(0, 1, 3, 4)))
    expected = 2 * unscaled[tested][:, 0] / rms[:, None, None]
    np.testing.assert_allclose(data.test_set.all_clips()["frames"].numpy(), expected, rtol=1e-4)


def test_mirroring_negates_u_and_is_applied_only_in_training(module: Module, own_store: ClipStore) -> None:
    data = module(folder=own_store.folder, taken=InputSettings("apex_flow", scale="none", flip=0.5))
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
    tested = data.test_set.__getitems__(range(len(data.test_set)))["frames"]
    torch.testing.assert_close(tested, data.test_set.all_clips()["frames"], rtol=0, atol=0)


def test_random_sampling_and_stored_faces_are_refused_as_maps(own_store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    settings, clips = InputSettings("flow", size=32), casme2_clips.iloc[:2]
    maps = made(own_store, clips, settings)
    assert maps.shape == (2, 8, 3, 32, 32)
    assert not maps[:, 0].any() and maps[:, 4].any()
    with pytest.raises(UserError, match="random_phase"):
        input_maps(own_store, own_store.rows(clips), np.full(2, np.nan), Sampling(8, "random_phase"), settings)
    with pytest.raises(UserError, match="64×64"):
        made(own_store, clips, InputSettings("maps", scale="none"))

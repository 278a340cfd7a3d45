"""Optical flow against known motion, strain against analytic fields, scales and flips against their definitions."""

import sys

import cv2
import numpy as np
import pytest

from fdp_lightning.data.inputs.flow import (
    CHANNELS,
    METHODS,
    SCALES,
    FlowScale,
    FlowSettings,
    apex_flow,
    find_apex,
    flow,
    flow_maps,
    flow_sequence,
    implementation,
    optical_strain,
)
from fdp_lightning.errors import UserError

SIDE = 48
EVERY = FlowSettings(channels=CHANNELS, size=12)


def texture(right: float, down: float) -> np.ndarray:
    """A blurred random texture, displaced by so many pixels."""
    wide = cv2.GaussianBlur(np.random.default_rng(0).random((SIDE + 16, SIDE + 16)).astype(np.float32), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    moved = cv2.warpAffine(wide, np.float32([[1, 0, right], [0, 1, down]]), wide.shape, flags=cv2.INTER_CUBIC)
    return np.ascontiguousarray(moved[8:-8, 8:-8].round().clip(0, 255).astype(np.uint8))


def clip(*displacements: tuple[float, float]) -> np.ndarray:
    return np.stack([texture(*by) for by in displacements])


STILL_AND_BACK = clip((0, 0), (0.5, 0), (1.5, -0.5), (1, 0), (0, 0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by", [(1.0, 0.5), (-1.5, 0.0), (0.0, -1.0)])
def test_the_flow_of_a_translation_is_the_translation(method: str, by: tuple[float, float]) -> None:
    found = flow(texture(0, 0), texture(*by), method)
    assert found.shape == (2, SIDE, SIDE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 6:-6, 6:-6].mean(axis=(1, 2)), by, atol=0.1)
    assert np.array_equal(found, flow(texture(0, 0), texture(*by), method))


@pytest.mark.parametrize("method", METHODS)
def test_the_flow_of_mirrored_frames_is_the_mirrored_flow(method: str) -> None:
    first, second = texture(0, 0), texture(1.2, 0.6)
    settings = FlowSettings(method, ("v", "u"), SIDE, "none")
    scale = FlowScale.fit(settings)
    mirrored = scale.mirror(scale.apply(flow_maps(first, second, settings)))
    of_mirrored = flow_maps(first[:, ::-1], second[:, ::-1], settings)
    assert np.abs(mirrored - of_mirrored)[:, 6:-6, 6:-6].mean() < 0.1
    assert of_mirrored[1].mean() < -0.9


def test_colour_is_read_as_grey_and_what_has_no_flow_is_refused() -> None:
    first, second = texture(0, 0), texture(1, 0)
    coloured = [np.repeat(frame[..., None], 3, axis=2) for frame in (first, second)]
    assert np.array_equal(flow(*coloured), flow(first, second))
    for frames, word in [
        ((first, second[1:]), "shapes"),
        ((first / 255, second / 255), "uint8"),
        ((first[:8], second[:8]), "16 pixels"),
        ((first[None], second[None]), "uint8"),
    ]:
        with pytest.raises(ValueError, match=word):
            flow(*frames)


def test_tvl1_without_a_package_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(name in implementation("tvl1") for name in ("opencv", "scikit-image"))
    monkeypatch.delattr(cv2, "optflow", raising=False)
    monkeypatch.setitem(sys.modules, "skimage", None)
    for call in (lambda: flow(texture(0, 0), texture(1, 0), "tvl1"), lambda: implementation("tvl1")):
        with pytest.raises(UserError, match="opencv-contrib-python-headless"):
            call()


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


def test_strain_is_by_central_differences() -> None:
    y, x = np.mgrid[:6, :8].astype(np.float64)
    inside = optical_strain(x**2, x * y)[1:-1, 1:-1]  # central differences are exact on these
    u_x, v_x, v_y = 2 * x, y, x
    np.testing.assert_allclose(inside, np.sqrt(u_x**2 + v_y**2 + v_x**2 / 2)[1:-1, 1:-1])


def test_maps_are_named_channels_in_the_order_asked_for() -> None:
    first, second = texture(0, 0), texture(1, 0.5)
    u, v = flow(first, second)
    full = flow_maps(first, second, FlowSettings(channels=("strain", "v", "magnitude", "u"), size=SIDE))
    np.testing.assert_array_equal(full, np.stack([optical_strain(u, v), v, np.hypot(u, v), u]))
    small = flow_maps(first, second, FlowSettings(channels=("v",), size=12))
    np.testing.assert_allclose(small[0], v.reshape(12, 4, 12, 4).mean(axis=(1, 3)), atol=1e-5)  # still in pixels
    assert flow_maps(first, second, FlowSettings(size=60)).shape == (3, 60, 60)


def test_an_apex_that_is_not_annotated_is_found_and_said_so() -> None:
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


def test_phases_stand_in_the_order_asked_for() -> None:
    both = apex_flow(STILL_AND_BACK, 2, FlowSettings(channels=("u",), size=12, phases=("apex_offset", "onset_apex")))
    assert both.maps.shape == (2, 1, 12, 12)
    assert both.maps[0].mean() < -1 < 1 < both.maps[1].mean()
    at_the_end = apex_flow(STILL_AND_BACK, 4, FlowSettings(method="farneback", phases=("apex_offset",)))
    assert not at_the_end.maps.any()


def test_a_sequence_starts_still_and_follows_the_motion() -> None:
    maps = flow_sequence(STILL_AND_BACK, EVERY)
    assert maps.shape == (5, 4, 12, 12)
    assert maps.dtype == np.float32
    assert not maps[0].any()
    np.testing.assert_allclose(maps[:, 0, 2:-2, 2:-2].mean(axis=(1, 2)), [0, 0.5, 1.5, 1, 0], atol=0.1)
    assert np.array_equal(flow_sequence(STILL_AND_BACK[[0, 2, 4]], EVERY), maps[[0, 2, 4]])


@pytest.mark.parametrize("scale", SCALES)
def test_a_scaled_clip_mirrors_into_the_scaled_mirrored_clip(scale: str) -> None:
    maps = np.random.default_rng(1).normal(size=(3, 4, 5, 5)).astype(np.float32)
    maps[:, 1] = maps[..., 2, 2] = 0  # nothing moved up or down, nor in the middle
    settings = FlowSettings(channels=("magnitude", "v", "u", "strain"), scale=scale)
    fitted = FlowScale.fit(settings, [maps, 2 * maps])
    mirrored = maps[..., ::-1].copy()
    mirrored[:, 2] *= -1
    np.testing.assert_allclose(fitted.mirror(fitted.apply(maps)), fitted.apply(mirrored), atol=1e-6)
    assert fitted.apply(maps).dtype == np.float32
    if scale in ("clip_minmax", "train_std"):  # no motion stands where the scale of a clip puts zero
        still = fitted.apply(maps * 0, like=maps)
        np.testing.assert_allclose(still, np.broadcast_to(fitted.apply(maps)[..., 2:3, 2:3], still.shape), atol=1e-6)


def test_clip_minmax_is_by_clip_and_channel() -> None:
    maps = np.random.default_rng(2).normal(size=(3, 2, 5, 5)).astype(np.float32)
    maps[:, 1] = 0.7
    scale = FlowScale.fit(FlowSettings(channels=("u", "strain")))
    scaled = scale.apply(maps)
    assert (scaled[:, 0].min(), scaled[:, 0].max()) == (0, 1)
    np.testing.assert_allclose(scaled[:, 0], (maps[:, 0] - maps[:, 0].min()) / np.ptp(maps[:, 0]), atol=1e-6)
    assert not scaled[:, 1].any()
    assert (FlowScale.fit(FlowSettings(channels=("v",))).apply(maps[:, 1:]) == 0.5).all()
    assert np.array_equal(scale.apply(maps[0]), scale.apply(maps[:1])[0])


def test_train_std_is_of_the_training_clips_alone() -> None:
    rng = np.random.default_rng(3)
    training = [rng.normal(size=(t, 2, 4, 4)) * np.array([2.0, 0.0])[:, None, None] for t in (1, 3)]
    scale = FlowScale.fit(FlowSettings(channels=("u", "v"), scale="train_std"), training)
    values = np.concatenate([maps[:, 0].ravel() for maps in training])
    assert scale.divisors == (pytest.approx(np.sqrt(np.mean(values**2))), 1.0)
    other = rng.normal(size=(1, 2, 4, 4))
    np.testing.assert_allclose(scale.apply(other)[:, 0], other[:, 0] / scale.divisors[0], rtol=1e-6)
    assert not scale.apply(np.zeros((1, 2, 4, 4))).any()
    with pytest.raises(ValueError, match="train_std"):
        FlowScale.fit(FlowSettings(scale="train_std"))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"method": "tv-l1"}, "tv-l1"), ({"channels": ("u", "w")}, "u, w"), ({"channels": ("u", "u")}, "u, u"),
        ({"channels": ()}, "nothing"), ({"scale": "minmax"}, "minmax"), ({"phases": ("apex",)}, "apex"),
        ({"size": 0}, "0"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        FlowSettings(**wrong)

"""Bi-WOOF and LBP-TOP on fields and clips with known features, and compared with scikit-image."""

import numpy as np
import pytest

from fdp_lightning.models.classical.bi_woof import BiWOOFClassifier, bi_woof
from fdp_lightning.models.classical.lbp_top import BINS, LBPTOPClassifier, patterns


@pytest.mark.parametrize(("degrees", "place"), [(-170, 0), (-10, 3), (100, 6), (180, 0)])
def test_bi_woof_of_a_uniform_flow_has_one_direction_in_each_block(degrees: float, place: int) -> None:
    angle, ones = np.radians(degrees), np.ones((20, 20))
    found = bi_woof(2 * np.cos(angle) * ones, 2 * np.sin(angle) * ones, ones, 5, 8).reshape(25, 8)
    expected = np.zeros((25, 8))
    expected[:, place] = 0.2  # 25 equal values, a vector of length 1
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_bi_woof_weighs_pixels_by_magnitude_and_blocks_by_strain() -> None:
    u, v = np.zeros((2, 20, 20))
    u[:2, :4], v[2:4, :4] = 3.0, 1.0  # in the first block, half to the right and half downwards
    u[:4, 4:8] = 7.0
    strain = np.zeros((20, 20))
    strain[:4, :4], strain[:4, 4:8] = 2.0, 1.0
    found = bi_woof(u, v, strain, 5, 8).reshape(25, 8)
    first, second = np.zeros(8), np.zeros(8)
    first[4], first[6] = 32 * 0.75, 32 * 0.25
    second[4] = 16
    expected = np.concatenate([first, second])
    np.testing.assert_allclose(found[:2].ravel(), expected / np.linalg.norm(expected))
    assert not found[2:].any()
    assert not BiWOOFClassifier().features(np.zeros((2, 3, 28, 28), np.float32)).any()  # no motion
    with pytest.raises(ValueError, match="clip_minmax"):
        BiWOOFClassifier(scale="clip_minmax")


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_patterns_agree_with_scikit_image(radius: int) -> None:
    feature = pytest.importorskip("skimage.feature")
    image = np.random.default_rng(radius).integers(0, 256, (60, 64)).astype(np.uint8)
    ours = patterns(image[None].astype(float), (1, 2), (0, radius, radius))[0]
    theirs = feature.local_binary_pattern(image, 8, radius, "nri_uniform").astype(int)[radius:-radius, radius:-radius]
    pairs = {(int(a), int(b)) for a, b in zip(ours.ravel(), theirs.ravel(), strict=True)}
    # The same classes of patterns, numbered differently.
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) > 30


def test_lbp_top_distinguishes_time_from_position() -> None:
    frames = np.linspace(0, 1, 12)[:, None, None, None] * np.ones((12, 1, 32, 32))
    (features,) = LBPTOPClassifier(blocks=1).features(frames[None].astype(np.float32))
    xy, xt, yt = features.reshape(3, BINS)
    assert xy[-2] == 1  # each frame is flat
    np.testing.assert_array_equal(xt, yt)
    assert xt[-2] == 0 and xt.max() == 1  # and brighter than the previous one


def test_colours_are_averaged_and_blocks_cover_the_face() -> None:
    clip = np.random.default_rng(0).random((1, 9, 3, 30, 30))
    made = LBPTOPClassifier(blocks=3, overlap=0.5)
    grey = np.broadcast_to(clip.mean(axis=2, keepdims=True), clip.shape)
    np.testing.assert_allclose(made.features(clip), made.features(grey))
    blocks = made._blocks(30)
    assert [(part.start, part.stop) for part in blocks] == [(0, 15), (8, 22), (15, 30)]

"""The regions of an aligned face."""

import numpy as np
import pytest

from fdp_lightning.data.faces.alignment import TEMPLATE
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.faces.regions import ELSEWHERE, face_regions

NAMES = {"brows", "eyes", "nose", "mouth", "cheeks", "chin"}


@pytest.mark.parametrize("size", [64, 128, 224])
@pytest.mark.parametrize("margin", [0.0, 0.2, -0.1])
def test_every_pixel_is_in_one_region(size: int, margin: float) -> None:
    regions = face_regions(FaceSettings(size=size, margin=margin))
    assert regions is not None
    assert set(regions) == {*NAMES, ELSEWHERE}
    assert (np.stack(list(regions.values())).sum(axis=0) == 1).all()
    assert all(mask.any() for mask in regions.values())


def test_a_region_has_the_same_share_of_a_face_at_every_size() -> None:
    small, large = face_regions(FaceSettings(size=64)), face_regions(FaceSettings(size=256))
    assert small is not None and large is not None
    for name in small:
        assert small[name].mean() == pytest.approx(large[name].mean(), abs=0.01)


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_landmarks_lie_in_their_regions(margin: float) -> None:
    """Also those of a template of one's own, to which the outlines follow."""
    for template in (TEMPLATE, 0.5 + 0.8 * (TEMPLATE - 0.5)):
        regions = face_regions(FaceSettings(size=100, margin=margin), template)
        assert regions is not None
        places = (template + margin) / (1 + 2 * margin) * 100
        for name, (x, y) in zip(["eyes", "eyes", "nose", "mouth", "mouth"], places, strict=True):
            assert regions[name][int(y), int(x)], name


def test_a_face_and_its_mirror_image_have_the_same_regions() -> None:
    regions = face_regions(FaceSettings(size=128))
    assert regions is not None
    for name, mask in regions.items():
        assert (mask != mask[:, ::-1]).mean() < 0.01, name


@pytest.mark.parametrize("method", ["box", "none", "official_crops"])
def test_faces_that_are_not_aligned_by_landmarks_have_none(method: str) -> None:
    assert face_regions(FaceSettings(method=method)) is None

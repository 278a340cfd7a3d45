"""Faces: real MTCNN on a real photograph, upright and turned; all alignment methods; and the regions of a face."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from skimage import data

from fdp_lightning.data.faces.alignment import (
    TEMPLATE,
    align,
    alignment,
    find_face,
    find_faces,
    square,
    stretch,
)
from fdp_lightning.data.faces.frames import FrameFile, read_image
from fdp_lightning.data.faces.prepare_clip import COLOURS, METHODS, FaceSettings, PreparedClip, prepare_clip
from fdp_lightning.data.faces.regions import ELSEWHERE, face_regions

pytestmark = pytest.mark.costly


SIZE = 64
PORTRAIT = np.ascontiguousarray(data.astronaut()[:256, 80:380])
NOISE = np.random.default_rng(0).integers(0, 256, (180, 240, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """The astronaut's head and shoulders, RGB."""
    return np.ascontiguousarray(data.astronaut()[:256, 96:352])


def moved(image: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the image under a similarity transform, on grey, and the matrix; the canvas grows with the scale."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += (max(scale, 1) - 1) * np.array([width, height]) / 2 + shift
    side = (round(width * max(scale, 1)), round(height * max(scale, 1)))
    # No mirrored border: it would contain more faces, and larger ones if the image is small.
    return cv2.warpAffine(image, matrix, side, flags=cv2.INTER_AREA, borderValue=(128, 128, 128)), matrix


def through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def way(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the shift between two aligned frames by phase correlation."""
    window = cv2.createHanningWindow((SIZE, SIZE), cv2.CV_64F)
    return cv2.phaseCorrelate(one.astype(np.float64), other.astype(np.float64), window)[0]


def prepared_by(folder: Path, pictures: Sequence[np.ndarray], **settings: object) -> PreparedClip:
    """Return a clip of these images, prepared with `FaceSettings(**settings)`."""
    files = []
    for number, picture in enumerate(pictures, start=1):
        files.append(FrameFile(number, folder / f"img{number}.png"))
        cv2.imwrite(str(files[-1].path), picture[..., ::-1])
    return prepare_clip("a/b@1", files, FaceSettings(**settings))


def test_faces_found_together_are_those_found_one_by_one(picture: np.ndarray) -> None:
    scene = np.full((300, 500, 3), 90, np.uint8)
    scene[:256, 230:486] = picture
    scene[140:268, 20:148] = cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA)
    images = [moved(picture, degrees, 1, shift)[0] for degrees, shift in ((0, (0, 0)), (9, (12, -7)), (-15, (3, 9)))]
    images[1:1] = [scene, np.zeros((1, 1, 3), np.uint8), np.full_like(picture, 128), scene[:, ::-1].copy()]
    expected, found = [find_face(image) for image in images], find_faces(images)
    for image, one, other in zip(images, expected, found, strict=True):
        if one is None or other is None:
            assert one is other
            continue
        # The order of summation depends on the CPU, and a last bit can move a landmark by a hundredth of a pixel (see
        # `find_faces`). The aligned image must move too little to change a grey value.
        np.testing.assert_allclose(other.box, one.box, atol=0.05)
        assert (other.count, other.confidence) == (one.count, pytest.approx(one.confidence, abs=1e-3))
        alone, together = (alignment(face.landmarks, SIZE) for face in (one, other))
        corners = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]])
        there = through(cv2.invertAffineTransform(alone), corners)
        assert np.abs(through(together, there) - corners).max() < 0.05
        pictures = [align(image, matrix, SIZE).astype(float) for matrix in (alone, together)]
        assert np.abs(pictures[1] - pictures[0]).mean() < 0.5
    assert [face and face.count for face in found] == [1, 2, None, None, 2, 1, 1]
    assert found[1].box[0] > 230  # the larger one
    assert find_faces([]) == []


def test_a_face_does_not_depend_on_the_number_of_threads(casme2_clips: pd.DataFrame) -> None:
    row = casme2_clips.iloc[1]
    picture = read_image(Path(row["folder"]) / f"img{row['onset']}.jpg")
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(find_face(picture))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert np.array_equal(other.landmarks, found[0].landmarks)
        assert other.box == found[0].box


@pytest.mark.parametrize("shape", [*((SIZE * n, SIZE * n) for n in (1, 3, 7, 16)), (128, 128), (100, 400), (70, 30)])
def test_align_maps_points_by_its_matrix_at_any_scale(shape: tuple[int, int]) -> None:
    height, width = shape
    y, x = np.mgrid[:height, :width]
    spot = np.array([0.4 * width, 0.6 * height])
    blob = 200 * np.exp(-(((x - spot[0]) / width) ** 2 + ((y - spot[1]) / height) ** 2) / (2 * 0.06**2))
    stretched = stretch((0, 0, width, height), SIZE)
    for matrix in (stretched, stretched + np.array([[0, 0, 0.25], [0, 0, -0.5]])):
        aligned = align(blob[..., None].repeat(3, axis=2).astype(np.uint8), matrix, SIZE).astype(float)
        found = [(aligned * grid).sum() / aligned.sum() for grid in np.mgrid[:SIZE, :SIZE][::-1]]
        assert found == pytest.approx(through(matrix, spot[None])[0], abs=0.1)
    assert through(stretched, spot[None])[0] == pytest.approx((spot + 0.5) / [width, height] * SIZE - 0.5, abs=0.1)


def test_motion_of_the_face_is_kept_by_alignment(picture: np.ndarray, tmp_path: Path) -> None:
    pictures = [moved(picture, 0, 1, (shift, 0))[0] for shift in (0, 4, 8)]
    prepared = prepared_by(tmp_path, pictures)
    for frame, shift in zip(prepared.frames[1:], (4, 8), strict=True):
        assert way(prepared.frames[0], frame) == pytest.approx((shift * prepared.matrix[0], 0), abs=0.5)


def test_with_per_frame_a_frame_without_a_face_follows_the_nearest(picture: np.ndarray, tmp_path: Path) -> None:
    dark, later = np.zeros_like(picture), moved(picture, 0, 1, (8, 0))[0]
    dark[100:110, 100:110] = 255
    prepared = prepared_by(tmp_path, [dark, picture, dark, dark, later, dark], per_frame=True)
    assert (prepared.detections, prepared.detected_on, len(prepared.frames)) == (6, 2, 6)
    (problem,) = prepared.problems
    assert (problem.kind, problem.fatal) == ("face_on_other_frame", False)
    assert "no face on 4 of 6 frames" in problem.detail
    frames = prepared.frames
    assert np.array_equal(frames[0], frames[2]) and np.array_equal(frames[3], frames[5])
    assert not np.array_equal(frames[2], frames[3])  # aligned by the second and by the fifth frame
    assert way(frames[1], frames[4]) == pytest.approx((0, 0), abs=0.5)  # aligned, a moving face stays in place


@pytest.mark.parametrize(("size", "margin"), [(64, 0.0), (128, 0.2), (224, -0.1)])
def test_every_pixel_is_in_exactly_one_region(size: int, margin: float) -> None:
    regions = face_regions(FaceSettings(size=size, margin=margin))
    assert regions is not None
    assert set(regions) == {"brows", "eyes", "nose", "mouth", "cheeks", "chin", ELSEWHERE}
    assert (np.stack(list(regions.values())).sum(axis=0) == 1).all()
    assert all(mask.any() for mask in regions.values())
    assert all((mask != mask[:, ::-1]).mean() < 0.01 for mask in regions.values())  # symmetric under mirroring
    for method in ("box", "none", "official_crops"):  # not aligned by landmarks
        assert face_regions(FaceSettings(method=method)) is None


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_landmarks_lie_in_their_regions(margin: float) -> None:
    """Includes a custom template, which the outlines follow."""
    for template in (TEMPLATE, 0.5 + 0.8 * (TEMPLATE - 0.5)):
        regions = face_regions(FaceSettings(size=100, margin=margin), template)
        assert regions is not None
        places = (template + margin) / (1 + 2 * margin) * 100
        for name, (x, y) in zip(["eyes", "eyes", "nose", "mouth", "mouth"], places, strict=True):
            assert regions[name][int(y), int(x)], name


@pytest.mark.parametrize(
    ("settings", "turn", "mirrored"),
    [
        ({}, 1, False), ({}, 2, True), ({}, 3, False), ({"method": "box"}, 3, True), ({"per_frame": True}, 1, False),
        ({"batch": 2}, 2, False),
    ],
)  # fmt: skip
def test_rotated_clips_are_aligned_like_upright_ones(tmp_path: Path, settings: dict, turn: int, mirrored: bool) -> None:
    upright = PORTRAIT[:, ::-1] if mirrored else PORTRAIT
    expected = prepared_by(tmp_path, [upright] * 2, **settings)
    assert expected.problems == []
    got = prepared_by(tmp_path, [np.rot90(upright, -turn)] * 2, **settings)
    assert np.abs(got.frames.astype(float) - expected.frames).mean() < 1
    ((kind, fatal, detail),) = [(problem.kind, problem.fatal, problem.detail) for problem in got.problems]
    assert (kind, fatal) == ("turned_face", False) and f"{turn * 90}°" in detail


@pytest.mark.parametrize(("scale", "tilt"), [(0.35, -15), (0.7, 20)])
def test_a_face_on_its_side_is_found_despite_confident_false_detections(scale: float, tilt: int) -> None:
    # Some of these are false detections with confidence above .97.
    picture = data.astronaut()
    matrix = cv2.getRotationMatrix2D((225, 120), tilt, 1)
    picture = cv2.warpAffine(picture, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT)
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    expected = find_face(picture)
    assert expected.turn == 0
    last = picture.shape[1] - 1
    for turn in (1, 2, 3):
        lying = np.ascontiguousarray(np.rot90(picture, -turn))
        assert find_faces([lying], turns=(0,)) == [None]  # despite MTCNN's confident detections
        found = find_face(lying)
        assert found.turn == turn
        points = found.landmarks
        for _ in range(turn):
            points = np.stack([points[:, 1], last - points[:, 0]], axis=1)
        assert np.abs(points - expected.landmarks).max() < 0.01 * np.ptp(expected.landmarks)
        left, top, right, bottom = found.box
        assert all(left < x < right and top < y < bottom for x, y in found.landmarks)


EYES_AND_MOUTH = [0, 1, 3, 4]
WHOLE = ("none", "official_crops")


def test_eyes_and_mouth_of_a_transformed_image_are_aligned_within_half_a_pixel() -> None:
    """Both the landmarks detected in the moved image and the original ones, transformed, are compared."""
    picture = data.astronaut()
    face = find_face(picture)
    expected = through(alignment(face.landmarks, SIZE), face.landmarks)
    assert np.abs(expected - TEMPLATE * SIZE).max() < 4
    for degrees, scale, shift in product((-15, 8), (0.6, 1.6), ((0, 0), (12.3, -7.6))):
        other, truth = moved(picture, degrees, scale, shift)
        landmarks = find_face(other).landmarks
        for points in (landmarks, through(truth, face.landmarks)):
            distance = np.hypot(*(through(alignment(landmarks, SIZE), points) - expected)[EYES_AND_MOUTH].T)
            assert distance.max() < 0.5, (degrees, scale, shift)


@pytest.mark.parametrize("method", METHODS)
def test_a_still_clip_stays_still_in_grey_and_in_colour(picture: np.ndarray, tmp_path: Path, method: str) -> None:
    by = {colour: prepared_by(tmp_path, [picture] * 3, method=method, colour=colour) for colour in COLOURS}
    for colour, prepared in by.items():
        settings = FaceSettings(method=method, colour=colour)
        assert settings.frame_shape == ((SIZE, SIZE) if colour == "grey" else (SIZE, SIZE, 3))
        assert prepared.frames.shape == (3, *settings.frame_shape) and prepared.frames.dtype == np.uint8
        assert (prepared.frames == prepared.frames[0]).all()
        assert (prepared.detections, prepared.detected_on, prepared.problems) == (int(method not in WHOLE), 1, [])
        assert len(prepared.matrix) == 6 and len(prepared.box) == 4
    grey, coloured = by["grey"].frames[0], by["rgb"].frames[0]
    assert np.abs(coloured @ np.array([0.299, 0.587, 0.114]) - grey).max() <= 2  # both are rounded
    red, _, blue = coloured.reshape(-1, 3).mean(axis=0)
    assert red > blue + 10 and grey.std() > 20  # skin and an orange suit, so red comes first


def test_a_box_is_extended_to_a_square_about_its_centre() -> None:
    box = (30.0, 50.0, 90.0, 130.0)  # 60 × 80 about (60, 90)
    matrix = square(box, SIZE)
    edges = through(matrix, np.array([[60 - 40, 90 - 40], [60, 90], [60 + 40, 90 + 40]]) - 0.5)
    assert edges == pytest.approx(np.array([[0, 0], [32, 32], [64, 64]]) - 0.5)
    assert (matrix[0, 0], matrix[1, 1], matrix[0, 1], matrix[1, 0]) == (0.8, 0.8, 0, 0)
    for margin in (0.25, -0.2):
        assert square(box, SIZE, margin)[0, 0] == pytest.approx(0.8 / (1 + 2 * margin))
        assert through(square(box, SIZE, margin), np.array([[59.5, 89.5]])) == pytest.approx(31.5)


@pytest.mark.parametrize("method", WHOLE)
def test_a_whole_image_is_averaged_down_and_needs_no_face(tmp_path: Path, method: str) -> None:
    picture = NOISE[:, :96].repeat(2, axis=0).repeat(4, axis=1)[:192]  # 192 high, 384 wide: 3 and 6 pixels to one
    prepared = prepared_by(tmp_path, [picture], method=method, colour="rgb")
    expected = picture.reshape(SIZE, 3, SIZE, 6, 3).mean(axis=(1, 3))
    assert np.abs(prepared.frames[0] - expected).max() <= 1
    assert (prepared.detections, prepared.detected_on) == (0, 1)
    assert prepared.box == (0, 0, 384, 192)

"""The ways to cut a face out, in grey and colour; and that MTCNN's alignment finds eyes and mouth again."""

from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from fdp_lightning.data.faces.alignment import TEMPLATE, align, alignment, find_face, square, stretch
from fdp_lightning.data.faces.frames import FrameFile
from fdp_lightning.data.faces.prepare_clip import COLOURS, METHODS, FaceSettings, prepare_clip

pytestmark = pytest.mark.costly

SIZE = 64
EYES_AND_MOUTH = [0, 1, 3, 4]
WHOLE = ("none", "official_crops")
NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """The astronaut's head and shoulders, RGB."""
    return np.ascontiguousarray(data.astronaut()[:256, 96:352])


def through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def files_of(folder: Path, pictures: list[np.ndarray]) -> list[FrameFile]:
    files = []
    for number, picture in enumerate(pictures, start=1):
        path = folder / f"img{number}.png"
        cv2.imwrite(str(path), picture[..., ::-1])
        files.append(FrameFile(number, path))
    return files


def moved(
    picture: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """The picture under a similarity transform, on grey, and its matrix; the canvas grows with the scale."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += (max(scale, 1) - 1) * np.array([width, height]) / 2 + shift
    side = (round(width * max(scale, 1)), round(height * max(scale, 1)))
    # No mirrored border: it holds more faces, and of a small picture larger ones.
    return cv2.warpAffine(picture, matrix, side, flags=cv2.INTER_AREA, borderValue=(128, 128, 128)), matrix


MOVES = list(product((-15, 0, 8), (0.6, 1.6), ((0, 0), (12.3, -7.6))))


def worst_place(upright: bool) -> float:
    """How far eyes and mouth of the astronaut come to lie from their place after a known move, in aligned pixels.

    Both as they are read in the moved picture and as those of the picture before it move along.
    """
    picture = data.astronaut()
    face = find_face(picture, upright=upright)
    expected = through(alignment(face.landmarks, SIZE), face.landmarks)
    worst = 0.0
    for degrees, scale, shift in MOVES:
        other, truth = moved(picture, degrees, scale, shift)
        landmarks = find_face(other, upright=upright).landmarks
        for points in (landmarks, through(truth, face.landmarks)):
            distance = np.hypot(*(through(alignment(landmarks, SIZE), points) - expected)[EYES_AND_MOUTH].T)
            worst = max(worst, distance.max())
    return worst


def test_eyes_and_mouth_of_a_moved_picture_are_recovered_within_half_a_pixel() -> None:
    assert worst_place(upright=True) < 0.5 < worst_place(upright=False) < 2
    face = find_face(data.astronaut())
    assert np.abs(through(alignment(face.landmarks, SIZE), face.landmarks) - TEMPLATE * SIZE).max() < 4


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("method", METHODS)
def test_a_clip_that_does_not_move_stays_exactly_so(
    picture: np.ndarray, tmp_path: Path, method: str, colour: str
) -> None:
    settings = FaceSettings(method=method, colour=colour)
    prepared = prepare_clip("clip", files_of(tmp_path, [picture] * 3), settings)
    assert prepared.frames.shape == (3, *settings.frame_shape)
    assert settings.frame_shape == ((SIZE, SIZE) if colour == "grey" else (SIZE, SIZE, 3))
    assert prepared.frames.dtype == np.uint8
    assert all(np.array_equal(frame, prepared.frames[0]) for frame in prepared.frames)
    assert prepared.frames[0].std() > 20
    looks = method not in WHOLE
    assert (prepared.detections, prepared.detected_on, prepared.problems) == (int(looks), 1, [])
    assert len(prepared.matrix) == 6 and len(prepared.box) == 4


@pytest.mark.parametrize("method", METHODS)
def test_grey_frames_are_the_luma_of_the_coloured_ones(picture: np.ndarray, tmp_path: Path, method: str) -> None:
    files = files_of(tmp_path, [picture])
    grey, coloured = (
        prepare_clip("clip", files, FaceSettings(method=method, colour=c)).frames[0] for c in ("grey", "rgb")
    )
    luma = coloured @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - grey).max() <= 2  # each is rounded on its way
    red, _, blue = coloured.reshape(-1, 3).mean(axis=0)
    assert red > blue + 10  # skin and an orange suit, so red comes first


def test_a_box_is_made_square_about_its_centre_and_is_neither_turned_nor_stretched() -> None:
    box = (30.0, 50.0, 90.0, 130.0)  # 60 × 80 about (60, 90)
    matrix = square(box, SIZE)
    edges = through(matrix, np.array([[60 - 40, 90 - 40], [60, 90], [60 + 40, 90 + 40]]) - 0.5)
    assert edges == pytest.approx(np.array([[0, 0], [32, 32], [64, 64]]) - 0.5)
    assert (matrix[0, 0], matrix[1, 1], matrix[0, 1], matrix[1, 0]) == (0.8, 0.8, 0, 0)
    for margin in (0.25, -0.2):
        assert square(box, SIZE, margin)[0, 0] == pytest.approx(0.8 / (1 + 2 * margin))
        assert through(square(box, SIZE, margin), np.array([[59.5, 89.5]])) == pytest.approx(31.5)


def test_by_the_box_a_turned_face_stays_turned_and_a_small_one_becomes_as_large(
    picture: np.ndarray, tmp_path: Path
) -> None:
    upright, turned, small = (
        prepare_clip("clip", files_of(tmp_path, [moved(picture, *how)[0]]), FaceSettings(method="box"))
        for how in ((0, 1, (0, 0)), (12, 1, (0, 0)), (0, 0.7, (0, 0)))
    )
    assert np.allclose(np.reshape(turned.matrix, (2, 3))[[0, 1], [1, 0]], 0)
    left, top, right, bottom = upright.box
    assert upright.matrix[0] == pytest.approx(SIZE / max(right - left, bottom - top))
    landmarks = [find_face(cv2.resize(prepared.frames[0], None, fx=4, fy=4)[..., None].repeat(3, axis=2)).landmarks
                 for prepared in (upright, turned, small)]  # fmt: skip
    tilts = [np.degrees(np.arctan2(*(points[1] - points[0])[::-1])) for points in landmarks]
    assert tilts[1] - tilts[0] == pytest.approx(-12, abs=4)
    assert np.abs(landmarks[2] - landmarks[0]).max() / 4 < 3


def test_frame_by_frame_the_box_follows_the_face(picture: np.ndarray, tmp_path: Path) -> None:
    files = files_of(tmp_path, [picture, moved(picture, 0, 1, (16, 0))[0]])
    still = prepare_clip("clip", files, FaceSettings(method="box", per_frame=True))
    (x, y), _ = cv2.phaseCorrelate(*still.frames.astype(np.float64), cv2.createHanningWindow((SIZE, SIZE), cv2.CV_64F))
    assert still.detections == 2
    assert np.abs([x, y]).max() < 2
    drifts = prepare_clip("clip", files, FaceSettings(method="box"))
    (x, _), _ = cv2.phaseCorrelate(*drifts.frames.astype(np.float64), cv2.createHanningWindow((SIZE, SIZE), cv2.CV_64F))
    assert x == pytest.approx(16 * drifts.matrix[0], abs=1)


@pytest.mark.parametrize("method", WHOLE)
def test_a_whole_picture_is_averaged_down_and_needs_no_face(tmp_path: Path, method: str) -> None:
    picture = NOISE[:, :96].repeat(2, axis=0).repeat(4, axis=1)[:192]  # 192 high, 384 wide: 3 and 6 pixels to one
    prepared = prepare_clip("clip", files_of(tmp_path, [picture]), FaceSettings(method=method, colour="rgb"))
    expected = picture.reshape(SIZE, 3, SIZE, 6, 3).mean(axis=(1, 3))
    assert np.abs(prepared.frames[0] - expected).max() <= 1
    assert (prepared.detections, prepared.detected_on) == (0, 1)
    assert prepared.box == (0, 0, 384, 192)


@pytest.mark.parametrize("shape", [(128, 128), (300, 200), (100, 400), (40, 50), (70, 30)])
def test_a_point_of_a_stretched_picture_lands_where_the_matrix_says(shape: tuple[int, int]) -> None:
    height, width = shape
    y, x = np.mgrid[:height, :width]
    spot = np.array([0.4 * width, 0.6 * height])
    blob = 200 * np.exp(-(((x - spot[0]) / width) ** 2 + ((y - spot[1]) / height) ** 2) / (2 * 0.06**2))
    matrix = stretch((0, 0, width, height), SIZE)
    aligned = align(blob[..., None].repeat(3, axis=2).astype(np.uint8), matrix, SIZE).astype(float)
    found = [(aligned * grid).sum() / aligned.sum() for grid in np.mgrid[:SIZE, :SIZE][::-1]]
    assert found == pytest.approx(through(matrix, spot[None])[0], abs=0.1)
    assert found == pytest.approx((spot + 0.5) / [width, height] * SIZE - 0.5, abs=0.1)

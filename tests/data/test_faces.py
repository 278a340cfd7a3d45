"""Faces: real MTCNN on a real photograph, and an alignment that neither moves nor aliases what is in the picture."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from facenet_pytorch import MTCNN
from skimage import data

from fdp_lightning.data.faces.alignment import TEMPLATE, Face, _mtcnn, align, alignment, find_face, find_faces
from fdp_lightning.data.faces.frames import FrameFile, read_image
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip
from fdp_lightning.processes import one_thread

pytestmark = pytest.mark.costly

SIZE = 64
NOISE = np.random.default_rng(0).integers(0, 256, (180, 240, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """The astronaut's head and shoulders, RGB."""
    return np.ascontiguousarray(data.astronaut()[:256, 96:352])


@pytest.fixture(scope="module")
def face(picture: np.ndarray) -> Face:
    return find_face(picture)


def warp(
    picture: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """The picture under a similarity transform, and its matrix; the canvas grows with the scale."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix[:, 2] += (scale - 1) * np.array([width, height]) / 2 + shift
    side = (round(width * max(scale, 1)), round(height * max(scale, 1)))
    moved = cv2.warpAffine(picture, matrix, side, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return moved, matrix


def through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def test_mtcnn_finds_the_astronaut_with_the_pictures_left_first(face: Face) -> None:
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert face.count == 1
    assert face.confidence > 0.99
    left, top, right, bottom = face.box
    assert all(left < x < right and top < y < bottom for x, y in face.landmarks)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert np.hypot(*(left_eye - (205.0 - 96, 101.7))) < 2  # where a person sees it


def test_the_faster_detector_finds_what_mtcnn_finds_to_the_last_bit(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = MTCNN(keep_all=True, select_largest=True, device="cpu").eval()
    small = cv2.resize(picture, None, fx=0.7, fy=0.6, interpolation=cv2.INTER_AREA)
    scene = np.full((300, 500, 3), 90, np.uint8)
    scene[:256, 230:486], scene[140 : 140 + len(small), 20 : 20 + small.shape[1]] = picture, small
    counts = []
    with one_thread():
        for image in (picture, small, scene, np.ascontiguousarray(data.astronaut()), NOISE):
            expected, found = (detector.detect(image, landmarks=True) for detector in (plain, _mtcnn()))
            for one, other in zip(expected, found, strict=True):
                assert other is one is None or np.array_equal(one, other)
            counts.append(0 if found[0] is None else len(found[0]))
    assert max(counts) >= 2 and min(counts) == 0
    ours = [find_face(image) for image in (picture, scene)]
    monkeypatch.setattr("fdp_lightning.data.faces.alignment._mtcnn", lambda device="cpu": plain)
    for image, face in zip((picture, scene), ours, strict=True):
        assert np.array_equal(find_face(image).landmarks, face.landmarks)


def test_faces_found_together_are_those_found_one_by_one(picture: np.ndarray) -> None:
    scene = np.full((300, 500, 3), 90, np.uint8)
    scene[:256, 230:486], scene[140:268, 20:148] = (
        picture,
        cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA),
    )
    images = [warp(picture, degrees, 1, shift)[0] for degrees, shift in ((0, (0, 0)), (9, (12, -7)), (-15, (3, 9)))]
    images[1:1] = [scene, np.zeros((12, 300, 3), np.uint8), np.full_like(picture, 128), scene[:, ::-1].copy()]
    expected, found = [find_face(image) for image in images], find_faces(images)
    for image, one, other in zip(images, expected, found, strict=True):
        if one is None or other is None:
            assert one is other
            continue
        # Each kind of CPU adds up in its own order, and a last bit can move a landmark by a hundredth of a pixel (see
        # `find_faces`). What counts is the aligned picture: it must move by less than makes a grey value another one.
        np.testing.assert_allclose(other.box, one.box, atol=0.05)
        assert (other.count, other.confidence) == (one.count, pytest.approx(one.confidence, abs=1e-3))
        alone, together = (alignment(face.landmarks, SIZE) for face in (one, other))
        corners = np.array([[0, 0], [SIZE, 0], [0, SIZE], [SIZE, SIZE]])
        there = through(cv2.invertAffineTransform(alone), corners)
        assert np.abs(through(together, there) - corners).max() < 0.05
        pictures = [align(image, matrix, SIZE).astype(float) for matrix in (alone, together)]
        assert np.abs(pictures[1] - pictures[0]).mean() < 0.5
    assert [face and face.count for face in found] == [1, 2, None, None, 2, 1, 1]
    assert find_faces([]) == []


@pytest.mark.parametrize(
    "blank",
    [NOISE, np.full((180, 240, 3), 128, np.uint8), np.zeros((12, 300, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)],
    ids=["noise", "grey", "narrow", "one pixel"],
)
def test_a_picture_without_a_face_has_none_however_small_it_is(blank: np.ndarray) -> None:
    assert find_face(blank) is None


def test_the_largest_of_several_faces_is_chosen_and_all_are_counted(picture: np.ndarray) -> None:
    small = cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.full((256, 256 + small.shape[1], 3), 128, np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = picture
    face = find_face(both)
    assert face.count == 2
    assert face.box[0] > small.shape[1]


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


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [(0, 1, (17.3, -8.6)), (15, 1, (0, 0)), (-20, 1.3, (-9, 12)), (5, 0.7, (6, 6)), (8, 1.7, (0, 0))],
)
def test_a_turned_scaled_and_shifted_face_is_aligned_to_the_same_place(
    picture: np.ndarray, face: Face, degrees: int, scale: float | int, shift: tuple[float, float] | tuple[int, int]
) -> None:
    moved, truth = warp(picture, degrees, scale, shift)
    landmarks = find_face(moved).landmarks
    matrix, moved_matrix = alignment(face.landmarks, SIZE), alignment(landmarks, SIZE)
    expected = through(matrix, face.landmarks)
    detected = through(moved_matrix, landmarks)
    same_skin = through(moved_matrix, through(truth, face.landmarks))
    assert np.abs(detected - expected).max() < 1.5
    assert np.abs(same_skin - expected).max() < 2  # MTCNN itself places a turned face's eyes a little otherwise
    assert np.abs(expected - TEMPLATE * SIZE).max() < 4  # and the template is where an average face has them
    before, after = align(picture, matrix, SIZE).astype(float), align(moved, moved_matrix, SIZE).astype(float)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7, 16])
def test_a_point_lands_where_the_matrix_says_at_any_scale(factor: int) -> None:
    side = SIZE * factor
    y, x = np.mgrid[:side, :side]
    matrix = np.array([[1 / factor, 0, 0.25], [0, 1 / factor, -0.5]])
    centre = np.array([0.4, 0.6]) * side
    blob = 200 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (4 * factor) ** 2))
    aligned = align(np.repeat(blob[..., None], 3, axis=2).astype(np.uint8), matrix, SIZE).astype(float)
    found = [(aligned * grid).sum() / aligned.sum() for grid in np.mgrid[:SIZE, :SIZE][::-1]]
    assert found == pytest.approx(through(matrix, centre[None])[0], abs=0.06)


@pytest.mark.parametrize("offset", [0, 1])
def test_stripes_finer_than_a_pixel_become_an_even_grey(offset: int) -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, offset::2] = 255
    aligned = align(stripes, np.array([[1 / 16.3, 0, 0], [0, 1 / 16.3, 0]]), SIZE)
    assert np.abs(aligned[2:60, 2:60].astype(float) - 127.5).max() < 10


def files_of(folder: Path, pictures: Sequence[np.ndarray]) -> list[FrameFile]:
    files = []
    for number, picture in enumerate(pictures, start=1):
        path = folder / f"img{number}.png"
        path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        files.append(FrameFile(number, path))
    return files


def test_a_face_that_moves_through_the_picture_moves_through_the_aligned_clip(
    picture: np.ndarray, face: Face, tmp_path: Path
) -> None:
    pictures = [warp(picture, 0, 1, (shift, 0))[0] for shift in (0, 4, 8)]
    frames = prepare_clip("clip", files_of(tmp_path, pictures), FaceSettings()).frames.astype(np.float64)
    scale = alignment(face.landmarks, SIZE)[0, 0]
    window = cv2.createHanningWindow((SIZE, SIZE), cv2.CV_64F)
    for frame, shift in zip(frames[1:], (4, 8), strict=True):
        (x, y), _ = cv2.phaseCorrelate(frames[0], frame, window)
        assert (x, y) == pytest.approx((shift * scale, 0), abs=0.5)


def test_without_a_face_on_the_first_frame_the_next_with_one_is_used_and_noted(
    picture: np.ndarray, tmp_path: Path
) -> None:
    prepared = prepare_clip("a/b@1", files_of(tmp_path, [np.zeros_like(picture), picture, picture]), FaceSettings())
    assert (prepared.detected_on, prepared.detections, len(prepared.frames)) == (2, 2, 3)
    (problem,) = prepared.problems
    assert (problem.kind, problem.fatal) == ("face_on_other_frame", False)
    assert "frame 1" in problem.detail


PER_FRAME = FaceSettings(per_frame=True)


def test_aligned_one_by_one_a_face_that_moves_through_the_picture_stays_where_it_is(
    picture: np.ndarray, tmp_path: Path
) -> None:
    pictures = [warp(picture, 0, 1, (shift, 0))[0] for shift in (0, 8)]
    first, moved = prepare_clip("clip", files_of(tmp_path, pictures), PER_FRAME).frames.astype(np.float64)
    (x, y), _ = cv2.phaseCorrelate(first, moved, cv2.createHanningWindow((SIZE, SIZE), cv2.CV_64F))
    assert (x, y) == pytest.approx((0, 0), abs=0.5)


def test_aligned_one_by_one_a_frame_without_a_face_follows_the_nearest_with_one(
    picture: np.ndarray, tmp_path: Path
) -> None:
    dark, moved = np.zeros_like(picture), warp(picture, 0, 1, (8, 0))[0]
    dark[100:110, 100:110] = 255
    prepared = prepare_clip("a/b@1", files_of(tmp_path, [dark, picture, dark, dark, moved, dark]), PER_FRAME)
    assert (prepared.detections, prepared.detected_on, len(prepared.frames)) == (6, 2, 6)
    (problem,) = prepared.problems
    assert (problem.kind, problem.fatal) == ("face_on_other_frame", False)
    assert "no face on 4 of 6 frames" in problem.detail
    frames = prepared.frames
    assert np.array_equal(frames[0], frames[2]) and np.array_equal(frames[3], frames[5])
    assert not np.array_equal(frames[2], frames[3])  # by the second picture, and by the fifth


def test_a_frame_of_another_size_is_a_problem_and_not_used(picture: np.ndarray, tmp_path: Path) -> None:
    prepared = prepare_clip("a/b@1", files_of(tmp_path, [picture, picture[:-1], picture]), FaceSettings())
    assert prepared.numbers == [1, 3]
    assert [problem.kind for problem in prepared.problems] == ["odd_size"]
    assert "img2.png" in prepared.problems[0].detail

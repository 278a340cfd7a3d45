"""Pictures that lie on their side or upside down, as a camera turned by a quarter leaves them: real MTCNN."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from fdp_lightning.data.faces.alignment import find_face, turns_at
from fdp_lightning.data.faces.frames import FrameFile
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip

pytestmark = pytest.mark.costly


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:256, 80:380])


def files_of(folder: Path, pictures: list[np.ndarray]) -> list[FrameFile]:
    for number, picture in enumerate(pictures, start=1):
        cv2.imwrite(str(folder / f"img{number}.png"), picture[..., ::-1])
    return [FrameFile(number, folder / f"img{number}.png") for number in range(1, len(pictures) + 1)]


@pytest.mark.parametrize(("turn", "mirrored"), [(0, False), (1, False), (2, True), (3, False)])
@pytest.mark.parametrize(
    "settings",
    [FaceSettings(), FaceSettings(method="box"), FaceSettings(per_frame=True), FaceSettings(batch=2)],
    ids=["mtcnn", "box", "per_frame", "batch"],
)
def test_a_clip_is_aligned_as_if_it_stood_upright(
    portrait: np.ndarray, tmp_path: Path, settings: FaceSettings, turn: int, mirrored: bool
) -> None:
    upright = np.ascontiguousarray(portrait[:, ::-1]) if mirrored else portrait
    expected = prepare_clip("a", files_of(tmp_path, [upright] * 2), settings)
    assert expected.problems == []
    lying = np.ascontiguousarray(np.rot90(upright, -turn))
    got = prepare_clip("a", files_of(tmp_path, [lying] * 2), settings)
    assert np.abs(got.frames.astype(float) - expected.frames).mean() < 1
    assert [(problem.kind, problem.fatal) for problem in got.problems] == [("turned_face", False)] * (turn > 0)
    assert turn == 0 or f"{turn * 90}°" in got.problems[0].detail


@pytest.mark.parametrize(("scale", "tilt"), [(0.35, -15), (0.5, 0), (0.7, 20), (1.0, -15)])
def test_where_mtcnn_is_sure_of_a_face_on_its_side_the_true_one_is_taken(scale: float, tilt: int) -> None:
    # Among these are detections of more than .97 with the landmarks of a face that is not there.
    picture = data.astronaut()
    matrix = cv2.getRotationMatrix2D((225, 120), tilt, 1)
    picture = cv2.warpAffine(picture, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT)
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    expected = find_face(picture)
    assert expected.turn == 0
    last = picture.shape[1] - 1
    for turn in (1, 2, 3):
        found = find_face(np.ascontiguousarray(np.rot90(picture, -turn)))
        assert found.turn == turn
        points = found.landmarks
        for _ in range(turn):
            points = np.stack([points[:, 1], last - points[:, 0]], axis=1)
        assert np.abs(points - expected.landmarks).max() < 0.01 * np.ptp(expected.landmarks)
        left, top, right, bottom = found.box
        assert all(left < x < right and top < y < bottom for x, y in found.landmarks)


def test_what_is_no_upright_face_in_any_turn_is_none() -> None:
    faces = [255 - data.astronaut(), np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)]
    assert [find_face(picture) for picture in faces] == [None, None]


def test_a_turned_face_that_comes_late_is_found_at_few_turned_searches(portrait: np.ndarray, tmp_path: Path) -> None:
    lying, blank = np.ascontiguousarray(np.rot90(portrait)), np.zeros((300, 256, 3), np.uint8)
    prepared = prepare_clip("a", files_of(tmp_path, [blank] * 5 + [lying] * 4), FaceSettings())
    assert [problem.kind for problem in prepared.problems] == ["turned_face", "face_on_other_frame"]
    assert prepared.detected_on == 8
    assert sum(len(turns_at(place, None)) > 1 for place in range(1000)) == 10
    assert turns_at(5, 3) == (3,)

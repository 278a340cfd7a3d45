"""Clips under one subject that show, although not byte for byte, the clips of another subject."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.checks.near_copies import SIDE, WHOLE, copy_problems, near_copies, thumbnail
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.protocols.leak_guard import check_near_copies
from fdp_lightning.data.store.clip_store import ClipStore
from fdp_lightning.data.synthetic.film import draw_clip
from fdp_lightning.engine.run import open_run
from fdp_lightning.errors import UserError
from tests.tasks.test_check_data import MADE_UP, looked_at

Images = list[np.ndarray]


def encoded(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


COPIES: dict[str, Callable[[Images], Images]] = {
    "later frames, encoded again": lambda all_: [encoded(one) for one in all_[2:]],
    "small, mirrored, encoded again": lambda all_: [
        encoded(cv2.resize(one[:, ::-1], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)) for one in all_[3:]
    ],
    "brighter": lambda all_: [cv2.convertScaleAbs(one, alpha=1.25, beta=10) for one in all_],
}


def plant(root: Path, change: Callable[[Images], Images]) -> tuple[str, str]:
    """Replace the frames of subject 02's clip by changed frames of 01's; return the names of both."""
    (_, one), (_, other), *_ = CASME2(root).clips().sort_values("subject").iterrows()
    files = sorted(Path(one["folder"]).iterdir(), key=lambda path: int(path.stem[3:]))
    images = change([cv2.imread(str(path)) for path in files])
    for path in Path(other["folder"]).iterdir():
        path.unlink()
    for number in range(int(other["onset"]), int(other["offset"]) + 1):
        image = images[min(number - int(other["onset"]), len(images) - 1)]
        cv2.imwrite(str(Path(other["folder"]) / f"img{number}.jpg"), image)
    return clip_id(one), clip_id(other)


@pytest.mark.parametrize("how", COPIES)
def test_a_near_copy_is_named_by_the_check_and_stops_a_run(small_copy: Path, tmp_path: Path, how: str) -> None:
    one, other = plant(small_copy, COPIES[how])
    result, words = looked_at(small_copy, *MADE_UP)
    (found,) = [problem for problem in result["problems"] if problem["kind"] == "near_copy"]
    assert found["clip"].endswith(other.split("/", 1)[1]) and one.split("/", 1)[1] in found["detail"]
    assert found["fatal"] and "not as published" in words
    if how != "small, mirrored, encoded again":  # the hardest; alignment takes longer than the check
        return
    options = [f"data.root={small_copy}", f"data.store={tmp_path}/stores", "model=fdp_tiny", "trainer=cpu"]
    for method in ("mtcnn", "none"):
        with pytest.raises(UserError, match="near copies") as caught:
            open_run(configuration(*MADE_UP, *options, f"data.faces.method={method}"), tmp_path / "run")
        assert all(name.split("/", 1)[1] in str(caught.value) for name in (one, other))


def test_similar_clips_of_one_subject_are_not_near_copies(casme2_clips: pd.DataFrame, store: ClipStore) -> None:
    check_near_copies(casme2_clips, store, aligned=True)  # five similar clips of each subject


def test_clips_without_structure_are_not_near_copies() -> None:
    still = [[np.full((SIDE, SIDE), grey, np.uint8)] * 4 for grey in (0, 127, 127, 255)]
    assert near_copies(["a", "b", "c", "d"], still) == []
    noise = [np.random.default_rng(seed).integers(120, 136, (SIDE, SIDE)).astype(np.uint8) for seed in range(4)]
    assert near_copies(["a", "b", "c", "d"], [[one] * 4 for one in noise]) == []


def test_two_people_in_front_of_one_wall_are_not_near_copies(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (720, 960, 3)).astype(np.float32)
    wall = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 12), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    clips, thumbnails = [], []
    for seed in (1, 2):
        person = cv2.resize(draw_clip(0, seed=seed).images[0], None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
        image = wall.copy()
        image[300 : 300 + person.shape[0], 400 : 400 + person.shape[1]] = person
        cv2.imwrite(str(tmp_path / f"{seed}.png"), image)
        clips.append((f"data/{seed}/clip@1", [tmp_path / f"{seed}.png"]))
        thumbnails.append([thumbnail(image)])
    assert len(near_copies(["1", "2"], thumbnails, WHOLE)) == 1  # as whole images they are alike
    assert copy_problems(clips, 1, lambda *_: None) == []
    planted = [clips[0], ("data/2/clip@1", clips[0][1])]
    assert [problem.clip for problem in copy_problems(planted, 1, lambda *_: None)] == ["data/2/clip@1"]

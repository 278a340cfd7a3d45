"""Pictures of another size than most: seen by one header a clip."""

from pathlib import Path

import cv2
import numpy as np

from fdp_lightning.data.checks.pictures import size_problems


def test_a_clip_whose_pictures_are_of_another_size_than_most_is_named(tmp_path: Path) -> None:
    clips = []
    for name, (height, width) in {"a": (8, 10), "b": (8, 10), "c": (6, 10), "d": (8, 10)}.items():
        path = tmp_path / f"{name}1.png"
        cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
        clips.append((name, [path]))
    (problem,) = size_problems(clips)
    assert (problem.clip, problem.kind, problem.fatal) == ("c", "odd_size", False)
    assert "is 10x6, most clips are 10x8" in problem.detail


def test_a_header_of_no_picture_is_unreadable_and_counts_for_no_size(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(b"no picture")
    (problem,) = size_problems([("a", [path])])
    assert (problem.kind, problem.fatal) == ("unreadable_frame", True)
    assert str(path) in problem.detail

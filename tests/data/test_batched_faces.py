"""A store whose faces MTCNN finds in batches shows what one shows that it finds one by one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_builds import build, image, manifest

from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.faces.frames import list_frames
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip, prepare_clips
from fdp_lightning.data.store.clip_store import FRAMES, ClipStore, open_store

pytestmark = pytest.mark.costly

CLOSE = 0.05
"""Pixels of the picture, or of the aligned one."""


def pixels(folder: Path) -> np.ndarray:
    return np.fromfile(folder / FRAMES, np.uint8).astype(int)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_of_first_frames_give_the_same_faces(
    store_folder_path: Path, store: ClipStore, casme2_clips: pd.DataFrame, tmp_path: Path, workers: int
) -> None:
    counts: list[int] = []
    settings = FaceSettings(batch=4)
    folder = build(tmp_path, casme2_clips, settings=settings, workers=workers, progress=lambda n, _: counts.append(n))
    batched = open_store(folder)
    assert counts == [0, 4, 8, 12, 15]
    assert manifest(folder)["detections"] == 15
    assert manifest(folder)["settings"]["faces"] == manifest(store_folder_path)["settings"]["faces"] | {"batch": 4}
    for name in ("box", "matrix"):
        one, other = (np.stack(each.index[name].to_numpy()) for each in (store, batched))
        difference = np.abs(other - one)
        assert np.median(difference) < 1e-4
        assert difference.max() < CLOSE  # where a box's edge falls on that of a pixel, MTCNN cuts out another crop
    greys = np.abs(pixels(folder) - pixels(store_folder_path))
    assert greys.max() <= 3
    assert greys.mean() < 0.05


def test_a_clip_without_a_readable_or_usable_first_frame_keeps_its_own_face(small_copy: Path) -> None:
    clips = CASME2(small_copy).clips()
    image(clips, 0, 0).write_bytes(b"")  # the next frame is the first
    for path in sorted({file.path for file in list_frames(Path(clips["folder"][1]))}):
        path.write_bytes(b"")
    sources = [(str(n), list_frames(Path(folder))) for n, folder in enumerate(clips["folder"])]
    single = [prepare_clip(*source, FaceSettings()) for source in sources]
    together = list(prepare_clips(sources, FaceSettings(batch=8)))
    assert [len(clip.frames) for clip in together] == [len(clip.frames) for clip in single]
    assert len(single[1].frames) == 0 < len(single[0].frames) < len(sources[0][1])
    for one, other in zip(single, together, strict=True):
        assert (other.problems, other.numbers, other.detected_on) == (one.problems, one.numbers, one.detected_on)
        assert other.detections == one.detections
        np.testing.assert_allclose(other.box, one.box, atol=CLOSE)

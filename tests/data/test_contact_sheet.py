"""The contact sheet shows the frames it names: each clip's onset and apex, in grey and in colour."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from store_builds import lay_out, source_of

from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.store.build import build_store
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.data.store.contact_sheet import contact_sheet
from fdp_lightning.data.store.sources import list_sources


def holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Whether a picture is on the sheet, pixel for pixel."""
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    # The sums of squares are rounded: they tell where to look.
    _, _, (left, top), _ = cv2.minMaxLoc(cv2.matchTemplate(sheet, picture, cv2.TM_SQDIFF))
    return np.array_equal(sheet[top : top + picture.shape[0], left : left + picture.shape[1]], picture)


def made(tmp_path: Path, shapes: Any, size: int) -> tuple[ClipStore, pd.DataFrame, list[np.ndarray]]:
    folder, clips, frames = lay_out(tmp_path, shapes, size)
    build_store(folder, clips, [source_of(source) for source in list_sources(clips)], FaceSettings(size=size))
    return open_store(folder), clips, frames


def test_onset_and_apex_of_each_clip_are_shown(tmp_path: Path) -> None:
    for name, colour in (("grey", ()), ("colour", (3,))):
        store, clips, frames = made(tmp_path / name, [(5, 32, 32, *colour), (7, 32, 32, *colour)], 32)
        clips["apex"] = pd.array([4, pd.NA], dtype="Int64")
        sheet = contact_sheet(store, clips, side=32)
        for of_clip, second in ((frames[0], 3), (frames[1], 3)):  # without an apex: the middle frame
            shown = [number for number, frame in enumerate(of_clip) if holds(sheet, frame)]
            assert shown == [0, second]


def test_a_missing_apex_and_one_outside_the_clip_are_marked(tmp_path: Path) -> None:
    store, clips, _ = made(tmp_path, [(5, 32, 32)], 32)
    marked = [(contact_sheet(store, clips.assign(apex=apex)) == (200, 90, 20)).all(axis=2).any() for apex in (2, 9)]
    assert marked == [False, True]

"""Small builds of clip stores, shared by the tests of the store."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.data.faces import prepare_clip
from fdp_lightning.data.faces.prepare_clip import FaceSettings, PreparedClip
from fdp_lightning.data.store.build import build_store
from fdp_lightning.data.store.clip_store import MANIFEST, ClipStore, open_store
from fdp_lightning.data.store.sources import ClipSource, list_sources, parts_of, store_folder
from fdp_lightning.errors import UserError

SETTINGS = FaceSettings(method="none")
"""Whole images, because storage does not depend on face detection."""


def image(clips: pd.DataFrame, clip: int, frame: int) -> Path:
    row = clips.iloc[clip]
    return Path(row["folder"]) / f"img{row['onset'] + frame}.jpg"


def place_of(stores: Path, clips: pd.DataFrame, policy: str = "strict", settings: FaceSettings = SETTINGS) -> Path:
    return store_folder(stores, "casme2", settings, policy, list_sources(clips))


def build(
    stores: Path, clips: pd.DataFrame, policy: str = "strict", settings: FaceSettings = SETTINGS, **options
) -> Path:
    """Build a store and return its folder."""
    folder = place_of(stores, clips, policy, settings)
    build_store(folder, clips, list_sources(clips), settings, policy, **options)
    return folder


def refused(stores: Path, clips: pd.DataFrame, policy: str, settings: FaceSettings = SETTINGS) -> str:
    """Return the message of a build that fails; only prepared clips may remain."""
    with pytest.raises(UserError) as caught:
        build(stores, clips, policy, settings)
    assert not stores.exists() or {path.suffix for path in stores.iterdir()} <= {".building"}
    return str(caught.value)


def manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text())


def content(folder: Path) -> dict[str, bytes]:
    """Return file name → content of a store."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def count_prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each clip is added when it is prepared from images in this process."""
    prepared: list[str] = []
    real = prepare_clip.prepare_clip

    def counting(clip: str, *arguments) -> Any:
        prepared.append(clip)
        return real(clip, *arguments)

    monkeypatch.setattr(prepare_clip, "prepare_clip", counting)
    return prepared


def lay_out(stores: Path, shapes: list[tuple[int, ...]], size: int) -> tuple[Path, pd.DataFrame, list[np.ndarray]]:
    """Write prepared clips with random frames, ready to be joined by `build_store`, for a dataset without images.

    Returns:
        Folder of the future store, its clip table, and the frames of each clip.
    """
    rng = np.random.default_rng(0)
    clips = pd.DataFrame(
        [
            {"dataset": "made", "subject": f"{n:02}", "clip": "c", "onset": 1, "apex": 2, "offset": shape[0]}
            for n, shape in enumerate(shapes)
        ]
    ).assign(folder="")
    settings = FaceSettings(size=size)
    sources = [source_of(clip) for clip in list_sources(clips)]
    folder = store_folder(stores, "made", settings, "strict", sources)
    frames = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    for source, of_clip in zip(sources, frames, strict=True):
        numbers = list(range(1, len(of_clip) + 1))
        box, matrix = (0.0, 0.0, 1.0, 1.0), [1.0] * 6
        prepared = PreparedClip(of_clip, frame_numbers=numbers, detected_on=1, detections=1, box=box, matrix=matrix)
        parts_of(folder, settings).write(source, prepared)
    return folder, clips, frames


def source_of(clip: ClipSource) -> ClipSource:
    """Return a source without problems: these clips have no folders, which are not to be checked."""
    return type(clip)(clip.clip, [], [], clip.fingerprint)


def made_of(folder: Path, clips: pd.DataFrame, size: int) -> ClipStore:
    """Return the store of clips that `lay_out` has prepared."""
    build_store(folder, clips, [source_of(clip) for clip in list_sources(clips)], FaceSettings(size=size))
    return open_store(folder)

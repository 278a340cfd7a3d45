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
"""Whole pictures: how a store is kept does not depend on how faces are found."""


def image(clips: pd.DataFrame, clip: int, frame: int) -> Path:
    row = clips.iloc[clip]
    return Path(row["folder"]) / f"img{row['onset'] + frame}.jpg"


def place_of(stores: Path, clips: pd.DataFrame, policy: str = "strict", settings: FaceSettings = SETTINGS) -> Path:
    return store_folder(stores, "casme2", settings, policy, list_sources(clips))


def build(
    stores: Path, clips: pd.DataFrame, policy: str = "strict", settings: FaceSettings = SETTINGS, **options
) -> Path:
    """Build a store and give its folder."""
    folder = place_of(stores, clips, policy, settings)
    build_store(folder, clips, list_sources(clips), settings, policy, **options)
    return folder


def refused(stores: Path, clips: pd.DataFrame, policy: str, settings: FaceSettings = SETTINGS) -> str:
    """The message of a build that is refused; nothing but prepared clips may stay."""
    with pytest.raises(UserError) as caught:
        build(stores, clips, policy, settings)
    assert not stores.exists() or {path.suffix for path in stores.iterdir()} <= {".building"}
    return str(caught.value)


def manifest(folder: Path) -> dict:
    return json.loads((folder / MANIFEST).read_text())


def content(folder: Path) -> dict[str, bytes]:
    """Each file of a store."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def count_prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows by a clip's name whenever one is prepared from its images in this process."""
    prepared: list[str] = []
    real = prepare_clip.prepare_clip

    def counting(clip: str, *arguments) -> Any:
        prepared.append(clip)
        return real(clip, *arguments)

    monkeypatch.setattr(prepare_clip, "prepare_clip", counting)
    return prepared


def lay_out(stores: Path, shapes: list[tuple[int, ...]], size: int) -> tuple[Path, pd.DataFrame, list[np.ndarray]]:
    """The prepared clips of a dataset without images, ready to be joined by `build_store`: random frames.

    Returns:
        The folder of the store to be, its clip table, and each clip's frames.
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
    """A source without its problems: these clips have no folder, and none of them is looked for."""
    return type(clip)(clip.clip, [], [], clip.fingerprint)


def made_of(folder: Path, clips: pd.DataFrame, size: int) -> ClipStore:
    """The store of clips that `lay_out` has prepared."""
    build_store(folder, clips, [source_of(clip) for clip in list_sources(clips)], FaceSettings(size=size))
    return open_store(folder)

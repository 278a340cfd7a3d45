"""Small builds of clip stores, shared by the tests of the store."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fdp_lightning.data.faces import prepare_clip
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.store.build import build_store
from fdp_lightning.data.store.clip_store import MANIFEST
from fdp_lightning.data.store.sources import list_sources, store_folder
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

"""Older stores of a dataset: why a new one is necessary, and which clips can be copied from them."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.faces.prepare_clip import FaceSettings, PreparedClip
from fdp_lightning.data.store.clip_store import (
    FORMAT,
    MANIFEST,
    ClipStore,
    DamagedStoreError,
    open_index,
    read_manifest,
)
from fdp_lightning.data.store.parts import from_row, prepared_clip
from fdp_lightning.data.store.sources import ClipSource


def other_stores(folder: Path) -> list[Path]:
    """Return the dataset's stores other than `folder` (from `store_folder`), the newest first."""
    dataset, _ = folder.name.rsplit("-", 1)
    name = re.compile(re.escape(dataset) + "-[0-9a-f]{12}")
    places = folder.parent.iterdir() if folder.parent.is_dir() else ()
    others = [place for place in places if name.fullmatch(place.name) and place != folder]
    whole = [place for place in others if (place / MANIFEST).is_file()]
    return sorted(whole, key=lambda place: (-(place / MANIFEST).stat().st_mtime_ns, place.name))


def why_another(old: Path, sources: list[ClipSource], settings: FaceSettings, policy: str) -> str:
    """Return, in one line, how an older store differs from the requested one."""
    try:
        manifest = read_manifest(old)
    except DamagedStoreError as error:
        return str(error)
    if manifest["format"] != FORMAT:
        return f"{old.name} is of format {manifest['format']}, this version writes {FORMAT}"
    before, now = manifest["settings"]["faces"], _plain(settings)
    reasons = [
        f"data.faces.{name} {before.get(name)} → {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if manifest["settings"]["policy"] != policy:
        reasons.append(f"data.policy {manifest['settings']['policy']} → {policy}")
    known, here = manifest["sources"], {source.clip: source.fingerprint for source in sources}
    changed = [clip for clip in here if clip in known and known[clip] != here[clip]]
    reasons += _count(changed, "whose files changed")
    reasons += _count([clip for clip in here if clip not in known], "added")
    reasons += _count([clip for clip in known if clip not in here], "gone")
    return f"against {old.name}: " + ("; ".join(reasons) or "the order of the clips differs")


def _count(clips: list[str], what: str, most: int = 5) -> list[str]:
    if not clips:
        return []
    names = ", ".join(clips[:most]) + (" …" if len(clips) > most else "")
    return [f"{len(clips)} clip{'s' if len(clips) > 1 else ''} {what} ({names})"]


def _plain(settings: FaceSettings) -> Any:
    """Return settings as a manifest stores them (JSON has no tuples)."""
    return json.loads(json.dumps(settings.facts()))


class Donors:
    """Clips of older or damaged stores, made with these face settings, that are still valid and can be copied."""

    def __init__(self, folders: Iterable[Path], settings: FaceSettings) -> None:
        self._rows: dict[tuple[str, str], list[tuple[ClipStore, int]]] = {}
        for folder in folders:
            try:
                store, manifest = open_index(folder), read_manifest(folder)
            except DamagedStoreError:
                continue
            if manifest["settings"]["faces"] != _plain(settings):
                continue
            for number, (_, row) in enumerate(store.index.iterrows()):
                self._rows.setdefault((clip_id(row), row["source"]), []).append((store, number))

    def clip(self, source: ClipSource) -> PreparedClip | None:
        """Return the clip as `prepare_clip` would, from the first store that holds it intact; None if none does."""
        for store, number in self._rows.get((source.clip, source.fingerprint), ()):
            row = store.index.iloc[number]
            try:
                frames = store.read(number, np.arange(row["length"]))
            except (OSError, ValueError):  # the file is missing or shorter than the index says
                continue
            if hashlib.sha256(frames.tobytes()).hexdigest() == row["checksum"]:
                return prepared_clip(frames, from_row(row))
        return None

"""The clip store: all aligned frames of a dataset in one memory-mapped file, with an index and checksums.

A store is a folder: `frames.bin` (uint8, frames × frame_shape), `index.parquet` (one row per clip, with a checksum) and
`manifest.json` (its origin and checksums). The folder gets its final name when it is complete, so a folder of that name
is never partial; `open_store` still verifies it, because disks and users change files.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.data.annotations.clips import clip_id, clip_keys
from fdp_lightning.data.checks.problems import some
from fdp_lightning.files import checksummed, sha256

FRAMES, INDEX, MANIFEST = "frames.bin", "index.parquet", "manifest.json"
FORMAT = 2  # increased when stores are written or prepared differently; older stores are then not reused


class DamagedStoreError(Exception):
    """A store's files do not match its manifest; the message names the file, `clips` the clips with damaged frames."""

    def __init__(self, message: str, clips: list[str] | None = None) -> None:
        super().__init__(message)
        self.clips = clips or []


@dataclass(frozen=True)
class ClipStore:
    """Aligned clips, read from disk on use, so that a dataset may be larger than memory.

    Attributes:
        folder: folder of the store.
        index: table with one row per clip: `clips.KEY`, start and length in frames.bin, checksum, source,
            frame_numbers, and the other fields of `PreparedClip`.
        frame_shape: shape of a frame, (size, size), or (size, size, 3) in colour.
    """

    folder: Path
    index: pd.DataFrame
    frame_shape: tuple[int, ...]

    @property
    def frame_bytes(self) -> int:
        return math.prod(self.frame_shape)

    @cached_property
    def _row_of(self) -> dict[tuple[Any, ...], int]:
        return {key: row for row, key in enumerate(clip_keys(self.index))}

    def rows(self, clips: pd.DataFrame) -> np.ndarray:
        """Return the store's row of each clip in a table, shape (n,); raises KeyError for a clip it does not hold."""
        return np.array([self._row_of[key] for key in clip_keys(clips)], dtype=np.int64)

    def holds(self, clips: pd.DataFrame) -> pd.Series:
        """Return a mask of the table's clips that are in the store (the policy 'skip' leaves some out)."""
        return pd.Series([key in self._row_of for key in clip_keys(clips)], index=clips.index, dtype=bool)

    def length(self, row: int) -> int:
        return int(self._columns["length"][row])

    def read(self, row: int, positions: np.ndarray) -> np.ndarray:
        """Return a copy of a clip's frames at positions, (t,), within 0..length-1: uint8, shape (t, *frame_shape). Only
        the clip's part of the file is mapped, and only during this call: a store may exceed memory and address space.
        """
        offset, shape = int(self._columns["start"][row]) * self.frame_bytes, (self.length(row), *self.frame_shape)
        window = np.memmap(self.folder / FRAMES, dtype=np.uint8, mode="r", offset=offset, shape=shape)
        return np.array(window[positions])

    def frame_numbers(self, row: int) -> np.ndarray:
        """Return the dataset's own numbers of a clip's frames, shape (length,)."""
        return np.asarray(self._columns["frame_numbers"][row], dtype=np.int64)

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        # As arrays, because pandas look-ups for each clip would take longer than reading from disk.
        return {name: self.index[name].to_numpy() for name in ("start", "length", "frame_numbers")}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a store's manifest; raises DamagedStoreError if it is missing or altered."""
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        facts = json.loads(text)
        facts.pop("checksum")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStoreError(f"{folder} is not a complete store ({MANIFEST}: {error})") from error
    if checksummed(facts) != text:
        raise DamagedStoreError(f"{path} is not what was written (checksum differs)")
    return dict(facts)


def open_store(folder: Path, verify: bool = True) -> ClipStore:
    """Open a store. With `verify`, its files are compared with their checksums (not needed in each fold of a run).
    Raises DamagedStoreError, with the clips whose frames differ, if a file is missing or not as it was written.
    """
    store = open_index(folder, verify)
    path = folder / FRAMES
    try:
        damaged = _damaged_clips(store) if verify else []
        expected, found = int(store.index["length"].sum()) * store.frame_bytes, path.stat().st_size
    except OSError as error:
        raise DamagedStoreError(f"{folder} is not a complete store ({error})") from error
    if damaged:
        raise DamagedStoreError(
            f"{path} is not what was written (checksum differs) in {len(damaged)} of {len(store.index)} clips: "
            f"{some(damaged)}",
            damaged,
        )
    if found != expected:
        raise DamagedStoreError(f"{path} holds {found} bytes; its index and manifest expect {expected}")
    return store


def open_index(folder: Path, verify: bool = True) -> ClipStore:
    """Open a store without verifying frames; raises DamagedStoreError if manifest or index are missing or altered."""
    manifest = read_manifest(folder)
    try:
        if manifest["format"] != FORMAT:
            raise DamagedStoreError(f"{folder} has format {manifest['format']}; this version reads {FORMAT}")
        if verify and sha256(folder / INDEX) != manifest["checksums"][INDEX]:
            raise DamagedStoreError(f"{folder / INDEX} is not what was written (checksum differs)")
        index = pd.read_parquet(folder / INDEX)
    except (OSError, ValueError, KeyError) as error:
        raise DamagedStoreError(f"{folder} is not a complete store ({error})") from error
    return ClipStore(folder, index, tuple(manifest["frame_shape"]))


def _damaged_clips(store: ClipStore) -> list[str]:
    """Return the clips whose bytes do not match their checksum, with one clip in memory at a time."""
    damaged = []
    with (store.folder / FRAMES).open("rb") as frames:
        for _, row in store.index.iterrows():
            frames.seek(row["start"] * store.frame_bytes)
            content = frames.read(row["length"] * store.frame_bytes)
            if hashlib.sha256(content).hexdigest() != row["checksum"]:
                damaged.append(clip_id(row))
    return damaged

"""The clip store: all aligned frames of a dataset in one memory-mapped file, with an index and checksums.

A store is a folder: `frames.bin` (uint8, frames × size × size), `index.parquet` (one row per clip) and `manifest.json`
(what it was made from, checksums). It is written beside its place and renamed when complete, so a folder of that name
is always whole; `open_store` still verifies it, because disks and users change files.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.data.clips import KEY
from fdp_lightning.files import sha256

FRAMES, INDEX, MANIFEST = "frames.bin", "index.parquet", "manifest.json"
FORMAT = 1


class DamagedStoreError(Exception):
    """A store whose files are not what its manifest says; the message names the file."""


@dataclass(frozen=True)
class ClipStore:
    """Aligned clips, read from disk as they are used: a dataset larger than memory works.

    Attributes:
        folder: where it lies.
        index: one row per clip: `clips.KEY`, start and length in frames.bin, frame_numbers, detected_on, box, matrix.
        size: side of a frame, pixels.
    """

    folder: Path
    index: pd.DataFrame
    size: int

    @cached_property
    def _frames(self) -> np.ndarray:
        return np.memmap(self.folder / FRAMES, dtype=np.uint8, mode="r").reshape(-1, self.size, self.size)

    @cached_property
    def _row_of(self) -> dict[tuple[Any, ...], int]:
        return {tuple(key): row for row, key in enumerate(self.index[KEY].itertuples(index=False, name=None))}

    def rows(self, clips: pd.DataFrame) -> np.ndarray:
        """The store's rows of a clip table, shape (len(clips),); raises KeyError for a clip it does not hold."""
        keys = clips[KEY].astype({"onset": int}).itertuples(index=False, name=None)
        return np.array([self._row_of[tuple(key)] for key in keys], dtype=np.int64)

    def holds(self, clips: pd.DataFrame) -> pd.Series:
        """Which clips of a table are in the store (a `skip` policy leaves some out)."""
        keys = clips[KEY].astype({"onset": int}).itertuples(index=False, name=None)
        return pd.Series([tuple(key) in self._row_of for key in keys], index=clips.index, dtype=bool)

    def length(self, row: int) -> int:
        """Frames of a clip."""
        return int(self.index["length"].iloc[row])

    def read(self, row: int, positions: np.ndarray) -> np.ndarray:
        """Some frames of a clip.

        Args:
            row: of the index.
            positions: shape (t,), within 0..length-1.

        Returns:
            uint8, shape (t, size, size), a copy.
        """
        start = int(self.index["start"].iloc[row])
        return np.asarray(self._frames[start + positions])

    def frame_numbers(self, row: int) -> np.ndarray:
        """The dataset's own numbers of a clip's frames, shape (length,)."""
        return np.asarray(self.index["frame_numbers"].iloc[row], dtype=np.int64)


def open_store(folder: Path, verify: bool = True) -> ClipStore:
    """Open a store.

    Args:
        folder: from `store_folder`.
        verify: compare the files with their checksums; folds of a run that has verified already pass False.

    Raises:
        DamagedStoreError: a file is missing or not as its checksum says.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        checksums = manifest["checksums"]
        if verify:
            for name in (FRAMES, INDEX):
                if sha256(folder / name) != checksums[name]:
                    raise DamagedStoreError(f"{folder / name} is not what was written (checksum differs)")
        index = pd.read_parquet(folder / INDEX)
        size = int(manifest["settings"]["faces"]["size"])
        expected, found = int(index["length"].sum()) * size**2, (folder / FRAMES).stat().st_size
        if found != expected:
            raise DamagedStoreError(f"{folder / FRAMES} holds {found} bytes; its index and manifest expect {expected}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedStoreError(f"{folder} is not a whole store ({error})") from error
    return ClipStore(folder, index, size)

"""The base of all datasets: a user's folder → the tidy clip table. A new dataset is one file and one YAML."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.clips import clip_table
from fdp_lightning.errors import UserError


class FaceDataset(ABC):
    """One dataset on the user's disk.

    A subclass states where the annotations are, how their columns are called and where a clip's frames lie; the class
    docstring gives counts, layout, paper and quirks.

    Args:
        root: the user's copy.
        name: written into the clip table; another than the dataset's own for look-alikes such as the synthetic set.
    """

    name: ClassVar[str]
    fps: ClassVar[float]
    request_page: ClassVar[str]
    label_versions: ClassVar[tuple[str, ...]]
    """The annotation releases a protocol may ask for; the first is the default."""

    def __init__(self, root: str | Path, name: str | None = None) -> None:
        self.root = Path(root).expanduser()
        self.table_name = name or self.name

    def clips(self, labels: str | None = None) -> pd.DataFrame:
        """The clip table under one version of the labels (columns of `clips.COLUMNS`).

        Raises:
            UserError: the folder, the workbook or a column is missing, or the version is unknown.
        """
        version = labels or self.label_versions[0]
        if version not in self.label_versions:
            raise UserError(
                f"{self.name} has no labels '{version}' (protocol.labels). Known: {', '.join(self.label_versions)}"
            )
        path, rows = self._annotations(version)
        if rows.empty:
            raise UserError(f"{path}: the sheet has a header but no clip.")
        return clip_table(rows.assign(dataset=self.table_name, fps=self.fps), str(path))

    @abstractmethod
    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        """The annotation file and its rows: all of `clips.COLUMNS` but dataset and fps."""

    def _sub_folder(self, *candidates: str) -> Path:
        """The first of several places a release may have been unpacked to."""
        for candidate in candidates:
            if (self.root / candidate).is_dir():
                return self.root / candidate
        raise UserError(
            f"{self.root} holds no folder {' or '.join(candidates)}.\n"
            f"  Expected the frames of {self.name} there; unpack them, or correct data.root."
        )

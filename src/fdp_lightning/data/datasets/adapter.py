"""Base class of all datasets: from a user's folder to the tidy clip table. A new dataset is one file and one YAML."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.annotations.clips import clip_table, require_keys
from fdp_lightning.data.annotations.corrections import correct
from fdp_lightning.data.datasets.folders import Folders, existing, is_folder, subfolders
from fdp_lightning.data.datasets.workbook import find_workbook, padded, read_sheet, require_folder, roman
from fdp_lightning.errors import UserError

_LEVELS_DEEPER = 3  # folder levels searched for frames that are not where the release puts them


class FaceDataset:
    """One dataset on the user's disk.

    A subclass states where the annotations are, what their columns are called and where a clip's frames are. It
    overrides `_as_meant` to interpret the rows, or `_annotations` if the annotation is not a sheet with these columns.
    Its docstring gives counts, layout, paper and quirks.

    Args:
        root: folder of the user's copy.
        frames: kind of frames to read, a key of `frame_folders`; the first by default.
        name: dataset name in the clip table, if not the class's own (for look-alikes such as the synthetic dataset).
    """

    name: ClassVar[str]
    fps: ClassVar[float]
    request_page: ClassVar[str]
    # Annotation releases that a protocol may ask for; the first is the default.
    label_versions: ClassVar[tuple[str, ...]]
    # Annotation release → names of its file: the owners' name, then those of other copies in circulation.
    workbooks: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    sheet: ClassVar[str] = ""  # name of the sheet with the clips; '' for the first that has the columns
    # Column of the clip table → header in the sheet, see `workbook.read_sheet`.
    columns: ClassVar[Mapping[str, str]] = {}
    optional_columns: ClassVar[Mapping[str, str]] = {}  # the same for columns that a copy may lack
    digits: ClassVar[int] = 0  # digits of a subject's number in the clip table; 0 to keep the annotation's own text
    # Folders of a clip's frames below `frame_root`, of which the first that exists is used; per kind if they differ.
    clip_folders: ClassVar[tuple[str, ...] | Mapping[str, tuple[str, ...]]] = ("{subject}/{clip}",)
    # Kind of frames → the folders below `root` a release may have unpacked them to ('.' for `root` itself).
    frame_folders: ClassVar[Mapping[str, tuple[str, ...]]]
    # Regular expression (case-insensitive) for subjects' folder names, by which a folder of frames is recognised.
    subject_folders: ClassVar[str]
    crops: ClassVar[str | None] = None  # kind of frames that are the owners' own face crops, if published
    # Kinds that hold whole recordings, in which frames outside the clips and folders without a clip are normal.
    recordings: ClassVar[frozenset[str]] = frozenset()
    gaps_are_normal: ClassVar[bool] = False  # true if the owners themselves publish clips with missing frames
    # Lower-case names of folders whose images are not frames of clips ('depth').
    other_folders: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, root: str | Path, frames: str | None = None, name: str | None = None) -> None:
        self.root = Path(root).expanduser()
        self.root_key = "data.root"  # named in messages; a composite has a key for each member
        self.table_name = name or self.name
        self.frames = frames or next(iter(self.frame_folders))
        if self.frames not in self.frame_folders:
            raise UserError(f"data.adapter.frames is '{frames}'; expected one of {', '.join(self.frame_folders)}")

    def clips(self, labels: str | None = None, corrections: str = "official") -> pd.DataFrame:
        """Return the clip table (`clips.COLUMNS`) under one of `label_versions` and a level of `correct`; raises
        UserError as `annotations` does, or if rows lack a key or share one.
        """
        source, table = self.annotations(labels)
        return require_keys(correct(table, corrections), source)

    def annotations(self, labels: str | None = None) -> tuple[str, pd.DataFrame]:
        """Return the path of the annotation and its clip table as written, including duplicate and broken rows; raises
        UserError if the folder, the workbook or a column is missing, or the version is unknown.
        """
        version = labels or self.default_labels()
        if version not in self.label_versions:
            raise UserError(
                f"{self.name} has no labels '{version}' (protocol.labels). Known: {', '.join(self.label_versions)}"
            )
        require_folder(self.root, self.request_page, self.root_key)
        path, rows = self._annotations(version)
        if rows.empty:
            raise UserError(f"{path} holds no clips; copy the file again from the release.")
        about = {"dataset": self.table_name, "fps": self.fps}
        return str(path), clip_table(rows.assign(**{name: value for name, value in about.items() if name not in rows}))

    def default_labels(self) -> str:
        """Return the label version for a protocol that names none."""
        return self.label_versions[0]

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        """Return the annotation file and its rows with those `clips.COLUMNS` that are known; dataset and fps only if
        they vary. `folder` is where a clip's frames should be; `self.folders()` finds it regardless of case.
        """
        path = find_workbook(self.root, self.workbooks[version])
        rows = read_sheet(path, self.columns, self.sheet, self.optional_columns)
        if self.digits:
            rows["subject"] = padded(rows["subject"], self.digits)
        if "objective" in rows:
            rows["objective"] = roman(rows["objective"])
        rows = self._as_meant(rows.assign(emotion=rows["emotion"].str.lower()))
        return path, rows.assign(folder=self._folders_of(rows))

    def _as_meant(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the sheet, interpreted according to this dataset's quirks."""
        return rows

    def _folders_of(self, rows: pd.DataFrame) -> list[str]:
        """Return the folder of each row's frames, see `clip_folders`."""
        names = self.clip_folders if isinstance(self.clip_folders, tuple) else self.clip_folders[self.frames]
        folders = self.folders()
        return [
            folders.first([part.format_map(row) for part in name.split("/")] for name in names)
            for row in rows.to_dict("records")
        ]

    def unlabelled(self, subject: str, clip: str) -> pd.DataFrame:
        """Return a one-row table for an unlabelled clip on disk, with the interval of its files."""
        raise UserError(f"{self.name} cannot read a clip without a label ({subject}/{clip}, protocol.include)")

    def frame_root(self) -> Path:
        """Return the folder of the chosen frames: the candidate that holds subjects, in `root` or up to three levels
        deeper; else the first that exists, or else the first. Raises UserError if several deeper ones hold subjects.
        """
        candidates = self.frame_folders[self.frames]
        if place := next((place for place in self._places(self.root) if self.holds_subjects(place)), None):
            return place
        tops = {kind: {name.split("/")[0].lower() for name in names} for kind, names in self.frame_folders.items()}
        passed_over = self.other_folders.union(*tops.values()) - tops[self.frames]
        level = [self.root]
        for _ in range(_LEVELS_DEEPER):
            below = [folder for above in level for folder in subfolders(above)]
            level = [f for f in below if f.name.lower() not in passed_over and not self._is_subject(f.name)]
            found = {place: None for folder in level for place in self._places(folder) if self.holds_subjects(place)}
            if len(found) > 1:
                raise UserError(
                    f"several folders in {self.root} may hold the frames of {self.name}: "
                    f"{', '.join(map(str, found))}.\n"
                    f"  Expected one; set {self.root_key} to the right folder."
                )
            if found:
                return next(iter(found))
        return existing(self.root, candidates)

    def found_deeper(self) -> str:
        """Return the folder that frames are read from if the release puts them elsewhere, else ''."""
        place = self.frame_root()
        return "" if place in self._places(self.root) or place == self.root else str(place)

    def has_frames(self) -> bool:
        """Return True if there is a folder of the chosen frames; `root` itself is one if it holds a subject."""
        place = self.frame_root()
        return is_folder(place) and (place != self.root or self.holds_subjects(place))

    def holds_subjects(self, place: Path) -> bool:
        return any(self._is_subject(folder.name) for folder in subfolders(place))

    def _is_subject(self, name: str) -> bool:
        return re.fullmatch(self.subject_folders, name, re.IGNORECASE) is not None

    def _places(self, folder: Path) -> list[Path]:
        """Return the existing candidates for the chosen frames in a folder, in order of preference."""
        found = (existing(folder, [candidate]) for candidate in self.frame_folders[self.frames])
        return [place for place in found if is_folder(place)]

    def use_crops(self) -> None:
        """Read the owners' own face crops instead of the chosen frames; raises UserError if there are none."""
        if self.crops is None:
            raise UserError(
                f"{self.name} is published without face crops (data.faces.method=official_crops).\n"
                "  Expected CASME II, CAS(ME)², SMIC, CASME or MMEW; use data.faces.method=mtcnn."
            )
        self.frames = self.crops

    def folders(self) -> Folders:
        """Return a case-insensitive finder of the clips' folders below `frame_root`."""
        return Folders(self.frame_root())

    def require_frames(self) -> None:
        if not self.has_frames():
            candidates = " or ".join(name for name in self.frame_folders[self.frames] if name != ".")
            raise UserError(
                f"{self.root} holds no folder {candidates or 'of a subject'}.\n"
                f"  Expected the frames of {self.name} there; unpack them, or correct {self.root_key} or "
                "data.adapter.frames."
            )

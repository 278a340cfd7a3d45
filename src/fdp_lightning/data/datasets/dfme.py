"""DFME."""

import re
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.folders import is_folder, subfolders
from fdp_lightning.data.datasets.sheets import READABLE, tables_in
from fdp_lightning.data.datasets.workbook import MissingColumnError, read_sheet
from fdp_lightning.errors import UserError

_COLUMNS = {
    "subject": "Subject", "clip": "Filename", "onset": "OnsetFrame", "apex": "ApexFrame", "offset": "OffsetFrame",
    "fps": "Fps",
}  # fmt: skip
_EMOTION, _UNITS = {"emotion": "Emotion"}, {"action_units": "AU"}
_TEST = r"test[ _-]*(?:set|data|ing|part)?[ _-]*{}(?![a-z])"
# Part → pattern in the lower-case names of its workbook and folder; none of the names is documented.
_SPLITS = {"train": "train", "test_a": _TEST.format("a"), "test_b": _TEST.format("b")}


class DFME(FaceDataset):
    """DFME: 1856 + 474 + 299 micro-expressions of 176 + 42 + 41 subjects (train, test A, test B), 1024×768 grey.

    Paper: Zhao et al., "DFME: A new benchmark for dynamic facial micro-expression recognition", IEEE TAFFC 15(3), 2024.
    Recorded at 500, 300 and 200 fps; the annotation states the rate of each clip. No subject is in two parts.

    Layout under `root` (the folders are a guess, because they are not documented)::

        training_full_with_AU.xlsx, test_A_….xlsx, test_B_….xlsx   found by 'train', 'test_A' and 'test_B' in the name
        train_data/sub0003_01/00012.png                            folders of the parts are found likewise
        sub0003_01/00012.png                                       or all clips in one folder

    Quirks: frame rates are mixed; AUs have the prefixes L, R, D and M; the labels of a test part may be withheld, in
    which case the emotion is ''. A test part without a workbook, or without intervals in it, is not in the table.
    """

    name = "dfme"
    fps = 500.0  # most clips; the table gives each clip's own
    request_page = "mea-lab-421.github.io"
    label_versions = ("released",)
    subject_folders = r"sub\d+.*|.*train.*|.*test.*"
    frame_folders: ClassVar = {"selected": (".",)}

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        workbooks = self._workbooks()
        if "train" not in workbooks:
            there = [path.name for path in tables_in(self.root)] or ["none"]
            raise UserError(
                f"the annotation workbook of the training part is missing in {self.root}.\n"
                f"  Expected 'train' in its name; workbooks in that folder: {', '.join(there)}\n"
                "  Copy it there from the dataset's release."
            )
        path, train = _read(workbooks["train"], _COLUMNS | _EMOTION, _UNITS)
        parts = [train.assign(split="train")]
        for split in sorted(workbooks.keys() - {"train"}):
            # A list of test clips without intervals is not an annotation; the protocol's counts report what is missing.
            with suppress(MissingColumnError):
                parts.append(_read(workbooks[split], _COLUMNS, _EMOTION | _UNITS)[1].assign(split=split))
        rows = pd.concat(parts, ignore_index=True)
        return path, rows.assign(
            fps=pd.to_numeric(rows["fps"], errors="coerce").astype("float64"),
            emotion=rows["emotion"].str.lower(),
            folder=self._folders_of(rows),
        )

    def _workbooks(self) -> dict[str, list[Path]]:
        tables: list[Path] = []
        for levels in ("*", "*/*", "*/*/*"):
            tables += tables_in(self.root, levels)
            if training := [path for path in tables if _split_of(path.stem) == "train"]:
                # The others are near it; further down are thousands of clip folders.
                tables += tables_in(training[0].parent, "*/*")
                break
        found: dict[str, list[Path]] = {}
        for path in dict.fromkeys(tables):
            if split := _split_of(path.stem):
                found.setdefault(split, []).append(path)
        # Files that must first be converted are used only if there is no readable one.
        return {split: [p for p in paths if p.suffix.lower() in READABLE] or paths for split, paths in found.items()}

    def _folders_of(self, rows: pd.DataFrame) -> list[str]:
        folders = self.folders()
        parents = {split: _parents(folders.root, split) for split in _SPLITS}
        return [folders.first([*parent, row.clip] for parent in parents[row.split]) for row in rows.itertuples()]


def _split_of(name: str) -> str | None:
    """Return the part ('train', 'test_a' or 'test_b') that a workbook's or folder's name states, or None."""
    return next((split for split, form in _SPLITS.items() if re.search(form, name.lower())), None)


def _parents(root: Path, split: str) -> list[tuple[str, ...]]:
    """Return the folders that may hold a part's clips, as path parts below the root: the part's own, then the root."""
    own = [path for path in subfolders(root) if _split_of(path.name) == split]
    # An archive unpacked into a folder of the same name is one level deeper.
    inner = [path / path.name for path in own if is_folder(path / path.name)]
    return [*(path.relative_to(root).parts for path in inner + own), ()]


def _read(paths: list[Path], columns: dict[str, str], optional: dict[str, str]) -> tuple[Path, pd.DataFrame]:
    """Return the readable workbook with the most action units, and its rows; if none is readable, raise the first
    error.
    """
    tables, errors = [], []
    for path in paths:
        try:
            tables.append((path, read_sheet(path, columns, optional=optional)))
        except UserError as error:
            errors.append(error)
    if not tables:
        raise errors[0]
    return max(tables, key=lambda found: int((found[1]["action_units"] != "").sum()))

"""CAS(ME)²."""

import re
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.folders import subfolders
from fdp_lightning.data.datasets.workbook import all_rows, find_workbook, padded, read_headerless_sheet
from fdp_lightning.errors import UserError

_ORDER = ("participant", "clip", "onset", "apex", "offset", "action_units", "emotion", "expression")
_COLUMNS = {name: place for place, name in enumerate(_ORDER)}
# Video codes of sheet 3, for copies in which that sheet is missing (a .csv has only the first) or incomplete.
_CODES = {
    "disgust1": "0101", "disgust2": "0102", "anger1": "0401", "anger2": "0402", "happy1": "0502", "happy2": "0503",
    "happy3": "0505", "happy4": "0507", "happy5": "0508",
}  # fmt: skip
# Participant → raw subject id, both ascending, for copies in which sheet 2 is missing.
_IDS = dict(zip(map(str, range(1, 23)), map(str, (15, 16, *range(19, 28), *range(29, 39), 40)), strict=True))


class CASMESquared(FaceDataset):
    """CAS(ME)²: 57 micro-expressions of 14 subjects (357 clips of 22 with macro-expressions), 30 fps, 640×480 colour.

    Paper: Qu et al., "CAS(ME)²: A database for spontaneous macro-expression and micro-expression spotting and
    recognition", IEEE TAFFC 9(4), 2018.

    Layout under `root`::

        CAS(ME)^2code_final.xlsx                      three sheets without headers: clips, participants, videos
        selectedpic/s26/disgust1_1/img371.jpg         the clips
        cropped/26/disgust1_1/…                       the owners' crops, of 341 of the 357 clips
        rawpic/s26/26_0101disgustingteeth/img001.jpg  whole recordings, named by subject and video

    Quirks: the clips' sheet numbers participants from 1 to 22, whereas folders and this table use the raw subject id
    ('15' to '40'); 44 macro rows have the offset 0, meaning not observed: the apex is used instead, with a `remark`;
    the apex of four macro rows is outside their interval; some AU cells are blank or contain '14or23'; one self-report
    is 'happyiness'.

    The labels 'micro' comprise only the micro-expressions, 'all' the macro-expressions too.
    """

    name = "casme_sq"
    fps = 30.0
    request_page = "casme.psych.ac.cn"
    label_versions = ("micro", "all")
    workbooks: ClassVar = dict.fromkeys(
        label_versions, ("CAS(ME)^2code_final.xlsx", "CAS(ME)^2code_final(Updated).xlsx", "CAS(ME)2code_final.xlsx")
    )
    clip_folders: ClassVar = {"selected": ("s{subject}/{clip}",), "cropped": ("{subject}/{clip}",)}
    subject_folders = r"s?\d+"
    frame_folders: ClassVar = {"selected": ("selectedpic",), "cropped": ("cropped",), "raw": ("rawpic",)}
    crops = "cropped"
    recordings = frozenset({"raw"})

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        path = find_workbook(self.root, self.workbooks[version])
        rows = read_headerless_sheet(path, _COLUMNS)
        rows["participant"] = padded(rows["participant"], 1)
        marks = [rows["participant"].str.isdigit(), rows["clip"].str.contains("_"), _numbers(rows["onset"]).notna()]
        # Prose has none of these marks; a row that lacks only one is kept, so that it is reported.
        rows = rows[pd.concat(marks, axis=1).sum(axis=1) >= 2].reset_index(drop=True)
        if version == "micro":
            rows = rows[rows["expression"].str.contains("micro", case=False)].reset_index(drop=True)
        ids, codes = _lists(path)
        if unknown := sorted(set(rows["participant"]) - set(ids) - {""}):
            raise UserError(
                f"{path}: no subject id for participant {', '.join(unknown)} in the second sheet.\n"
                "  Expected rows such as 15, s15, 1 there; copy the workbook again from the release."
            )
        subjects = [ids.get(participant, "") for participant in rows["participant"]]
        rows = _unobserved(rows.assign(subject=subjects, emotion=rows["emotion"].str.lower()))
        if self.frames != "raw":
            return path, rows.assign(folder=self._folders_of(rows))
        find, folders = self.folders().find, []
        videos = rows["clip"].str.replace(r"_[^_]*$", "", regex=True).str.lower()  # 'anger1' of 'anger1_2'
        for subject, video in zip(subjects, videos, strict=True):
            # A recording's name is subject and video ('26_0101'), then an English title.
            parent, start = Path(find(f"s{subject}")), f"{subject}_{codes.get(video, '?')}"
            named = (folder for folder in subfolders(parent) if folder.name.startswith(start))
            folders.append(str(next(named, parent / start)))
        return path, rows.assign(folder=folders)


def _lists(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return participant → raw subject id, and video → code; cells are recognised by form, in any column order."""
    ids: dict[str, str] = {}
    codes = dict(_CODES)
    for cells in all_rows(path):
        folders = [cell[1:] for cell in cells if re.fullmatch(r"[sS]\d+", cell)]
        names = [cell.lower() for cell in cells if re.fullmatch(r"[A-Za-z]{2,}\d+", cell)]
        numbers = [cell for cell in cells if cell.isdigit() and cell not in folders]
        if folders and numbers:
            ids.setdefault(numbers[0], folders[0])
        elif names and numbers:
            codes[names[0]] = numbers[0].zfill(4)  # spreadsheets turn 0101 into the number 101
    return ids or _IDS, codes


def _unobserved(rows: pd.DataFrame) -> pd.DataFrame:
    """Replace an offset of 0 by the apex, remove an apex of 0, and note each change in `remark`."""
    no_apex = _numbers(rows["apex"]) == 0
    apex = rows["apex"].mask(no_apex, "")
    no_offset = (_numbers(rows["offset"]) == 0) & _numbers(apex).notna()
    remarks = no_apex.map({True: "apex 0 is read as unknown", False: ""})
    remarks = remarks.mask(no_offset, "offset 0 means not observed; the apex is used instead")
    return rows.assign(apex=apex, offset=rows["offset"].mask(no_offset, apex), remark=remarks)


def _numbers(cells: pd.Series) -> pd.Series:
    return pd.to_numeric(cells, errors="coerce")

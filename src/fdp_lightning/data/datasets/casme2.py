"""CASME II."""

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.workbook import MissingTableError, find_workbook, padded, read_sheet, roman
from fdp_lightning.data.faces.frames import list_frames

_OBJECTIVE_FILE = "CASME2-ObjectiveClasses.xlsx"
_CLASS = {"objective": "Objective Class|Objective Classes"}


class CASME2(FaceDataset):
    """CASME II: 255 micro-expressions of 26 subjects at 200 fps, 640×480 colour.

    Paper: Yan et al., "CASME II: An improved spontaneous micro-expression database and the baseline evaluation", PLoS
    ONE 9(1), 2014. The two releases of the labels differ in the emotion of three clips of subject 24 (sadness in 2014,
    surprise in 2019) and in the action units of 56 clips.
    Objective classes: Davison, Merghani & Yap, J. Imaging 4(10), 2018.

    Layout under `root`::

        CASME2-coding-20140508.xlsx, CASME2-coding-20190701.xlsx
        CASME2-ObjectiveClasses.xlsx                     or the column 'Objective Classes' of the sheet of 2019
        CASME2_RAW_selected/sub01/EP02_01f/img46.jpg     onset..offset; frame numbers are not padded
        CASME2_RAW/CASME2-RAW/sub01/EP02_01f/img1.jpg    whole recordings
        Cropped/sub01/EP02_01f/reg_img46.jpg             the owners' crops

    Quirks: the subject is text ('01') that spreadsheets turn into a number; ApexFrame is '/' for 04/EP12_01f; AU
    cells mix numbers and text; clip names are irregular; sub09/EP02_02f and sub24/EP02_07 are on disk without a label.
    """

    name = "casme2"
    fps = 200.0
    request_page = "casme.psych.ac.cn"
    label_versions = ("2019", "2014")
    workbooks: ClassVar = {"2019": ("CASME2-coding-20190701.xlsx",), "2014": ("CASME2-coding-20140508.xlsx",)}
    columns: ClassVar = {
        "subject": "Subject", "clip": "Filename", "onset": "OnsetFrame", "apex": "ApexFrame", "offset": "OffsetFrame",
        "action_units": "Action Units", "emotion": "Estimated Emotion",
    }  # fmt: skip
    optional_columns = _CLASS
    digits = 2
    subject_folders = r"sub\d+"
    clip_folders = ("sub{subject}/{clip}",)
    frame_folders: ClassVar = {
        "selected": ("CASME2_RAW_selected",),
        "raw": ("CASME2_RAW/CASME2-RAW", "CASME2-RAW"),
        "cropped": ("Cropped", "Cropped-updated/Cropped"),
    }
    crops = "cropped"
    recordings = frozenset({"raw"})

    def default_labels(self) -> str:
        """Return the newest label version whose workbook is present."""
        for version in self.label_versions:
            with suppress(MissingTableError):
                find_workbook(self.root, self.workbooks[version])
                return version
        return super().default_labels()

    def _as_meant(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with the objective class from the separate workbook, else from the sheet, else ''."""
        try:
            path = find_workbook(self.root, [_OBJECTIVE_FILE])
        except MissingTableError:  # only some protocols need it, and these report that they find no clips
            return rows
        sheet = read_sheet(path, {"subject": "Subject", "clip": "Filename", **_CLASS})
        keys = zip(padded(sheet["subject"], 2), sheet["clip"].str.lower(), strict=True)
        class_of = dict(zip(keys, roman(sheet["objective"]), strict=True))
        keys_here = zip(rows["subject"], rows["clip"].str.lower(), rows["objective"], strict=True)
        return rows.assign(objective=[class_of.get((subject, clip)) or own for subject, clip, own in keys_here])

    def unlabelled(self, subject: str, clip: str) -> pd.DataFrame:
        """Return a one-row table for an unlabelled clip, with the interval of its files, or 0..0 if it has none."""
        row = pd.DataFrame([{"subject": subject, "clip": clip}])
        folder = self._folders_of(row)[0]
        numbers = [file.number for file in list_frames(Path(folder))] if Path(folder).is_dir() else []
        first, last = (numbers[0], numbers[-1]) if numbers else (0, 0)
        return row.assign(onset=first, offset=last, folder=folder)

"""CASME II."""

from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.adapter import FaceDataset
from fdp_lightning.data.workbook import find_workbook, padded, read_sheet
from fdp_lightning.errors import UserError

_COLUMNS = {
    "subject": "Subject",
    "clip": "Filename",
    "onset": "OnsetFrame",
    "apex": "ApexFrame",
    "offset": "OffsetFrame",
    "action_units": "Action Units",
    "emotion": "Estimated Emotion",
}


class CASME2(FaceDataset):
    """CASME II: 255 micro-expressions of 26 subjects at 200 fps, 640×480 colour.

    Paper: Yan et al., "CASME II: An improved spontaneous micro-expression database and the baseline evaluation", PLoS
    ONE 9(1), 2014. Two releases of the labels differ in three clips of subject 24 (sadness in 2014, surprise in 2019).

    Layout under `root`::

        CASME2-coding-20140508.xlsx, CASME2-coding-20190701.xlsx
        CASME2_RAW_selected/sub01/EP02_01f/img46.jpg     onset..offset; frame numbers are not padded
        CASME2_RAW/CASME2-RAW/sub01/EP02_01f/img1.jpg    whole recordings
        Cropped/sub01/EP02_01f/reg_img46.jpg             the owners' crops

    Quirks: the subject is text ('01') that turns into a number in careless hands; ApexFrame is '/' for 04/EP12_01f; AU
    cells mix numbers and text; clip names are irregular.

    Args:
        root: the folder of the layout above.
        frames: 'selected', 'raw' or 'cropped'.
        name: see `FaceDataset`.
    """

    name = "casme2"
    fps = 200.0
    request_page = "casme.psych.ac.cn"
    label_versions = ("2019", "2014")
    workbooks: ClassVar = {"2019": "CASME2-coding-20190701.xlsx", "2014": "CASME2-coding-20140508.xlsx"}
    frame_folders: ClassVar = {
        "selected": ("CASME2_RAW_selected",),
        "raw": ("CASME2_RAW/CASME2-RAW", "CASME2-RAW"),
        "cropped": ("Cropped", "Cropped-updated/Cropped"),
    }

    def __init__(self, root: str | Path, frames: str = "selected", name: str | None = None) -> None:
        super().__init__(root, name)
        if frames not in self.frame_folders:
            raise UserError(f"data.adapter.frames is '{frames}'; expected one of {', '.join(self.frame_folders)}")
        self.frames = frames

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        path = find_workbook(self.root, self.workbooks[version], self.request_page)
        rows = read_sheet(path, _COLUMNS)
        folder = self._sub_folder(*self.frame_folders[self.frames])
        subject = padded(rows["subject"], 2)
        return path, rows.assign(
            subject=subject,
            emotion=rows["emotion"].str.lower(),
            folder=[str(folder / f"sub{s}" / clip) for s, clip in zip(subject, rows["clip"], strict=True)],
        )

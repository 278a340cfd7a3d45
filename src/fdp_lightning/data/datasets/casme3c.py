"""CAS(ME)³, part C."""

from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.folders import Folders
from fdp_lightning.data.datasets.workbook import find_workbook, padded, read_sheet, sheet_or_first

_COLUMNS = {
    "subject": "sub",
    "clip": "count",
    "onset": "onset",
    "offset": "offset",
    "action_units": "au",
    "emotion": "emotion",
}
_PARTS = ("part_C/RGB_Depth/part_C/part_C", "part_C/RGB_Depth/part_C", "part_C/part_C", "part_C", ".")


class CASME3C(FaceDataset):
    """CAS(ME)³ part C, a mock crime: 165 micro-expressions of 30 subjects at 30 fps, 1280×720 colour and depth.

    Paper: Li et al., "CAS(ME)³: A third generation facial spontaneous micro-expression database with depth information
    and high ecological validity", IEEE TPAMI 45(3), 2023.

    Layout under `root`::

        CAS(ME)3_part_C_ME.xlsx          sheet mockCrimeME
        part_C/01/1/color/12.jpg         by subject and clip; 01/1/… in `root` itself works too
        part_C/01/a/color/12.jpg         or the subject's one recording, where no clips are cut out
        part_C/01/1/depth/12.png

    Quirks: no apex is annotated; AU are separated by commas, one of them a full-width '，'; there is no subject 22; a
    subject without a clip may have a row of its own, which is left out.

    Args:
        root: folder with the layout above.
        frames: 'colour' or 'depth'.
        name: dataset name in the clip table.
    """

    name = "casme3c"
    fps = 30.0
    request_page = "github.com/jingtingEmmaLi/CAS-ME-3"
    label_versions = ("released",)
    workbook = "CAS(ME)3_part_C_ME.xlsx"
    subject_folders = r"\d{2}"
    frame_folders: ClassVar = {"colour": _PARTS, "depth": _PARTS}
    recordings = frozenset({"colour", "depth"})
    gaps_are_normal = True
    other_folders = frozenset({"depth"})

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        path = find_workbook(self.root, self.workbook, self.request_page)
        rows = read_sheet(path, _COLUMNS, sheet=sheet_or_first(path, "mockCrimeME"))
        says_something = (rows[["onset", "offset", "action_units", "emotion"]] != "").any(axis=1)
        rows = rows[says_something].reset_index(drop=True)
        folders = self.folders()
        subject = padded(rows["subject"], 2)
        return path, rows.assign(
            subject=subject,
            emotion=rows["emotion"].str.lower(),
            action_units=rows["action_units"].str.replace("，", ","),
            folder=[self._folder(folders, *names) for names in zip(subject, rows["clip"], strict=True)],
        )

    def _folder(self, folders: Folders, subject: str, clip: str) -> str:
        kind = "color" if self.frames == "colour" else self.frames
        places = [folders.find(subject, recording, kind) for recording in (clip, "a")]
        return next((place for place in places if Path(place).is_dir()), places[0])

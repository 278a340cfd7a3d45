"""SAMM."""

from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.workbook import find_workbook, padded, read_sheet, roman

_COLUMNS = {
    "subject": "Subject",
    "clip": "Filename",
    "onset": "Onset Frame",
    "apex": "Apex Frame",
    "offset": "Offset Frame",
    "action_units": "Action Units",
    "emotion": "Estimated Emotion",
    "objective": "Objective Classes|Objective Class",
}


class SAMM(FaceDataset):
    """SAMM: 159 micro-movements of 29 subjects at 200 fps, 960×650 grey.

    Paper: Davison et al., "SAMM: A spontaneous micro-facial movement dataset", IEEE TAFFC 9(1), 2018.

    Layout under `root`::

        SAMM_Micro_FACS_Codes_v2.xlsx        13 rows of prose, the header in Excel row 14 (row 1 in another copy)
        006/006_1_2/006_05562.jpg            zero padding differs from clip to clip

    Quirks: subjects are text, '006' to '037'; the apex of 028_4_1 and 032_3_1 lies outside their interval; an older
    copy has another offset for 013_1_9 (see corrections.csv); some AU cells say "or".

    Args:
        root: folder with the layout above.
        name: dataset name in the clip table.
    """

    name = "samm"
    fps = 200.0
    request_page = "personalpages.manchester.ac.uk/staff/adrian.davison/SAMM.html"
    label_versions = ("v2",)
    workbook = "SAMM_Micro_FACS_Codes_v2.xlsx"
    subject_folders = r"\d{3}"
    frame_folders: ClassVar = {"selected": (".",)}

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        path = find_workbook(self.root, self.workbook, self.request_page)
        rows = read_sheet(path, _COLUMNS)
        subject = padded(rows["subject"], 3)
        folders = self.folders()
        return path, rows.assign(
            subject=subject,
            emotion=rows["emotion"].str.lower(),
            objective=roman(rows["objective"]),
            folder=[folders.find(s, clip) for s, clip in zip(subject, rows["clip"], strict=True)],
        )

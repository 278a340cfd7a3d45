"""CAS(ME)³, part A."""

from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.workbook import find_workbook, padded, read_sheet, roman, sheet_or_first

_COLUMNS = {
    "subject": "Subject",
    "clip": "Filename",
    "onset": "Onset",
    "apex": "Apex",
    "offset": "Offset",
    "action_units": "AU|AUs|Action Units",
    "objective": "Objective class|Objective classes",
    "emotion": "emotion",
}
_PARTS = ("part_A/data/part_A_split/part_A", "part_A/data/part_A", "part_A/part_A", "part_A", ".")
_CUT = ("Part_A_ME_clip/Part_A_ME_clip", "Part_A_ME_clip")


class CASME3A(FaceDataset):
    """CAS(ME)³ part A: 860 micro-expressions of 94 subjects at 30 fps, 1280×720 colour and depth.

    Paper: Li et al., "CAS(ME)³: A third generation facial spontaneous micro-expression database with depth information
    and high ecological validity", IEEE TPAMI 45(3), 2023. The counts are those of version 2 of the labels.

    Layout under `root`::

        cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx   sheet label
        part_A/spNO.1/a/color/12.jpg                whole recordings; spNO.1/a/… in `root` itself works too
        part_A/spNO.1/a/depth/12.png
        Part_A_ME_clip/frame/spNO.1_a_355/355.jpg   the clips cut out, named by subject, recording and onset

    Quirks: 191 recordings hold several clips; their letters occur in the other case on disk; 'others' is also written
    'Others'; 55 clips have onset = apex, 72 are longer than 60 frames, 18 shorter than 8; about one in ten misses
    frames, which the owners call normal; six rows have impossible frame numbers (see corrections.csv). Version 1 of
    the labels (921 rows; protocol.labels=v1, no counts of its classes are published) is an .xls and has to be saved as
    .xlsx.

    Args:
        root: folder with the layout above.
        frames: 'colour', 'depth' or 'clips' (colour, cut out).
        name: dataset name in the clip table.
    """

    name = "casme3a"
    fps = 30.0
    request_page = "github.com/jingtingEmmaLi/CAS-ME-3"
    label_versions = ("v2", "v1")
    workbooks: ClassVar = {
        "v2": ("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",),
        "v1": (
            "cas(me)3_part_A_ME_label_JpgIndex_v1.xlsx",
            "cas(me)3_part_A_ME_label_JpgIndex.xlsx",
            "CAS(ME)3_part_A_v1.xlsx",
        ),
    }
    subject_folders = r"spno\.\d+.*"
    frame_folders: ClassVar = {"colour": _PARTS, "depth": _PARTS, "clips": tuple(f"{folder}/frame" for folder in _CUT)}
    recordings = frozenset({"colour", "depth"})
    gaps_are_normal = True
    other_folders = frozenset({"depth"})

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        first, *others = self.workbooks[version]
        path = find_workbook(self.root, first, self.request_page, *others)
        rows = read_sheet(path, _COLUMNS, sheet=sheet_or_first(path, "label"))
        # 'spno. 149', 'SPNO149' and 149 become 'spNO.149'; anything else stays.
        numbers = padded(rows["subject"].str.replace(r"(?i)^spno[\s.]*", "", regex=True), 1)
        rows["subject"] = numbers.str.replace(r"^(\d+)$", r"spNO.\1", regex=True)
        return path, rows.assign(
            emotion=rows["emotion"].str.lower(), objective=roman(rows["objective"]), folder=self._folder_of(rows)
        )

    def _folder_of(self, rows: pd.DataFrame) -> list[str]:
        folders = self.folders()
        if self.frames == "clips":
            return [folders.find(f"{row.subject}_{row.clip}_{row.onset}") for row in rows.itertuples()]
        kind = "color" if self.frames == "colour" else self.frames
        return [folders.find(str(row.subject), str(row.clip), kind) for row in rows.itertuples()]

"""CAS(ME)³, part A."""

from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.workbook import padded

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

    Quirks: 191 recordings hold several clips; the letters of recordings differ in case on disk; 'others' is also
    written 'Others'; 55 clips have onset = apex, 72 are longer than 60 frames, 18 shorter than 8; about one clip in ten
    lacks frames, which the owners call normal; six rows have impossible frame numbers (see corrections.csv). Version 1
    of the labels (921 rows; protocol.labels=v1, without published counts) is an .xls and has to be saved as .xlsx.
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
    sheet = "label"
    columns: ClassVar = {
        "subject": "Subject", "clip": "Filename", "onset": "Onset", "apex": "Apex", "offset": "Offset",
        "action_units": "AU|AUs|Action Units", "objective": "Objective class|Objective classes", "emotion": "emotion",
    }  # fmt: skip
    subject_folders = r"spno\.\d+.*"
    frame_folders: ClassVar = {"colour": _PARTS, "depth": _PARTS, "clips": tuple(f"{folder}/frame" for folder in _CUT)}
    clip_folders: ClassVar = {
        "colour": ("{subject}/{clip}/color",), "depth": ("{subject}/{clip}/depth",),
        "clips": ("{subject}_{clip}_{onset}",),
    }  # fmt: skip
    recordings = frozenset({"colour", "depth"})
    gaps_are_normal = True
    other_folders = frozenset({"depth"})

    def _as_meant(self, rows: pd.DataFrame) -> pd.DataFrame:
        # 'spno. 149', 'SPNO149' and 149 become 'spNO.149'; anything else is unchanged.
        numbers = padded(rows["subject"].str.replace(r"(?i)^spno[\s.]*", "", regex=True), 1)
        return rows.assign(subject=numbers.str.replace(r"^(\d+)$", r"spNO.\1", regex=True))

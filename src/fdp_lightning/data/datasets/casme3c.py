"""CAS(ME)³, part C."""

from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset

_PARTS = ("part_C/RGB_Depth/part_C/part_C", "part_C/RGB_Depth/part_C", "part_C/part_C", "part_C", ".")


class CASME3C(FaceDataset):
    """CAS(ME)³ part C, a mock crime: 165 micro-expressions of 30 subjects at 30 fps, 1280×720 colour and depth.

    Paper: Li et al., "CAS(ME)³: A third generation facial spontaneous micro-expression database with depth information
    and high ecological validity", IEEE TPAMI 45(3), 2023.

    Layout under `root`::

        CAS(ME)3_part_C_ME.xlsx          sheet mockCrimeME
        part_C/01/1/color/12.jpg         by subject and clip; 01/1/… in `root` itself works too
        part_C/01/a/color/12.jpg         or the subject's only recording, if no clips are cut out
        part_C/01/1/depth/12.png

    Quirks: no apex is annotated; AUs are separated by commas, one of them a full-width '，'; there is no subject 22; a
    subject without a clip may have a row, which is left out.
    """

    name = "casme3c"
    fps = 30.0
    request_page = "github.com/jingtingEmmaLi/CAS-ME-3"
    label_versions = ("released",)
    workbooks: ClassVar = {"released": ("CAS(ME)3_part_C_ME.xlsx",)}
    sheet = "mockCrimeME"
    columns: ClassVar = {
        "subject": "sub", "clip": "count", "onset": "onset", "offset": "offset", "action_units": "au",
        "emotion": "emotion",
    }  # fmt: skip
    digits = 2
    subject_folders = r"\d{2}"
    frame_folders: ClassVar = {"colour": _PARTS, "depth": _PARTS}
    clip_folders: ClassVar = {
        "colour": ("{subject}/{clip}/color", "{subject}/a/color"),
        "depth": ("{subject}/{clip}/depth", "{subject}/a/depth"),
    }
    recordings = frozenset({"colour", "depth"})
    gaps_are_normal = True
    other_folders = frozenset({"depth"})

    def _as_meant(self, rows: pd.DataFrame) -> pd.DataFrame:
        has_content = (rows[["onset", "offset", "action_units", "emotion"]] != "").any(axis=1)
        rows = rows[has_content].reset_index(drop=True)
        return rows.assign(action_units=rows["action_units"].str.replace("，", ","))

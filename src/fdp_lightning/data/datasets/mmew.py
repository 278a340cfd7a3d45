"""The micro-expressions of MMEW."""

import re
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset

_EMOTIONS = {
    "01": "happiness", "02": "surprise", "03": "disgust", "04": "others", "05": "fear", "06": "sadness", "07": "anger"
}  # fmt: skip
_NAME = re.compile(r"S\d+-(\d+)-\d+", re.IGNORECASE | re.ASCII)


class MMEW(FaceDataset):
    """MMEW: 300 micro-expressions of 30 subjects at 90 fps (from the literature, unchecked), 231×231 colour crops.

    Paper: Ben et al., "Video-based facial micro-expression analysis: A survey of datasets, features and algorithms",
    IEEE TPAMI 44(9), 2022. Counts: surprise 89, disgust 72, others 66, happiness 36, fear 16, sadness 13, anger 8.

    Layout under `root`::

        MMEW_Micro_Exp.xlsx
        Micro_Expression/happiness/S01-01-001/1.jpg    by emotion; the frames start at 1

    Quirks: a clip's name consists of subject, emotion (01 happiness, 02 surprise, 03 disgust, 04 others, 05 fear, 06
    sadness, 07 anger) and number. If the sheet states another emotion, the sheet's is used and the clip gets a remark.
    Subjects are '01', as in the names, whatever the form of the cell. Only crops are published.
    """

    name = "mmew"
    fps = 90.0
    request_page = "dpailab.com/database.html"
    label_versions = ("v1",)
    workbooks: ClassVar = {"v1": ("MMEW_Micro_Exp.xlsx",)}
    columns: ClassVar = {
        "subject": "Subject", "clip": "Filename", "onset": "OnsetFrame", "apex": "ApexFrame", "offset": "OffsetFrame",
        "action_units": "Action Units", "emotion": "Estimated Emotion",
    }  # fmt: skip
    digits = 2
    subject_folders = "|".join([*_EMOTIONS.values(), _NAME.pattern])  # clips are in folders named by emotion
    frame_folders: ClassVar = {"cropped": ("Micro_Expression", "MMEW/Micro_Expression", "MMEW_Final/Micro_Expression")}
    clip_folders = ("{place}/{clip}", "{other_place}/{clip}")  # by the sheet's emotion, or by that of the name
    crops = "cropped"

    def _as_meant(self, rows: pd.DataFrame) -> pd.DataFrame:
        numbers = rows["clip"].str.extract(rf"\A{_NAME.pattern}\Z", flags=_NAME.flags, expand=False)
        stated, named = rows["emotion"], numbers.str.zfill(2).map(_EMOTIONS).fillna("")
        remark = "the name states " + named + ", the sheet " + stated.where(stated != "", "nothing")
        remark = (remark + "; the sheet is used").where(~named.isin([""]) & (named != stated), "")
        place = stated.where(stated != "", named)
        return rows.assign(remark=remark, place=place, other_place=named.where(named != "", place))

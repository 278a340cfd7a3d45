"""The micro-expressions of MMEW."""

import re
from pathlib import Path
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.folders import Folders
from fdp_lightning.data.datasets.workbook import find_workbook, padded, read_sheet

_COLUMNS = {
    "subject": "Subject",
    "clip": "Filename",
    "onset": "OnsetFrame",
    "apex": "ApexFrame",
    "offset": "OffsetFrame",
    "action_units": "Action Units",
    "emotion": "Estimated Emotion",
}
_EMOTIONS = {
    "01": "happiness",
    "02": "surprise",
    "03": "disgust",
    "04": "others",
    "05": "fear",
    "06": "sadness",
    "07": "anger",
}
_NAME = re.compile(r"S\d+-(\d+)-\d+", re.IGNORECASE | re.ASCII)


class MMEW(FaceDataset):
    """MMEW: 300 micro-expressions of 30 subjects at 90 fps (from the literature, unchecked), crops of 231×231 colour.

    Paper: Ben et al., "Video-based facial micro-expression analysis: A survey of datasets, features and algorithms",
    IEEE TPAMI 44(9), 2022. surprise 89, disgust 72, others 66, happiness 36, fear 16, sadness 13, anger 8.

    Layout under `root`::

        MMEW_Micro_Exp.xlsx
        Micro_Expression/happiness/S01-01-001/1.jpg    by emotion; the frames start at 1

    Quirks: a name is subject, emotion and number: 01 happiness, 02 surprise, 03 disgust, 04 others, 05 fear, 06
    sadness, 07 anger. Where the sheet says another emotion, the sheet's counts and the clip gets a remark. Subjects
    are '01', as in the names, however the cell holds them. Only crops are published.

    Args:
        root: folder with the layout above.
        frames: 'cropped'.
        name: dataset name in the clip table.
    """

    name = "mmew"
    fps = 90.0
    request_page = "dpailab.com/database.html"
    label_versions = ("v1",)
    workbook = "MMEW_Micro_Exp.xlsx"
    subject_folders = "|".join([*_EMOTIONS.values(), _NAME.pattern])  # clips lie in folders named by emotion
    frame_folders: ClassVar = {"cropped": ("Micro_Expression", "MMEW/Micro_Expression", "MMEW_Final/Micro_Expression")}
    crops = "cropped"

    def _annotations(self, version: str) -> tuple[Path, pd.DataFrame]:
        path = find_workbook(self.root, self.workbook, self.request_page)
        rows = read_sheet(path, _COLUMNS)
        emotions = rows["emotion"].str.lower()
        named = [_emotion_in(clip) for clip in rows["clip"]]
        folders = self.folders()
        triples = list(zip(rows["clip"], emotions, named, strict=True))
        return path, rows.assign(
            subject=padded(rows["subject"], 2),
            emotion=emotions,
            folder=[_folder(folders, clip, [emotion, code]) for clip, emotion, code in triples],
            remark=[
                f"the name says {code}, the sheet {emotion or 'nothing'}; read as the sheet says"
                if code not in ("", emotion)
                else ""
                for _, emotion, code in triples
            ],
        )


def _emotion_in(clip: str) -> str:
    """Return the emotion in a clip's name, '' if there is none."""
    match = _NAME.fullmatch(clip)
    return _EMOTIONS.get(match[1].zfill(2), "") if match else ""


def _folder(folders: Folders, clip: str, emotions: list[str]) -> str:
    """Return the folder of a clip's frames: below the first of `emotions` that has it, or else where it should be."""
    places = [folders.find(emotion, clip) for emotion in emotions if emotion] or [folders.find(clip)]
    return next((place for place in places if Path(place).is_dir()), places[0])

"""4DME: the micro-expressions recorded by the grey camera."""

import re
from typing import ClassVar

import pandas as pd

from fdp_lightning.data.datasets.adapter import FaceDataset

_CLASSES = ("Positive", "Negative", "Surprise", "Repression", "Others")
_SEPARATORS = re.compile(r"[\s+,，、;；/&]+(?:and\s+)?")


class FourDME(FaceDataset):
    """4DME: 267 micro-expressions as recorded by the grey camera, at 60 fps (from the literature, unchecked).

    Paper: Li et al., "4DME: A spontaneous 4D micro-expression dataset with multimodalities", IEEE TAFFC 14(4), 2023.

    Layout under `root`::

        4DME_Labelling_Micro_release v1.xlsx
        gray_micro/<sub_ID>/<fold_name>/    a clip's frames

    Quirks: emotions can be combined; the table joins them in lower case and alphabetical order, 'negative+repression'.
    A row without an emotion gets those whose column (Positive to Others) is marked. "(k)" after an action unit means
    that it is static. The columns of single units, 'eye blink' and 'Total' are not read.
    """

    name = "fourdme"
    fps = 60.0
    request_page = "oulu.fi (Center for Machine Vision)"
    label_versions = ("v1",)
    workbooks: ClassVar = {"v1": ("4DME_Labelling_Micro_release v1.xlsx",)}
    columns: ClassVar = {
        "subject": "sub_ID", "clip": "fold_name", "onset": "Onset", "apex": "Apex", "offset": "Offset",
        "action_units": "AUs", "emotion": "Emotion",
    }  # fmt: skip
    optional_columns: ClassVar = {name: name for name in _CLASSES}
    subject_folders = r"(?:sub(?:ject)?|s|p)?[ _-]?\d+"
    frame_folders: ClassVar = {"gray": ("gray_micro", "4DME/gray_micro")}

    def _as_meant(self, rows: pd.DataFrame) -> pd.DataFrame:
        written = rows["emotion"].map(_emotions)
        marks = ~rows[[*_CLASSES]].isin(["", "0"])
        marked = marks.apply(lambda row: "+".join(sorted(name.lower() for name in _CLASSES if row[name])), axis=1)
        emotion = written.where(written != "", marked)
        stated = "the emotion is " + written.replace("", "blank") + ", the marked columns are " + marked
        remark = (stated + "; read as " + emotion).mask((marked == "") | (written == marked), "")
        return rows.assign(emotion=emotion, remark=remark)


def _emotions(cell: str) -> str:
    """Return the emotions of a cell in lower case and alphabetical order, joined by '+'."""
    return "+".join(sorted({word for word in _SEPARATORS.split(cell.lower()) if word}))

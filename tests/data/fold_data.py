"""The data of a fold as training reads it, over the shared store of `casme2_root`."""

from pathlib import Path

import pandas as pd

from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.protocols.splits import leave_one_subject_out

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


def labelled(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with their emotions as targets."""
    return clips.assign(target=clips["emotion"])


def fold_data(folder: Path, clips: pd.DataFrame, **options: object) -> FoldDataModule:
    """The fold that tests the second subject; `clips` with or without targets."""
    clips = clips if "target" in clips else labelled(clips)
    return FoldDataModule(folder, clips, CLASSES, leave_one_subject_out(clips)[1], **options)  # type: ignore[arg-type]

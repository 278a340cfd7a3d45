"""Where the apex of a clip is: the annotated frame number, and its place among the frames that are there."""

import numpy as np
import pandas as pd


def apex_numbers(clips: pd.DataFrame) -> np.ndarray:
    """The apex frame of each clip of a clip table, shape (n,); NaN where it is unknown or outside onset..offset."""
    apex, onset, offset = (
        clips[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("apex", "onset", "offset")
    )
    return np.where((onset <= apex) & (apex <= offset), apex, np.nan)


def apex_position(frame_numbers: np.ndarray, apex: float) -> int | None:
    """The position of the frame nearest to the apex (frames may be missing); the earlier of two, None if it is NaN.

    Args:
        frame_numbers: of a clip's frames, shape (n,), ascending.
        apex: a frame number.
    """
    return None if np.isnan(apex) else int(np.abs(frame_numbers - apex).argmin())

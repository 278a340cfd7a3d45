"""The apex of a clip: its annotated frame number, and its position among the frames present."""

import numpy as np
import pandas as pd


def apex_numbers(clips: pd.DataFrame) -> np.ndarray:
    """Return the apex frame number of each clip, shape (n,); NaN where it is unknown or outside onset..offset."""
    apex, onset, offset = (
        clips[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("apex", "onset", "offset")
    )
    return np.where((onset <= apex) & (apex <= offset), apex, np.nan)


def apex_position(frame_numbers: np.ndarray, apex: float) -> int | None:
    """Return the position of the frame nearest to the apex (frames may be missing): the earlier of two, None for NaN.

    Args:
        frame_numbers: numbers of a clip's frames, shape (n,), ascending.
        apex: frame number of the apex.
    """
    return None if np.isnan(apex) else int(np.abs(frame_numbers - apex).argmin())

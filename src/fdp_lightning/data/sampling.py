"""Which T frames of a clip the model sees."""

import numpy as np

from fdp_lightning.errors import UserError


def uniform(n_frames: int, count: int) -> np.ndarray:
    """`count` frame positions spread evenly over the whole clip, first and last frame included.

    A clip shorter than `count` repeats frames; order is never lost. (Ours: the released code takes `i * (n // T)`,
    which never sees the tail of a clip and loses clips shorter than T.)

    Args:
        n_frames: frames in the clip, at least 1.
        count: frames asked for, T >= 1.

    Returns:
        Integer positions, shape (T,), ascending, within 0..n_frames-1.
    """
    if n_frames < 1 or count < 1:
        raise UserError(f"cannot sample {count} of {n_frames} frames (data.sampling.frames must be at least 1)")
    return np.linspace(0, n_frames - 1, count).round().astype(np.int64)

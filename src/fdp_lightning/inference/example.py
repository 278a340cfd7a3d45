"""A clip to try a model on where there is none at hand."""

from pathlib import Path

from fdp_lightning.data.synthetic.film import draw_film

NAME = "synthetic.mp4"

_EMOTION, _SEED = "surprise", 0


def draw_example(folder: Path) -> Path:
    """Draw a synthetic clip of a pseudo-subject that no data set has, as a video file in a folder.

    Returns:
        Its path.
    """
    path = folder / NAME
    draw_film(path, _EMOTION, _SEED)
    return path

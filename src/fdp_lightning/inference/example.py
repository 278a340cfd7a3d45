"""A clip to try a model on where there is none at hand."""

from pathlib import Path

from fdp_lightning.data.synthetic.film import draw_film

NAME = "synthetic.mp4"

EXAMPLES = ("surprise", "happiness")
"""What is shown, of one pseudo-subject."""

_SEED = 0


def draw_example(folder: Path, emotion: str = EXAMPLES[0]) -> Path:
    """Draw a synthetic clip of a pseudo-subject that no data set has, as a video file in a folder.

    Returns:
        Its path.
    """
    path = folder / NAME
    draw_film(path, emotion, _SEED)
    return path

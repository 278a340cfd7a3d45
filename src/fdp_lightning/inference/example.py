"""A synthetic clip to try a model on."""

from pathlib import Path

from fdp_lightning.data.synthetic.film import draw_film

EXAMPLES = ("surprise", "happiness")  # emotions of the examples; all show one pseudo-subject

_SEED = 0


def draw_example(folder: Path, emotion: str = EXAMPLES[0]) -> Path:
    """Draw a clip of a pseudo-subject that no dataset contains, as a video file, and return its path."""
    path = folder / "synthetic.mp4"
    draw_film(path, emotion, _SEED)
    return path

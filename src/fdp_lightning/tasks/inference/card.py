"""The card of a model: what it is, what it was made from, what it scored, and what it must not be used for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdp_lightning.evaluation.templates import template

_NAMES = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy", "weighted_f1": "weighted F1", "mean_f1": "mean F1"}

_ALIGNED = {
    "mtcnn": "MTCNN's landmarks of the first frame with a face, brought to a template by a similarity transform",
    "box": "MTCNN's box on the first frame with a face, made square",
    "none": "nothing: the whole picture",
    "official_crops": "nothing: the owners' face crops as a whole",
}


def model_card(facts: Mapping[str, Any]) -> str:
    """Markdown for the README.md of a model folder.

    Args:
        facts: the content of model.json, see README.md here.
    """
    scores = facts["scores"]
    card = template("card.md.j2", Path(__file__).parent, escaped=False)
    return card.render(
        **facts,
        aligned=_ALIGNED[facts["alignment"]["method"]],
        scored=[] if scores is None else [(name, label) for name, label in _NAMES.items() if name in scores],
    )

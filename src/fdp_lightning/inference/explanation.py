"""Which parts of a face moved and counted for a prediction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch.nn import functional as F

from fdp_lightning.data.faces.regions import face_regions
from fdp_lightning.errors import UserError
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.models.attribution import heat_map, still_clip
from fdp_lightning.models.recognizer import with_logits
from fdp_lightning.processes import one_thread

if TYPE_CHECKING:
    from fdp_lightning.inference.model import Model


@dataclass(frozen=True)
class Explanation:
    """What moved and counted.

    Attributes:
        label: the class, or action unit, that it counted for.
        heat: over the aligned face, 1 where most moved that counted, 0 where nothing did; float32, (h, w).
        shares: region of the face → its share of the heat, with the hair and background as `regions.ELSEWHERE`; they
            sum to 1. None where nothing counted, or of faces that are not aligned by landmarks.
    """

    label: str
    heat: np.ndarray
    shares: dict[str, float] | None


def explain(model: "Model", prediction: Prediction, label: str = "") -> Explanation:
    """Find out which motion counted, see `models.attribution`.

    Args:
        model: that predicted.
        prediction: of a clip.
        label: the class or action unit that is explained; '': the most probable.

    Raises:
        UserError: the model has no such class.
    """
    label = label or max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    if label not in model.classes:
        raise UserError(f"label '{label}': expected one of {', '.join(model.classes)}, the classes of the model")
    index, labels = model.classes.index(label), model.objective.labels
    with one_thread():
        (clip,) = model.take([prediction])
        heat = heat_map(
            lambda clips: labels.log_odds(with_logits(model.network(clips)).logits, index),
            clip,
            still_clip(clip, maps=model.takes_maps),
        )
        sides = prediction.frames.shape[1:3]
        if heat.shape != sides:  # maps of motion may be smaller than the frames they are of
            heat = F.interpolate(heat[None, None], sides, mode="bilinear", align_corners=False)[0, 0]
    return Explanation(label, heat.numpy(), _shares(heat.numpy(), model))


def _shares(heat: np.ndarray, model: "Model") -> dict[str, float] | None:
    regions = face_regions(model.preparation.faces, model.preparation.template)
    total = float(heat.sum(dtype=np.float64))
    if regions is None or total == 0:
        return None
    return {name: float(heat[mask].sum(dtype=np.float64)) / total for name, mask in regions.items()}

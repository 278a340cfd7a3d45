"""Which parts of a face moved and counted for a prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.data.faces.regions import face_regions, shares
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.charts import over_face
from fdp_lightning.extras import Extra
from fdp_lightning.inference.clip import Preparation
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.models.attribution import HEAT, SHARE, heat_map, of_heat
from fdp_lightning.models.recognizer import Objective, with_logits
from fdp_lightning.processes import one_thread


class Explainable(Protocol):
    """What an explanation needs of a model."""

    classes: list[str]
    preparation: Preparation
    network: nn.Module
    objective: Objective[Any]

    def take(self, clips: Sequence[Prediction], still: bool = False) -> Tensor:
        """The input of the network; with `still` that of the same clips with nothing moving."""


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


def explain(model: Explainable, prediction: Prediction, label: str = "") -> Explanation:
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
        (clip,), (still,) = model.take([prediction]), model.take([prediction], still=True)
        heat = heat_map(
            lambda clips: labels.log_odds(with_logits(model.network(clips)).logits, index),
            clip,
            still,
        )
        sides = prediction.frames.shape[1:3]
        if heat.shape != sides:  # maps of motion may be smaller than the frames they are of
            heat = F.interpolate(heat[None, None], sides, mode="bilinear", align_corners=False)[0, 0]
    regions = face_regions(model.preparation.faces, model.preparation.template)
    return Explanation(label, heat.numpy(), shares(heat.numpy(), regions))


def explained(model: Explainable, prediction: Prediction) -> Prediction:
    """A prediction with its explanation among its extras: the heat map, and a number for each region of the face."""
    explanation = explain(model, prediction)
    of_region = explanation.shares or {}
    extras = {HEAT: explanation.heat, **{SHARE + name: np.array(share) for name, share in of_region.items()}}
    declared = of_heat(f"for {explanation.label}", of_region)
    return replace(prediction, extras={**prediction.extras, **extras}, declared=(*declared, *prediction.declared))


def picture_of(prediction: Prediction, extra: Extra) -> np.ndarray:
    """An extra of the kind 'image' as it is shown: a map over the face, enlarged; all others as they are."""
    values = prediction.extras[extra.name]
    if not extra.over_face:
        return values
    away = np.abs(prediction.frames.astype(np.int16) - prediction.frames[0]).reshape(len(prediction.frames), -1)
    return over_face(values, prediction.frames[away.mean(axis=1).argmax()])

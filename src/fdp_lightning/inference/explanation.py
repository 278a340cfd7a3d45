"""The motion of a face that a prediction is based on."""

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
from fdp_lightning.inference.prediction import Prediction, ReadClip, differences_from_first
from fdp_lightning.models.attribution import HEAT, SHARE, heat_maps, of_heat
from fdp_lightning.models.recognizer import Objective, with_logits
from fdp_lightning.processes import one_thread


class Explainable(Protocol):
    """The part of a model that an explanation needs."""

    classes: list[str]
    preparation: Preparation
    network: nn.Module
    objective: Objective[Any]

    def network_input(self, clips: Sequence[ReadClip], still: bool = False) -> Tensor:
        """Return the network's input for clips; with `still`, for the same clips without motion."""


@dataclass(frozen=True)
class Explanation:
    """Explanation of a prediction by motion: what counted for the class or action unit `label`.

    `heat` is the importance over the aligned face, 1 at the most important pixel, 0 where nothing counted; float32, (h,
    w). `shares` has the share of each region of the face, with hair and background as `regions.ELSEWHERE`; they sum to
    1. It is None if nothing counted, or for faces that are not aligned by landmarks.
    """

    label: str
    heat: np.ndarray
    shares: dict[str, float] | None


def explain(model: Explainable, prediction: Prediction, label: str = "") -> Explanation:
    """Return the motion that counted for a class or action unit ('': the most probable), see `models.attribution`.

    UserError if the model has no such class.
    """
    label = label or max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    if label not in model.classes:
        raise UserError(f"label '{label}': expected one of the model's classes, {', '.join(model.classes)}")
    index, labels = model.classes.index(label), model.objective.labels
    with one_thread():
        clip, still = model.network_input([prediction]), model.network_input([prediction], still=True)
        (heat,) = heat_maps(lambda clips: labels.log_odds(with_logits(model.network(clips)).logits, index), clip, still)
        sides = prediction.frames.shape[1:3]
        if heat.shape != sides:  # maps of motion may be smaller than their frames
            heat = F.interpolate(heat[None, None], sides, mode="bilinear", align_corners=False)[0, 0]
    regions = face_regions(model.preparation.faces, model.preparation.template)
    return Explanation(label, heat.numpy(), shares(heat.numpy(), regions))


def explained(model: Explainable, prediction: Prediction) -> Prediction:
    """Return a prediction with its explanation among its extras: the heat map, and the share of each region."""
    explanation = explain(model, prediction)
    shares_of_regions = explanation.shares or {}
    extras = {HEAT: explanation.heat, **{SHARE + name: np.array(share) for name, share in shares_of_regions.items()}}
    declared = of_heat(f"for {explanation.label}", shares_of_regions)
    return replace(prediction, extras={**prediction.extras, **extras}, declared=(*declared, *prediction.declared))


def displayed_image(prediction: Prediction, extra: Extra) -> np.ndarray:
    """Return an extra of kind 'image' as displayed: a map over the face is enlarged, others are unchanged."""
    values = prediction.extras[extra.name]
    if not extra.over_face:
        return values
    return over_face(values, prediction.frames[differences_from_first(prediction).argmax()])

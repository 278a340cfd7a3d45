"""Classification losses: cross-entropy of one class, or binary cross-entropy of each action unit.

Both take weights, label smoothing and focal weighting.

References:
    [1] Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019.
    [2] Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7.
    [3] Lin et al., "Focal loss for dense object detection", ICCV 2017.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

CLASS_WEIGHTINGS = ("none", "inverse", "effective")


def class_weights(counts: Sequence[int], weighting: str = "none", beta: float = 0.99) -> Float[Tensor, " k"]:
    """Return class weights with a mean of 1 over the counted clips.

    Args:
        counts: number of training clips of each class, n; a class without clips gets weight 0.
        weighting: 'none'; 'inverse', 1/n; or 'effective', (1 - β)/(1 - βⁿ) [1].
        beta: β of the effective number, at least 0 and below 1. [1] uses 0.9 to 0.9999; higher values approach
            'inverse'.
    """
    n = torch.tensor(counts, dtype=torch.float64)
    if weighting == "none":
        weights = torch.ones_like(n)
    elif weighting == "inverse":
        weights = 1 / n.clamp_min(1)
    else:
        weights = (1 - beta) / (1 - beta ** n.clamp_min(1))
    weights = weights * (n > 0)
    return (weights * n.sum() / (weights * n).sum().clamp_min(1e-12)).float()


def emotion_loss(
    logits: Float[Tensor, "b k"],
    target: Int[Tensor, " b"],
    weights: Float[Tensor, " k"] | None = None,
    smoothing: float = 0.0,
    focal: float = 0.0,
) -> Float[Tensor, ""]:
    """Return `Σ_b w_b (1 - p_b)^focal · CE_b / Σ_b w_b`, with p_b the probability of the true class and w_b its weight.

    `smoothing` is the share of the target spread evenly over all classes [2], `focal` the exponent γ of [3]; 0: none.
    """
    loss = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    if focal > 0:
        right = logits.log_softmax(dim=1).gather(1, target.unsqueeze(1)).squeeze(1)
        loss = (-torch.expm1(right)).clamp_min(0).pow(focal) * loss
    if weights is None:
        return loss.mean()
    weight = weights[target].to(loss.dtype)
    return (weight * loss).sum() / weight.sum().clamp_min(1e-12)


def positive_weights(
    counts: Sequence[int], clips: int, weighting: str = "none", beta: float = 0.99
) -> Float[Tensor, " k"]:
    """Return the weight of clips that show a unit relative to those that do not (O; formulas as for classes).

    Presence and absence are a unit's two classes, with n and N − n clips. Each has the weight of `class_weights` up to
    a common factor, 1/n or (1 - β)/(1 - βⁿ) [1]; the result is their ratio:

        'inverse': (N − n) / n        'effective': (1 - β^(N−n)) / (1 - βⁿ)

    A unit that all training clips show, or none, has nothing to balance and gets 1.

    Args:
        counts: number of training clips that show each unit, n.
        clips: number of training clips, N.
        weighting: 'none' (1 for all), 'inverse' or 'effective'.
        beta: β of the effective number, at least 0 and below 1; 0 weights all units equally.
    """
    shown = torch.tensor(counts, dtype=torch.float64)
    absent = clips - shown
    weights = torch.ones_like(shown)
    if weighting == "inverse":
        weights = absent / shown.clamp_min(1)
    elif weighting == "effective":
        weights = (1 - beta**absent) / (1 - beta ** shown.clamp_min(1))
    return torch.where((shown > 0) & (absent > 0), weights, 1.0).float()


def unit_loss(
    logits: Float[Tensor, "b k"],
    target: Float[Tensor, "b k"],
    weights: Float[Tensor, " k"] | None = None,
    smoothing: float = 0.0,
    focal: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the mean over clips and units of `−(1 - p_r)^focal · (w q log p + (1 - q) log(1 - p))`.

    p is the probability that the unit is shown, p_r that of the correct decision and w the unit's positive weight. The
    target, 1 where a unit is shown, is smoothed to q = 1 - ε/2 or ε/2, with ε = `smoothing`.
    """
    target = target.to(logits.dtype)
    wanted = target * (1 - smoothing) + smoothing / 2
    pos_weight = None if weights is None else weights.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=pos_weight, reduction="none")
    if focal > 0:
        # log(1 - p_r): the factor and its gradient stay finite where p_r rounds to 1.
        wrong = F.logsigmoid(torch.where(target > 0.5, -logits, logits))
        loss = (focal * wrong).exp() * loss
    return loss.mean()

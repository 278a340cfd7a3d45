"""The classification loss: cross-entropy with class weights, label smoothing and focal weighting.

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


def check_weighting(weighting: str, beta: float) -> None:
    """Raise ValueError unless both can be meant."""
    if weighting not in CLASS_WEIGHTINGS:
        raise ValueError(f"unknown class_weighting '{weighting}'; allowed are {', '.join(CLASS_WEIGHTINGS)}")
    if not 0 <= beta < 1:
        raise ValueError(f"effective_beta={beta}; allowed is 0 up to, not including, 1")


def class_weights(counts: Sequence[int], weighting: str = "none", beta: float = 0.99) -> Float[Tensor, " k"]:
    """A weight for each class; over the clips they were counted on they average 1.

    Args:
        counts: training clips of each class; a class without any gets weight 0.
        weighting: 'none'; 'inverse', 1/n; or 'effective', (1 - β)/(1 - βⁿ) [1].
        beta: of the effective number, 0 up to, not including, 1. [1] takes 0.9 to 0.9999; the higher, the nearer to
            'inverse'.
    """
    check_weighting(weighting, beta)
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
    """`Σ_b w_b (1 - p_b)^focal · CE_b / Σ_b w_b`, p_b the probability of the true class, w_b its weight.

    Args:
        logits: of the classes.
        target: class numbers.
        weights: of the classes; None: all 1.
        smoothing: share of the target spread evenly over all classes [2].
        focal: exponent γ [3]; 0 is plain cross-entropy.
    """
    loss = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    if focal > 0:
        right = logits.log_softmax(dim=1).gather(1, target.unsqueeze(1)).squeeze(1)
        loss = (-torch.expm1(right)).clamp_min(0).pow(focal) * loss
    if weights is None:
        return loss.mean()
    weight = weights[target].to(loss.dtype)
    return (weight * loss).sum() / weight.sum().clamp_min(1e-12)

"""Rank pooling: frame features to one dynamic representation D = Σ_t w_t F_t.

Every pooling is a weight vector over frames. `score`, `arp` and `arp_simple` sum to zero, so whatever is the same in
all frames, the identity above all, cancels exactly; `mean` keeps the identity and drops the motion (an ablation).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fdp_lightning.models.dynamic_image import arp_weights, simple_arp_weights

POOLINGS = ("score", "arp", "arp_simple", "mean")


def score_weights(scores: Float[Tensor, "b t"], eps: float = 1e-2) -> Float[Tensor, "b t"]:
    """The clip's scores standardised to zero mean and (nearly) unit scale.

    Args:
        scores: of the rank scorer.
        eps: added to the variance, so that the flat scores of a still clip stay flat.
    """
    centred = scores - scores.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + eps).sqrt()


def pooling_weights(name: str, scores: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """The weights of one of `POOLINGS`; only `score` looks at the scores."""
    b, t = scores.shape
    if name == "score":
        return score_weights(scores)
    if name == "mean":
        return torch.ones_like(scores)
    if name in ("arp", "arp_simple"):
        weights = (arp_weights if name == "arp" else simple_arp_weights)(t, scores.device, scores.dtype)
        # To unit scale, like the scores, so that poolings can be exchanged without touching learning rates.
        return (weights / weights.square().mean().sqrt().clamp_min(1e-6)).expand(b, t)
    raise ValueError(f"unknown pooling '{name}'; allowed are {', '.join(POOLINGS)}")


def pool(features: Float[Tensor, "b t c h w"], weights: Float[Tensor, "b t"]) -> Float[Tensor, "b c h w"]:
    """`D = (1/T) Σ_t w_t F_t`; the 1/T keeps the size of D free of the number of frames (O)."""
    return torch.einsum("bt,btchw->bchw", weights, features) / features.shape[1]

"""Rank losses: how far the scores of a clip are from chronological order. Pure functions of the scores.

Adding a constant to all scores of a clip changes none of them, and the loss of the reversed clip is that of the negated
scores.

References:
    [1] Burges et al., "Learning to rank using gradient descent" (RankNet), ICML 2005.
    [2] Herbrich et al., "Large margin rank boundaries for ordinal regression", 2000.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

RANK_LOSSES = ("ranknet", "hinge")


def pairwise_steps(scores: Float[Tensor, "b t"]) -> Float[Tensor, "b pairs"]:
    """`s_u - s_t` for all pairs t < u."""
    t = scores.shape[1]
    earlier, later = torch.triu_indices(t, t, offset=1, device=scores.device)
    return scores[:, later] - scores[:, earlier]


def ranknet(scores: Float[Tensor, "b t"], temperature: float = 1.0) -> Float[Tensor, ""]:
    """RankNet [1]: the mean over t < u of `softplus(-(s_u - s_t) / temperature)`."""
    return F.softplus(-pairwise_steps(scores) / temperature).mean()


def hinge(scores: Float[Tensor, "b t"], margin: float = 1.0) -> Float[Tensor, ""]:
    """Pairwise hinge [2]: the mean over t < u of `max(0, margin - (s_u - s_t))`."""
    return F.relu(margin - pairwise_steps(scores)).mean()


def rank_loss(name: str, scores: Float[Tensor, "b t"]) -> Float[Tensor, ""]:
    """One of `RANK_LOSSES` by name."""
    if name == "ranknet":
        return ranknet(scores)
    if name == "hinge":
        return hinge(scores)
    raise ValueError(f"unknown rank loss '{name}'; allowed are {', '.join(RANK_LOSSES)}")

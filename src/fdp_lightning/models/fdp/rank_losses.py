"""Rank losses: pure functions that measure, for each clip, how far its scores are from the target order.

Adding a constant to all scores of a clip does not change its loss. With the chronological target, reversing a clip has
the same effect as negating its scores, except for the list losses, which weight the top of the order more.

All take scores (b, t), the relevance of the frames (b, t; `chronological`, `intensity`) and the mask of the real
frames, and return losses (b,). A clip whose frames are all equally relevant, as with a single frame, has a loss of 0.

References:
    [1] Burges et al., "Learning to rank using gradient descent" (RankNet), ICML 2005.
    [2] Herbrich et al., "Large margin rank boundaries for ordinal regression", 2000.
    [3] Xia et al., "Listwise approach to learning to rank" (ListMLE), ICML 2008.
    [4] Cao et al., "Learning to rank: from pairwise approach to listwise approach" (ListNet), ICML 2007.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.frame_mask import Mask, frame_count, masked, positions, real_frames

RANK_LOSSES = ("ranknet", "hinge", "listmle", "listnet", "soft_spearman")


def chronological(values: Float[Tensor, "b t *rest"], mask: Mask | None = None) -> Float[Tensor, "b t"]:
    """Return relevance 1, 2, 3, … in temporal order (P: later frames score higher).

    Head drift or a brightness ramp is enough to solve this target, but not `intensity`.
    """
    return positions(real_frames(values, mask)).to(values.dtype)


def intensity(
    frame_number: Float[Tensor, "b t"], apex: Float[Tensor, " b"], mask: Mask | None = None
) -> Float[Tensor, "b t"]:
    """Return relevance 0 at the onset, rising linearly to 1 at the apex and falling linearly to 0 at the offset (O).

    The onset is the first real frame, the offset the last; the apex is a frame number within the clip.
    """
    mask = real_frames(frame_number, mask)
    onset = frame_number.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
    offset = frame_number.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True)
    apex = apex.unsqueeze(1)
    # An apex at an end of the clip leaves one side empty; the clamp avoids 0/0 there.
    rising = 1 - (apex - frame_number) / (apex - onset).clamp_min(1e-6)
    falling = 1 - (frame_number - apex) / (offset - apex).clamp_min(1e-6)
    return torch.where(frame_number <= apex, rising, falling).masked_fill(~mask, 0)


def ranknet(
    scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Mask | None = None, temperature: float = 1.0
) -> Float[Tensor, " b"]:
    """RankNet [1]: the mean of `softplus(-(s_u - s_t) / temperature)` over all pairs with u more relevant than t."""
    return _mean_over_pairs(F.softplus(-pairwise_steps(scores, mask) / temperature), relevance, mask)


def hinge(
    scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Mask | None = None, margin: float = 1.0
) -> Float[Tensor, " b"]:
    """Pairwise hinge [2]: the mean of `max(0, margin - (s_u - s_t))` over all pairs with u more relevant than t."""
    return _mean_over_pairs(F.relu(margin - pairwise_steps(scores, mask)), relevance, mask)


def listmle(
    scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Mask | None = None
) -> Float[Tensor, " b"]:
    """ListMLE [3]: `-log P` of drawing the frames from the most relevant down, under Plackett-Luce.

    `-log P = Σ_i (log Σ_{j≥i} exp s_j - s_i)`, frames sorted by decreasing relevance; ties keep their temporal order.
    """
    mask = real_frames(scores, mask)
    order = relevance.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
    real = mask.gather(1, order)
    # Frames that are not real come last, with a weight of exp(-1e4) = 0 in every sum.
    scores = scores.gather(1, order).masked_fill(~real, -1e4)
    remaining = scores.flip(1).logcumsumexp(dim=1).flip(1)
    loss = masked(remaining - scores, real).sum(dim=1)
    least = relevance.masked_fill(~mask, torch.inf).amin(dim=1)
    return torch.where(relevance.masked_fill(~mask, -torch.inf).amax(dim=1) > least, loss, 0 * loss)


def listnet(
    scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Mask | None = None, sharpness: float = 4.0
) -> Float[Tensor, " b"]:
    """ListNet [4]: the divergence `KL(p ‖ softmax(s))` between the probabilities of being ranked first.

    `p = softmax(sharpness · r)`, r the clip's relevance scaled to 0..1 (O; in [4] `softmax(r)`). Only the most
    relevant frames have to stand out. The order of the others, which is undefined before and after a motion, has almost
    no effect, whereas a pairwise loss weights it as much as the apex. The sharpness is the logarithm of the ratio of
    the probabilities of the most and the least relevant frame.
    """
    mask = real_frames(scores, mask)
    least = relevance.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
    most = relevance.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True)
    from_0_to_1 = masked((relevance - least) / (most - least).clamp_min(1e-6), mask)
    # Frames that are not real have a probability of exp(-1e4) = 0.
    wanted = (sharpness * from_0_to_1).masked_fill(~mask, -1e4).log_softmax(dim=1)
    found = scores.masked_fill(~mask, -1e4).log_softmax(dim=1)
    loss = masked(wanted.exp() * (wanted - found), mask).sum(dim=1)
    return torch.where((most > least).squeeze(1), loss, 0 * loss)


def soft_spearman(
    scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Mask | None = None, temperature: float = 1.0
) -> Float[Tensor, " b"]:
    """Return 1 - correlation of the scores' soft ranks with relevance ranks (1 - Spearman's ρ as temperature → 0)."""
    mask = real_frames(scores, mask)
    n = frame_count(mask)
    # Ranks have the mean (n + 1) / 2, soft ranks too.
    soft, wanted = (
        masked(r - (n + 1) / 2, mask) for r in (soft_ranks(scores, mask, temperature), ranks(relevance, mask))
    )
    # The constant bounds the gradient of flat scores; centred ranks of eight frames have a sum of squares of 42.
    scale = (soft.square().sum(dim=1) + 1e-3 * temperature).sqrt() * (wanted.square().sum(dim=1) + 1e-6).sqrt()
    correlation = (soft * wanted).sum(dim=1) / scale
    return torch.where((wanted != 0).any(dim=1), 1 - correlation, 0 * correlation)


def pairwise_steps(scores: Float[Tensor, "b t"], mask: Mask | None = None) -> Float[Tensor, "b t u"]:
    """Return `s_u - s_t` for all pairs; frames that are not real count as 0, even where they hold NaN."""
    scores = masked(scores, real_frames(scores, mask))
    return scores.unsqueeze(1) - scores.unsqueeze(2)


def ranked_pairs(relevance: Float[Tensor, "b t"], mask: Mask | None = None) -> Float[Tensor, "b t u"]:
    """Return 1 where both frames are real and u is more relevant than t, else 0."""
    mask = real_frames(relevance, mask)
    both = mask.unsqueeze(1) & mask.unsqueeze(2)
    return (both & (pairwise_steps(relevance) > 0)).to(relevance.dtype)


def _mean_over_pairs(
    values: Float[Tensor, "b t u"], relevance: Float[Tensor, "b t"], mask: Mask | None
) -> Float[Tensor, " b"]:
    pairs = ranked_pairs(relevance, mask).to(values.dtype)
    return (values * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp_min(1)


class RankLoss(nn.Module):
    """One of the rank losses, averaged over the clips of a batch.

    Args:
        name: one of `RANK_LOSSES`.
        temperature: temperature of ranknet and soft_spearman, above 0.
        margin: margin of hinge.
        sharpness: sharpness of listnet, above 0.
    """

    def __init__(
        self, name: str = "ranknet", temperature: float = 1.0, margin: float = 1.0, sharpness: float = 4.0
    ) -> None:
        super().__init__()
        if name not in RANK_LOSSES:
            raise ValueError(f"unknown rank_loss '{name}'; allowed are {', '.join(RANK_LOSSES)}")
        if temperature <= 0 or sharpness <= 0:
            raise ValueError(f"rank_temperature={temperature}, rank_sharpness={sharpness}; expected both above 0")
        losses: dict[str, Callable[..., Tensor]] = {
            "ranknet": partial(ranknet, temperature=temperature),
            "hinge": partial(hinge, margin=margin),
            "listmle": listmle,
            "listnet": partial(listnet, sharpness=sharpness),
            "soft_spearman": partial(soft_spearman, temperature=temperature),
        }
        self.loss = losses[name]

    def forward(
        self, scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Mask | None = None
    ) -> Float[Tensor, ""]:
        """Return the mean loss of the clips."""
        return self.loss(scores, relevance, mask).mean()


def kendall_tau(
    scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Tensor | None = None
) -> Float[Tensor, " b"]:
    """Return Kendall's τ between each clip's scores and the target order: 1 if equal, -1 if reversed; ties count 0.

    It covers the pairs of real frames that have an order. (That of torchmetrics 1.9 fails on a batch of one clip.)
    """
    pairs = ranked_pairs(relevance, mask)
    return (pairwise_steps(scores.detach().float()).sign() * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp_min(1)


def soft_ranks(
    values: Float[Tensor, "b t"], mask: Mask | None = None, temperature: float = 1.0
) -> Float[Tensor, "b t"]:
    """Return soft ranks `r_t = 1/2 + Σ_u sigmoid((v_t - v_u) / temperature)`, from 1 for the smallest value to T.

    They always sum to T(T+1)/2 and approach the ranks, with ties averaged, as the temperature goes to 0; they are 0 at
    frames that are not real. (After Qin, Liu and Li, "A general approximation framework for direct optimization of IR
    measures", 2010.)
    """
    mask = real_frames(values, mask)
    values = masked(values, mask)  # a NaN there would reach the gradients of the real frames
    above = ((values.unsqueeze(2) - values.unsqueeze(1)) / temperature).sigmoid()  # b t u
    return masked(0.5 + masked(above.transpose(1, 2), mask).sum(dim=1), mask)


def ranks(values: Float[Tensor, "b t"], mask: Mask | None = None) -> Float[Tensor, "b t"]:
    """Return ranks with ties averaged, the limit of `soft_ranks`."""
    mask = real_frames(values, mask)
    sign = (values.unsqueeze(2) - values.unsqueeze(1)).sign()
    above = 0.5 + 0.5 * sign
    return masked(0.5 + masked(above.transpose(1, 2), mask).sum(dim=1), mask)

"""Rank pooling of the maps of all frames into one dynamic representation D, as functions and as a module.

Most poolings are weights over frames, `D = (1/T) Σ_t w_t F_t`. If the weights sum to zero (gated, score, intensity,
arp, arp_simple, soft_rank_arp, last_minus_first), everything that is the same in all frames, above all the identity,
cancels exactly. `mean`, `max` and `attention` keep the identity; they are ablations.

Two orders of the frames are scored, by separate scorers (O; the paper has only the chronological one):
    chronological   later frames score higher; read by gated, score and soft_rank_arp
    intensity       frames nearer to the apex score higher; read by intensity
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.dynamic_image import exact_weights, simple_weights
from fdp_lightning.models.fdp.blocks import MapShape
from fdp_lightning.models.fdp.rank_losses import soft_ranks
from fdp_lightning.models.frame_mask import Mask, frame_count, masked, positions, real_frames, weighted_sum, wide

Scores = Mapping[str, Float[Tensor, "b t"]]
"""Rank scores by order, 'chronological' and 'intensity'."""


def score(scores: Float[Tensor, "b t"], mask: Mask, eps: float = 1e-2) -> Float[Tensor, "b t"]:
    """Return the clip's scores as weights, standardised to zero mean and nearly unit scale (P in words, formula O).

    `eps` is added to the variance, so that the flat scores of a still clip stay flat.
    """
    return _unit_scale(_centred(scores, mask), mask, eps)


def gated(scores: Float[Tensor, "b t"], mask: Mask, temperature: float = 1.0) -> Float[Tensor, "b t"]:
    """Return weights by which each pair of frames votes for its later one, as far as the scores separate the two (O).

    With z the clip's standardised scores, the pair t < u has the gate `g_tu = σ((z_u - z_t) / temperature)`, and

        w_u = Σ_{t<u} g_tu - Σ_{v>u} g_uv,   hence   Σ_u w_u F_u = Σ_{t<u} g_tu (F_u - F_t)   and   Σ_u w_u = 0.

    The temporal order is known at test time too: a wrong score can close the gate of a pair but never flip its sign,
    whereas `score` flips D. The temperature is the difference of standardised scores at which a gate is 0.73. Flat
    scores, or a high temperature, open all gates equally: `w_u ∝ 2u - T - 1`, the simple weights of approximate rank
    pooling.
    """
    z = score(scores, mask)
    gates = ((z.unsqueeze(1) - z.unsqueeze(2)) / temperature).sigmoid()  # b t u
    gates = gates.masked_fill(~(mask.unsqueeze(1) & mask.unsqueeze(2)), 0).triu(1)
    return _unit_scale(gates.sum(dim=1) - gates.sum(dim=2), mask)


def intensity(
    scores: Float[Tensor, "b t"], mask: Mask, sharpness: float = 1.5, eps: float = 6.4e-3
) -> Float[Tensor, "b t"]:
    """Return weights of the frames of highest minus those of lowest intensity (O).

    `w = softmax(sharpness · z) - softmax(-sharpness · z)`, with z the clip's standardised scores, lies between the
    standardised scores (sharpness → 0) and the apex frame minus the most neutral one (sharpness → ∞). Σ w = 0. `eps` is
    T² times the constant added to the variance, because the values of a softmax over T frames are of the order of 1/T.
    """
    z = sharpness * score(scores, mask)
    high, low = (masked(side.masked_fill(~mask, -torch.inf).softmax(dim=1), mask) for side in (z, -z))
    return _unit_scale(high - low, mask, eps / frame_count(mask).to(scores.dtype).square())


def over_running_means(weights: Float[Tensor, "b t"], mask: Mask) -> Float[Tensor, "b t"]:
    """Return weights of the frames that lead to the same D as `weights` of the clip's running means.

    `Σ_t w_t V_t = Σ_i a_i F_i` with `V_t = (1/t) Σ_{i≤t} F_i` (Fernando et al., TPAMI 2017) and
    `a_i = Σ_{t≥i} w_t / t`; Σ a = Σ w. Simple weights become the exact weights of approximate rank pooling. All weights
    are scaled by the factor that maps simple weights of unit scale to exact ones of unit scale.
    """
    position, count = positions(mask), frame_count(mask)
    shares = masked(weights / position.clamp_min(1), mask)
    sums = shares.flip(1).cumsum(dim=1).flip(1)
    size = [masked(kind(position, count), mask).square().sum(dim=1, keepdim=True) for kind in _ARP]
    return masked(sums * (size[0] / size[1].clamp_min(1e-6)).sqrt().to(sums.dtype), mask)


_ARP = (simple_weights, exact_weights)


def arp(scores: Float[Tensor, "b t"], mask: Mask) -> Float[Tensor, "b t"]:
    """Return the exact weights of approximate rank pooling (ARP); the scores are unused."""
    return _unit_scale(exact_weights(positions(mask), frame_count(mask)).to(scores.dtype), mask)


def arp_simple(scores: Float[Tensor, "b t"], mask: Mask) -> Float[Tensor, "b t"]:
    """Return the simple ARP weights `2t - T - 1`; the scores are unused."""
    return _unit_scale(simple_weights(positions(mask), frame_count(mask)).to(scores.dtype), mask)


def soft_rank_arp(
    scores: Float[Tensor, "b t"], mask: Mask, temperature: float = 1.0, eps: float = 1e-2
) -> Float[Tensor, "b t"]:
    """Return exact ARP weights interpolated at the soft ranks of the scores.

    For a perfect order they are those of `arp`, except for `eps`. They are centred (O): between whole ranks the
    interpolated weights do not sum to zero, and the identity would leak in. (If `eps`, added to the variance, is too
    small, floating-point errors of flat scores grow to weights that do not sum to zero, and gradients to 1e5 and more.)
    """
    count = frame_count(mask)
    steps = torch.arange(1, scores.shape[1] + 1, device=scores.device).expand_as(scores)
    table = exact_weights(steps.minimum(count), count).to(scores.dtype)  # b t: the weights of ranks 1..T
    rank = torch.clamp(soft_ranks(scores, mask, temperature), min=1).minimum(count.to(scores.dtype))
    below = rank.detach().floor().long().minimum((count - 1).clamp_min(1))
    above = (below + 1).minimum(count)
    share = rank - below
    weights = table.gather(1, below - 1) * (1 - share) + table.gather(1, above - 1) * share
    return _unit_scale(_centred(weights, mask), mask, eps)


def mean(scores: Float[Tensor, "b t"], mask: Mask) -> Float[Tensor, "b t"]:
    """Return equal weights."""
    return masked(torch.ones_like(scores), mask)


def last_minus_first(scores: Float[Tensor, "b t"], mask: Mask) -> Float[Tensor, "b t"]:
    """Return the weights of the offset frame minus the onset frame."""
    position = positions(mask)
    ends = (position == frame_count(mask)).to(scores.dtype) - (position == 1).to(scores.dtype)
    return _unit_scale(ends, mask)


Weights = dict[str, Callable[[Tensor, Tensor], Tensor]]
WEIGHTS: Weights = {
    "gated": gated,
    "score": score,
    "intensity": intensity,
    "arp": arp,
    "arp_simple": arp_simple,
    "soft_rank_arp": soft_rank_arp,
    "mean": mean,
    "last_minus_first": last_minus_first,
}
READS = {"gated": "chronological", "score": "chronological", "soft_rank_arp": "chronological", "intensity": "intensity"}
"""Order whose scores each pooling reads; the others need no scorer."""


def attention(logits: Float[Tensor, "b t"], mask: Mask) -> Float[Tensor, "b t"]:
    """Return weights `T · softmax`, which are positive and sum to T, like those of `mean`."""
    return logits.masked_fill(~mask, -torch.inf).softmax(dim=1) * frame_count(mask)


def pool(
    features: Float[Tensor, "b t c h w"], weights: Float[Tensor, "b n t"], mask: Mask | None = None
) -> Float[Tensor, "b n c h w"]:
    """Return `D_n = (1/T) Σ_t w_nt F_t`; the 1/T makes the scale of D independent of the number of frames (O)."""
    count = frame_count(real_frames(features, mask))
    features = features if mask is None else masked(features, mask)
    return weighted_sum(weights / count.unsqueeze(2), features)


def max_over_time(features: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> Float[Tensor, "b c h w"]:
    """Return the largest value over the frames."""
    mask = real_frames(features, mask)
    return features.masked_fill(~mask[:, :, None, None, None], -torch.inf).amax(dim=1)


def _centred(weights: Float[Tensor, "b t"], mask: Mask) -> Float[Tensor, "b t"]:
    weights = masked(weights, mask)
    return masked(weights - weights.sum(dim=1, keepdim=True) / frame_count(mask), mask)


def _unit_scale(weights: Float[Tensor, "b t"], mask: Mask, eps: float | Tensor = 1e-12) -> Float[Tensor, "b t"]:
    """Scale to a root mean square of 1, so that poolings can be exchanged at the same learning rate."""
    weights = masked(weights, mask)
    return weights / (weights.square().sum(dim=1, keepdim=True) / frame_count(mask) + eps).sqrt()


class FrameAttention(nn.Module):
    """Softmax over one learned linear score per frame (O)."""

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        # No bias: the softmax cancels it.
        self.read = nn.Linear(channels * places, 1, bias=False)

    def forward(self, features: Float[Tensor, "b t c h w"], mask: Mask) -> Float[Tensor, "b t"]:
        """Return the weights of the frames."""
        return attention(self.read(masked(features, mask).flatten(2)).squeeze(2), mask)


POOLINGS = (*WEIGHTS, "max", "attention")


class RankPooling(nn.Module):
    """One or more poolings of the same frames, with their D concatenated; each has the same weights at all resolutions.

    Args:
        names: one or more of `POOLINGS`.
        maps: channels and side of the frames' maps, fine to coarse; the coarsest is F.
        frames: number of frames, T.
        running_means: pool the running means of the frames where weights come from chronological scores.
        temperature: temperature of 'gated'.

    Attributes:
        maps: channels and side of D at each resolution.
    """

    def __init__(
        self,
        names: Sequence[str],
        maps: Sequence[MapShape],
        frames: int,
        running_means: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not names or len(set(names)) < len(names) or not set(names) <= set(POOLINGS):
            raise ValueError(f"pooling={list(names)}; expected one or more different ones of {', '.join(POOLINGS)}")
        if temperature <= 0:
            raise ValueError(f"gate_temperature={temperature}; expected above 0")
        self.names, self.running_means = tuple(names), running_means
        self._weights: Weights = {**WEIGHTS, "gated": partial(gated, temperature=temperature)}
        channels, side = maps[-1]
        self.attention = FrameAttention(channels, side**2) if "attention" in names else None
        self.maps = [(len(names) * c, side) for c, side in maps]

    def forward(
        self, maps: Sequence[Float[Tensor, "b t _ _ _"]], scores: Scores, mask: Mask | None = None
    ) -> list[Tensor]:
        """Pool the maps by the scores to D at each resolution, (b, d, h, w)."""
        real = real_frames(maps[-1], mask)
        weights = [self._weights_of(name, maps[-1], scores, real) for name in self.names if name != "max"]
        stacked = torch.stack(weights, dim=1) if weights else None
        return [self._pool(features, stacked, mask) for features in maps]

    def _weights_of(self, name: str, features: Tensor, scores: Scores, mask: Mask) -> Tensor:
        if name == "attention":
            assert self.attention is not None
            return wide(self.attention(features, mask))
        order = READS.get(name)
        # A pooling without a scorer uses only the shape and the dtype of the scores.
        used = wide(features.new_zeros(features.shape[:2])) if order is None else scores[order]
        weights = self._weights[name](used, mask)
        on_means = self.running_means and order == "chronological"
        return over_running_means(weights, mask) if on_means else weights

    def _pool(self, features: Tensor, weights: Tensor | None, mask: Mask | None) -> Tensor:
        by_weights = iter(() if weights is None else pool(features, weights, mask).unbind(1))
        parts = [max_over_time(features, mask) if name == "max" else next(by_weights) for name in self.names]
        return torch.cat(parts, dim=1)

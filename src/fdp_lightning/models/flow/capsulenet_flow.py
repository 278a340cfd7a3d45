"""CapsuleNet on flow maps: its capsules without its trunk, 5,813,504 parameters at three classes.

Provenance: Van Quang, Chun and Tokuyama, "CapsuleNet for micro-expression recognition", FG 2019; the authors' code (on
GitHub, quangdtsc/megc2019). There a ResNet-18 makes 256 maps of 28×28 of the apex frame, in colour, 224×224 (13.84 M
parameters); behind it stand a convolution of 9×9, primary capsules by another one of stride 2 (1,152 of 8 numbers),
and a capsule of 16 numbers for each class, by three rounds of routing (Sabour et al., "Dynamic routing between
capsules", NIPS 2017). Here flow maps of 28×28 take the place of the trunk's (ours): the apex frame alone, without its
onset, is not what the other recognisers here are given. Logits are the lengths of the class capsules.

Input: u, v and strain in 0..1, as for the other networks of this package (ours).
Published, on the apex frame, MEGC 2019: UF1 .6520, UAR .6506, on 435 of the 442 clips, each subject's epoch chosen on
that subject.
Unknown: nothing of the capsules; the trunk and the input are ours.
Deviations: classes are not balanced by frames beside the apex, and maps are not augmented. The probabilities, a softmax
of lengths within 0..1, are flat.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.flow.flow_net import FlowNet
from fdp_lightning.models.recognizer import Objective

UPPER, LOWER, OTHERS = 0.99, 0.01, 0.5
"""m⁺, m⁻ and λ of the margin loss."""


class CapsuleNetFlow(FlowNet):
    """Maps of 28×28 to logits.

    Args:
        classes: k.
        in_channels: of the maps.
        width: channels of both convolutions.
        rounds: of routing.
    """

    image_size = 28

    def __init__(self, classes: int = 3, in_channels: int = 3, width: int = 256, rounds: int = 3) -> None:
        super().__init__()
        if width % 8:
            raise ValueError(f"CapsuleNetFlow has a width of {width}; expected a multiple of 8")
        self.in_channels, self.rounds = in_channels, rounds
        self.conv = nn.Conv2d(in_channels, width, 9)
        self.primary = nn.Conv2d(width, width, 9, stride=2)
        capsules = width // 8 * 6 * 6
        self.votes = nn.Parameter(0.1 * torch.randn(capsules, classes, 16, 8))

    def forward_features(self, maps: Float[Tensor, "b c 28 28"]) -> Float[Tensor, "b n 8"]:
        """The primary capsules."""
        x = self.primary(F.relu(self.conv(maps)))  # b width 6 6
        capsules = x.unflatten(1, (-1, 8)).permute(0, 1, 3, 4, 2).flatten(1, 3)
        return squashed(capsules)

    def forward_head(self, features: Float[Tensor, "b n 8"]) -> Float[Tensor, "b k"]:
        """The lengths of the class capsules."""
        votes = torch.einsum("nkij,bnj->bnki", self.votes, features)
        agreement = votes.new_zeros(votes.shape[:3])
        for last in range(self.rounds - 1, -1, -1):
            classes = squashed((agreement.softmax(dim=2).unsqueeze(3) * votes).sum(dim=1))  # b k 16
            if last:
                agreement = agreement + (votes * classes.unsqueeze(1)).sum(dim=3)
        return classes.square().sum(dim=2).add(1e-12).sqrt()


def squashed(capsules: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """Return capsules of the same directions, of lengths l² / (1 + l²)."""
    square = capsules.square().sum(dim=-1, keepdim=True)
    return capsules * (square + 1e-12).sqrt() / (1 + square)


class MarginObjective(Objective[Any]):
    """The margin loss of capsules, `T_k max(0, m⁺ - l_k)² + λ (1 - T_k) max(0, l_k - m⁻)²` over the lengths l.

    Args:
        options: as of `Objective`; smoothing and focal weighting belong to cross-entropy.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.label_smoothing or self.focal:
            raise ValueError("the margin loss has no label_smoothing and no focal; expected 0 for both")

    def emotion_loss(
        self, logits: Float[Tensor, "b k"], target: Int[Tensor, " b"] | Float[Tensor, "b k"]
    ) -> Float[Tensor, ""]:
        """Mean over the clips, weighted by their classes."""
        shown = F.one_hot(target, logits.shape[1]).to(logits.dtype) if target.ndim == 1 else target
        own, other = F.relu(UPPER - logits).square(), F.relu(logits - LOWER).square()
        weights = self.class_weights if self.weighted else torch.ones_like(logits[0])
        loss = (shown * own * weights + OTHERS * (1 - shown) * other).sum(dim=1)
        return loss.mean()

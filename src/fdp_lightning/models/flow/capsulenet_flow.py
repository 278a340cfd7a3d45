"""CapsuleNet on flow maps: the capsule layers without the ResNet trunk, 5,813,504 parameters at three classes.

Provenance: Van Quang, Chun and Tokuyama, "CapsuleNet for micro-expression recognition", FG 2019; the authors' code (on
GitHub, quangdtsc/megc2019). The original has 13.84 M parameters: a ResNet-18 trunk turns the apex frame (colour,
224×224) into 256 maps of 28×28; a 9×9 convolution, primary capsules from a second 9×9 convolution of stride 2 (1,152
capsules of 8 values) and one capsule of 16 values per class follow, with three rounds of routing (Sabour et al.,
"Dynamic routing between capsules", NIPS 2017). Logits are the lengths of the class capsules.

Input: u, v and strain in 0..1, 28×28 (ours), as for most networks in this package. They take the place of the trunk's
maps, because the other recognisers see the onset as well as the apex.
Published, on the apex frame, MEGC 2019: UF1 .6520, UAR .6506, on 435 of the 442 clips; the epoch of each subject was
chosen on that subject.
Unknown: nothing about the capsule layers.
Deviations: the trunk is left out; classes are not balanced by adding frames next to the apex; maps are not augmented.
The probabilities, a softmax of lengths within 0..1, are close to uniform.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.recognizer import Objective
from fdp_lightning.models.staged_net import FlowNet

UPPER, LOWER, OTHERS = 0.99, 0.01, 0.5
"""m⁺, m⁻ and λ of the margin loss."""


class CapsuleNetFlow(FlowNet):
    """Map flow maps of 28×28 to logits.

    Args:
        classes: number of classes, k.
        in_channels: channels of the maps.
        width: channels of both convolutions, a multiple of 8.
        rounds: rounds of routing.
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
        """Return the primary capsules."""
        x = self.primary(F.relu(self.conv(maps)))  # b width 6 6
        capsules = x.unflatten(1, (-1, 8)).permute(0, 1, 3, 4, 2).flatten(1, 3)
        return squashed(capsules)

    def forward_head(self, features: Float[Tensor, "b n 8"]) -> Float[Tensor, "b k"]:
        """Return the lengths of the class capsules."""
        votes = torch.einsum("nkij,bnj->bnki", self.votes, features)
        agreement = votes.new_zeros(votes.shape[:3])
        for last in range(self.rounds - 1, -1, -1):
            classes = squashed((agreement.softmax(dim=2).unsqueeze(3) * votes).sum(dim=1))  # b k 16
            if last:
                agreement = agreement + (votes * classes.unsqueeze(1)).sum(dim=3)
        return classes.square().sum(dim=2).add(1e-12).sqrt()


def squashed(capsules: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """Return capsules of unchanged direction whose length l becomes l² / (1 + l²)."""
    square = capsules.square().sum(dim=-1, keepdim=True)
    return capsules * (square + 1e-12).sqrt() / (1 + square)


class MarginObjective(Objective[Any]):
    """Margin loss of capsules, `T_k max(0, m⁺ - l_k)² + λ (1 - T_k) max(0, l_k - m⁻)²`, of the lengths l.

    Args:
        options: options of `Objective`, except label smoothing and focal weighting, which belong to cross-entropy.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.label_smoothing or self.focal:
            raise ValueError("the margin loss has no label_smoothing and no focal; expected 0 for both")

    def emotion_loss(
        self, logits: Float[Tensor, "b k"], target: Int[Tensor, " b"] | Float[Tensor, "b k"]
    ) -> Float[Tensor, ""]:
        """Return the mean margin loss of the clips, with class weights on the term of the true class."""
        present = F.one_hot(target, logits.shape[1]).to(logits.dtype) if target.ndim == 1 else target
        own, other = F.relu(UPPER - logits).square(), F.relu(logits - LOWER).square()
        weights = self.class_weights if self.weighted else torch.ones_like(logits[0])
        loss = (present * own * weights + OTHERS * (1 - present) * other).sum(dim=1)
        return loss.mean()

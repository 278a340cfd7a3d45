"""MMNet: apex minus onset through attended convolutions, the onset through a transformer; 9.44 M parameters.

Provenance: Li, Sui, Zhu and Zhao, "MMNet: muscle motion-guided network for micro-expression recognition", IJCAI 2022;
the authors' code (on GitHub, muse1998), of which the script for five classes of CASME II is followed: 9,435,769
parameters.

Input: onset and apex, the first and the middle of the three frames that `data.sampling.rule=onset_apex_offset` selects;
colour, 224×224, standardised by ImageNet's mean and standard deviation.
Published: for CASME II, five classes, accuracy and F1 at the best epoch of each test subject, chosen separately for the
two scores. The scores of the last epoch are not known. The script for three classes cannot run as published.
Unknown: whether the first block has a convolution in its shortcut although it changes neither width nor resolution
(here it has none); how the onset is reduced to the size of the map (here by averaging areas); whether a norm follows
the transformer (here it does).
Deviations: onset and apex are the annotated frames, also in training, where the original draws them from nearby frames.
Seven further frames, action units and a second head are left out; they have no effect in the original. Rotation and
shift come from our augmentation, with the same magnitudes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.staged_net import FrameNet

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class AttendedBlock(nn.Module):
    """A residual block with spatial attention, from the mean and maximum of its channels and the block before it."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.attend = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(
        self, maps: Float[Tensor, "b c h w"], attention: Float[Tensor, "b 1 h w"] | None
    ) -> tuple[Float[Tensor, "b d h2 w2"], Float[Tensor, "b 1 h2 w2"]]:
        """Return the weighted maps and their attention, given the attention of the previous block."""
        maps = F.relu(self.convolve(maps) + self.shortcut(maps))
        own = self.attend(torch.cat([maps.mean(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)], dim=1))
        if attention is not None:
            own = own * F.max_pool2d(attention, 3, 2, padding=1)
        return maps * own, own


class TransformerBlock(nn.Module):
    """Pre-norm residual block: self-attention, then an MLP of width 4d."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Float[Tensor, "b p d"]) -> Float[Tensor, "b p d"]:
        """Return tokens of the same shape."""
        b, p, d = tokens.shape
        query, key, value = self.mixed(self.attention_norm(tokens)).view(b, p, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(b, p, d)
        tokens = tokens + self.project(attended)
        return tokens + self.mlp(self.mlp_norm(tokens))


class MMNet(FrameNet):
    """Map frames to logits.

    Args:
        classes: number of classes, k.
        in_channels: 3 for colour, 1 for grey.
        image_size: side of the frames, a multiple of 16 pixels.
        frames: frames per clip, t; the middle one is the apex.
        width: channels of the stem and of the first two blocks; the last block has four times as many.
        heads: attention heads of the transformer.
        depth: number of transformer blocks.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: int = 5,
        in_channels: int = 3,
        image_size: int = 224,
        frames: int = 3,
        width: int = 128,
        heads: int = 4,
        depth: int = 2,
    ) -> None:
        super().__init__(in_channels, image_size, frames)
        if image_size % 16:
            raise ValueError(f"MMNet got frames of {image_size} pixels; expected a multiple of 16")
        first, d = width * 45 // 32, 4 * width  # 180 and 512
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, first, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        sizes = [(width, width, 1), (width, width, 2), (width, 2 * width, 2), (2 * width, d, 2)]
        self.blocks = nn.ModuleList(AttendedBlock(*size) for size in sizes)
        places = (image_size // 16) ** 2
        self.embed = nn.Linear(in_channels, d)
        self.position = nn.Parameter(0.02 * torch.randn(places, d))
        self.transformer = nn.Sequential(*(TransformerBlock(d, heads) for _ in range(depth)), nn.LayerNorm(d))
        self.classify = nn.Linear(d * places, classes)
        mean, std = (torch.tensor(values) for values in (_MEAN, _STD))
        if in_channels == 1:
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)

    def forward_features(self, frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Return the sum of both branches' maps; h2 = h / 16."""
        frames = (frames - self.mean) / self.std
        onset, apex = frames[:, 0], frames[:, frames.shape[1] // 2]
        x, attention = self.stem(apex - onset), None
        for block in self.blocks:
            x, attention = block(x, attention)
        tokens = F.avg_pool2d(onset, 16).flatten(2).transpose(1, 2)
        where = self.transformer(self.embed(tokens) + self.position)
        return x + where.transpose(1, 2).reshape(x.shape)

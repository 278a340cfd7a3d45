"""The local-global feature-aware transformer: stem, stages, one feature map per frame (P: arXiv 2509.06015)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.global_aggregator import GlobalRelationalAggregator
from fdp_lightning.models.local_aggregator import LocalRelationalAggregator
from fdp_lightning.models.stem import Stem


@dataclass(frozen=True)
class Stage:
    """The pattern of one stage: `n_local` LRAs of `width`, then `n_global` GRAs of `global_width`.

    Attributes:
        stride: of the stage's first block.
        sr_ratio: spatial reduction of the GRAs' keys and values.
    """

    n_local: int
    width: int
    n_global: int = 0
    global_width: int = 0
    stride: int = 2
    sr_ratio: int = 1


class Backbone(nn.Module):
    """Frames to feature maps.

    Args:
        in_channels: 1 for grey, 3 for colour.
        stem_widths: see `Stem`.
        stem_strides: see `Stem`.
        stages: a `Stage`, or its fields as a mapping, per stage.
        head_channels: of one head of either aggregator.
        local_mlp_ratio: of the LRAs.
        global_mlp_ratio: of the GRAs.
        mix_ratio: of the GRAs.
        drop_path: rate at the last block; it grows linearly from 0 at the first.

    Attributes:
        out_channels: width of the maps that come out.
        stride: picture pixels per map place.
    """

    def __init__(
        self,
        stem_widths: Sequence[int],
        stem_strides: Sequence[int],
        stages: Sequence[Stage | dict[str, int]],
        in_channels: int = 1,
        head_channels: int = 8,
        local_mlp_ratio: float = 3.0,
        global_mlp_ratio: float = 2.0,
        mix_ratio: float = 0.75,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        pattern = [stage if isinstance(stage, Stage) else Stage(**stage) for stage in stages]
        n_blocks = sum(stage.n_local + stage.n_global for stage in pattern)
        if n_blocks == 0 or any(stage.n_local + stage.n_global == 0 for stage in pattern):
            raise ValueError("every stage needs n_local + n_global of at least 1")
        rates = iter(torch.linspace(0, drop_path, n_blocks).tolist())
        self.stem = Stem(in_channels, stem_widths, stem_strides)
        self.stride = 1
        for stride in stem_strides:
            self.stride *= stride
        width = stem_widths[-1]
        blocks: list[nn.Module] = []
        for stage in pattern:
            if stage.n_local == 0 and stage.stride != 1:
                raise ValueError("a stage without local aggregators cannot have a stride: the GRA keeps the resolution")
            self.stride *= stage.stride
            for i in range(stage.n_local):
                stride = stage.stride if i == 0 else 1
                blocks.append(
                    LocalRelationalAggregator(width, stage.width, stride, head_channels, local_mlp_ratio, next(rates))
                )
                width = stage.width
            for _ in range(stage.n_global):
                blocks.append(
                    GlobalRelationalAggregator(
                        width,
                        stage.global_width,
                        mix_ratio,
                        head_channels,
                        stage.sr_ratio,
                        global_mlp_ratio,
                        next(rates),
                    )
                )
                width = stage.global_width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.out_channels = width
        self.apply(_initialise)

    def forward(self, frames: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Frames to feature maps; h2 = h / stride.

        Raises:
            ValueError: a side of the frames is no multiple of the stride.
        """
        h, w = frames.shape[-2:]
        if h % self.stride or w % self.stride:
            raise ValueError(f"frames of {h}×{w} cannot be divided by the backbone's stride {self.stride}")
        return self.norm(self.blocks(self.stem(frames)))


def _initialise(module: nn.Module) -> None:
    """Truncated normal of std 0.02 for weights, zero for biases (R)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""The local-global feature-aware transformer: stem, stages, one feature map per frame (P: arXiv 2509.06015)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from operator import mul
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from fdp_lightning.models.fdp.blocks import GlobalRelationalAggregator, LocalRelationalAggregator, MapShape, Stem
from fdp_lightning.models.fdp.pretrained import load_nextvit


@dataclass(frozen=True)
class Stage:
    """The pattern of one stage: LRAs, then GRAs.

    Attributes:
        n_local: number of LRAs.
        width: width of the LRAs, channels.
        n_global: number of GRAs.
        global_width: width of the GRAs, channels.
        stride: stride of the stage's first block.
        sr_ratio: spatial reduction of the GRAs' keys and values.
        repeats: number of repetitions of the pattern in the stage.
    """

    n_local: int = 0
    width: int = 0
    n_global: int = 0
    global_width: int = 0
    stride: int = 2
    sr_ratio: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        if (
            not all(isinstance(number, int) and number >= 0 for number in vars(self).values())
            or not self.repeats * self.sr_ratio * (self.n_local + self.n_global)
            or (self.n_local and not self.width)
            or (self.n_global and not self.global_width)
        ):
            raise ValueError(
                f"{self}; expected whole numbers, n_local + n_global, repeats and sr_ratio of at least 1, width if "
                "there are local and global_width if there are global aggregators"
            )


class Backbone(nn.Module):
    """Frames to feature maps: stem, then stages of LRAs and GRAs.

    Args:
        stem_widths: widths of the `Stem`.
        stem_strides: strides of the `Stem`.
        stages: a `Stage` for each stage, or its fields as a mapping.
        in_channels: 1 for grey, 3 for colour.
        head_channels: channels of one head in either aggregator.
        local_mlp_ratio: MLP ratio of the LRAs.
        global_mlp_ratio: MLP ratio of the GRAs.
        mix_ratio: mix ratio of the GRAs.
        drop_path: drop-path rate of the last block, reached linearly from 0 at the first.
        attention: build the GRAs; False for local blocks only (ablation).
        local: build the LRAs; False for global blocks only, where a stage without any gets a GRA of the same width in
            place of each LRA (ablation).
        pretrained: True to start from timm's nextvit_small wherever shapes agree, or the path of a file of its weights.

    Attributes:
        in_channels: channels of the frames.
        stride: image pixels per position of the feature maps.
        layout: stage, kind of aggregator, and index among those of this kind in the stage, for each block.
        checkpointing: keep only the inputs of each block ('blocks'), or of all blocks of a stride ('stages'), see
            `recomputed`; None to keep everything.
        local_aggregator: class of the LRAs.
    """

    checkpointing: str | None = None
    local_aggregator: type[LocalRelationalAggregator] = LocalRelationalAggregator

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
        attention: bool = True,
        local: bool = True,
        pretrained: bool | str = False,
    ) -> None:
        super().__init__()
        pattern = [stage if isinstance(stage, Stage) else Stage(**stage) for stage in stages]
        if not local:
            pattern = [_global_only(stage) for stage in pattern]
        plan = [(number, *block) for number, stage in enumerate(pattern) for block in _blocks(stage, attention)]
        if not plan or {number for number, *_ in plan} != set(range(len(pattern))):
            raise ValueError("a stage has no block, or there is no stage: each needs local=true or attention=true")
        rates = torch.linspace(0, drop_path, len(plan), device="cpu").tolist()
        self.stem = Stem(in_channels, stem_widths, stem_strides)
        width = stem_widths[-1]
        blocks: list[nn.Module] = []
        widths: list[int] = []
        for (number, kind, stride), rate in zip(plan, rates, strict=True):
            stage = pattern[number]
            if kind == "local":
                blocks.append(self.local_aggregator(width, stage.width, stride, head_channels, local_mlp_ratio, rate))
                width = stage.width
            else:
                options = (mix_ratio, head_channels, stage.sr_ratio, global_mlp_ratio, rate)
                blocks.append(GlobalRelationalAggregator(width, stage.global_width, stride, *options))
                width = stage.global_width
            widths.append(width)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.in_channels = in_channels
        self._strides = [*accumulate([*stem_strides, *(stride for _, _, stride in plan)], mul)]
        self.stride = self._strides[-1]
        # Of entries with the same stride, the last one remains.
        self._channels = dict(zip(self._strides, [*stem_widths, *widths], strict=True))
        kinds = [(number, kind) for number, kind, _ in plan]
        self.layout = [(*place, kinds[:i].count(place)) for i, place in enumerate(kinds)]
        self.apply(_initialise)
        if pretrained:
            load_nextvit(self, pretrained)

    def map_shapes(self, image_size: int) -> dict[int, MapShape]:
        """Return channels and side of the last map of each stride, for square frames; the last entry is the output.

        Raises:
            ValueError: the size is not a multiple of the stride.
        """
        if image_size < 1 or image_size % self.stride:
            raise ValueError(
                f"image size {image_size} (data.faces.size) is not a multiple of the backbone's stride {self.stride}"
            )
        return {stride: (channels, image_size // stride) for stride, channels in self._channels.items()}

    def forward(self, frames: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Map frames to feature maps, see `forward_maps`; h2 = h / stride."""
        return self.forward_maps(frames, ())[0]

    def forward_maps(self, frames: Float[Tensor, "n c h w"], finer: Sequence[int]) -> list[Tensor]:
        """Map frames to the last maps of the strides `finer`, ascending, and the feature maps; h2 = h / stride.

        Raises:
            ValueError: a side of the frames is not a multiple of the stride.
        """
        h, w = frames.shape[-2:]
        if h % self.stride or w % self.stride:
            raise ValueError(f"the sides of {h}×{w} frames are not multiples of the backbone's stride {self.stride}")
        x, maps = frames, []
        # Run the convolutions and blocks of each stride in turn, and keep the last map of each.
        units = zip(self._strides, (*self.stem, *self.blocks), strict=True)
        for stride, of_stride in groupby(units, key=lambda unit: unit[0]):
            x = self._run([unit for _, unit in of_stride], x)
            if stride in finer:
                maps.append(x)
        return [*maps, self.norm(x)]

    def _run(self, units: list[nn.Module], x: Tensor) -> Tensor:
        if self.checkpointing == "stages":
            stage = nn.Sequential(*units)
            return recomputed(stage, stage, x)
        for unit in units:
            x = unit(x) if self.checkpointing is None else recomputed(unit, unit, x)
        return x


def _global_only(stage: Stage) -> Stage:
    if stage.n_global:
        return replace(stage, n_local=0)
    return replace(stage, n_local=0, n_global=stage.n_local, global_width=stage.width)


def _blocks(stage: Stage, attention: bool) -> list[tuple[str, int]]:
    """Return kind of aggregator and stride of each block of a stage; the first block has the stage's stride."""
    kinds = (["local"] * stage.n_local + ["global"] * (stage.n_global if attention else 0)) * stage.repeats
    return [(kind, stage.stride if i == 0 else 1) for i, kind in enumerate(kinds)]


def _initialise(module: nn.Module) -> None:
    """Initialise weights by a truncated normal of std 0.02, biases by zero (R)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def recomputed(block: nn.Module, call: Callable[..., Any], *inputs: Tensor, when: bool = True) -> Any:
    """Return `call(*inputs)`, keeping only the inputs and recomputing the rest for the gradient; if `when`.

    Activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174); the
    recomputation draws the same random masks. The batch norms that `call` uses are those of `block`; they update their
    running statistics only the first time.
    """
    if not (when and torch.is_grad_enabled()):
        return call(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_held(block)

    return checkpoint(call, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_held(block: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norms unchanged while they normalise as in training."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked

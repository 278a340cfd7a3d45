"""SegNet (Badrinarayanan et al., TPAMI 2017), the released code's DIC network (R): 29.45 M parameters."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.rank.pooling_modules import MapShape
from fdp_lightning.models.recomputed import recomputed
from fdp_lightning.models.small_maps import Conv3x3

_ENCODER = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Widths of VGG16's convolutions."""


class SegNet(nn.Module):
    """A VGG16-shaped encoder, its mirror as decoder, and the encoder's pooling indices to enlarge by.

    Layers are named as in checkpoints of the released code: `conv11`, `bn11`, … `conv53d`, `bn53d`.

    Args:
        maps: channels and side of D at each resolution; all are brought to the image's side first and joined.
        image_side: of the dynamic image; a multiple of 32.

    Attributes:
        checkpointing: keep the inputs of stages alone, see recomputed.py; None: keep everything.
    """

    checkpointing: str | None = None

    def __init__(self, maps: Sequence[MapShape], image_side: int) -> None:
        super().__init__()
        if image_side % 32:
            raise ValueError(f"model/dic_head=segnet needs an image side that is a multiple of 32, got {image_side}")
        self.image_side = image_side
        width = sum(channels for channels, _ in maps)
        for stage, widths in enumerate(_ENCODER, 1):
            for layer, out in enumerate(widths, 1):
                self._add(f"{stage}{layer}", width, out)
                width = out
        for stage, widths in reversed(list(enumerate(_ENCODER, 1))):
            narrower = _ENCODER[stage - 2][-1] if stage > 1 else 1
            for layer in range(len(widths), 0, -1):
                out = narrower if layer == 1 else widths[0]
                self._add(f"{stage}{layer}d", width, out, normalised=(stage, layer) != (1, 1))
                width = out

    def _add(self, name: str, in_channels: int, out_channels: int, normalised: bool = True) -> None:
        self.add_module(f"conv{name}", Conv3x3(in_channels, out_channels))
        if normalised:
            self.add_module(f"bn{name}", nn.BatchNorm2d(out_channels, momentum=0.1))

    def _layer(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"bn{name}")(self.get_submodule(f"conv{name}")(x)))

    def _enlarged(self, maps: Tensor) -> Tensor:
        size = (self.image_side, self.image_side)
        return maps if maps.shape[-2:] == size else F.interpolate(maps, size)

    def _encode(self, stage: int, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in range(1, len(_ENCODER[stage - 1]) + 1):
            x = self._layer(f"{stage}{layer}", x)
        return F.max_pool2d(x, 2, return_indices=True)

    def _decode(self, stage: int, x: Tensor, places: Tensor) -> Tensor:
        x = _unpool(x, places)
        for layer in range(len(_ENCODER[stage - 1]), 0, -1):
            last = (stage, layer) == (1, 1)
            x = self.get_submodule("conv11d")(x) if last else self._layer(f"{stage}{layer}d", x)
        return x

    def forward(self, representation: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b 1 h2 w2"]:
        """The constructed dynamic image, in [0, 1]."""
        x = torch.cat([self._enlarged(d) for d in representation], dim=1)
        places = []
        for stage in range(1, len(_ENCODER) + 1):
            x, indices = recomputed(self, partial(self._encode, stage), x, when=self.checkpointing is not None)
            places.append(indices)
        for stage in range(len(_ENCODER), 0, -1):
            x = recomputed(self, partial(self._decode, stage), x, places.pop(), when=self.checkpointing is not None)
        return x.sigmoid()


def _unpool(maps: Float[Tensor, "b c h w"], places: Int[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """Each value back to where the 2×2 pooling took it from, zero elsewhere.

    `F.max_unpool2d` does the same, but has no deterministic form; pooled windows do not overlap, so this is one.
    """
    b, c, h, w = maps.shape
    empty = maps.new_zeros(b, c, 4 * h * w)
    return empty.scatter_(2, places.flatten(2), maps.flatten(2)).view(b, c, 2 * h, 2 * w)

"""Any image model of timm in place of FDP's backbone (O)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.fdp.blocks import MapShape
from fdp_lightning.models.weights import read_weights


class TimmBackbone(nn.Module):
    """The feature maps of one level of a timm model, for each frame.

    Args:
        name: name of the model in timm.
        image_size: side of the frames, pixels.
        in_channels: 1 for grey, 3 for colour.
        pretrained: True to start from timm's weights, which timm fetches and caches, or the path of a file of weights
            of the whole model under timm's names, see `read_weights`.
        level: index of the feature level; -1 is the last, the coarsest.
        input_size: side that frames are resized to, pixels, for models that accept only one size; None for no resizing.
        options: further arguments of `timm.create_model`.

    Attributes:
        in_channels: channels of the frames.
    """

    def __init__(
        self,
        name: str,
        image_size: int,
        in_channels: int = 1,
        pretrained: bool | str = False,
        level: int = -1,
        input_size: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        # timm would take other names as well, and read a folder or ask a server for them.
        if not timm.is_model(name):
            raise ValueError(f"unknown timm model '{name}'; allowed are those of timm.list_models()")
        self.in_channels = in_channels
        self.image_size, self.input_size = image_size, input_size or image_size
        arguments = {"features_only": True, "in_chans": in_channels, **(options or {})}
        indices = {} if level == -1 else {"out_indices": (level,) if level < 0 else tuple(range(level + 1))}
        net: Any = _create(name, self.input_size, pretrained, {**indices, **arguments})
        net.pretrained_cfg.pop("state_dict", None)  # timm's copy of the weights of a file
        self.net: nn.Module = net
        self._channels_last = str(getattr(self.net, "output_fmt", "")).endswith("NHWC")
        try:
            with torch.no_grad():
                probe = self.eval()._all_maps(torch.zeros(1, in_channels, image_size, image_size))
        except Exception as error:  # timm models raise exceptions of any type for unsuitable frames
            raise ValueError(
                f"timm model '{name}' does not take frames of {self.input_size} pixels ({error}); "
                "model.backbone.input_size=224 enlarges them"
            ) from error
        self.train()
        info: Any = self.net.feature_info
        # Some models have several maps of the same stride; the last one is used.
        self._index = {stride: i for i, stride in enumerate(info.reduction())}
        self._shapes = {stride: (probe[i].shape[1], probe[i].shape[2]) for stride, i in self._index.items()}

    def map_shapes(self, image_size: int) -> dict[int, MapShape]:
        """Return channels and side of the last map of each stride, by timm's strides; the last entry is the output.

        Raises:
            ValueError: the model was built for another image size.
        """
        if image_size != self.image_size:
            raise ValueError(f"image size {image_size}: this timm backbone was built for {self.image_size}")
        return self._shapes

    def forward(self, frames: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Map frames to feature maps."""
        return self.forward_maps(frames, ())[0]

    def forward_maps(self, frames: Float[Tensor, "n c h w"], finer: Sequence[int]) -> list[Tensor]:
        """Map frames to the maps of the strides `finer`, ascending, followed by the feature maps."""
        maps = self._all_maps(frames)
        return [*(maps[self._index[stride]] for stride in sorted(finer)), maps[-1]]

    def _all_maps(self, frames: Tensor) -> list[Tensor]:
        if frames.shape[-1] != self.input_size:
            frames = F.interpolate(frames, (self.input_size, self.input_size), mode="bilinear", antialias=False)
        maps = self.net(frames)
        return [m.permute(0, 3, 1, 2) for m in maps] if self._channels_last else maps  # Swin and others: n h w d


def _create(name: str, input_size: int, pretrained: bool | str, arguments: dict[str, Any]) -> nn.Module:
    """Create the model; only models with position embeddings accept the image size, and need it."""
    if isinstance(pretrained, str):
        arguments, pretrained = {**arguments, "pretrained_cfg_overlay": _from_file(name, Path(pretrained))}, True
    try:
        try:
            return timm.create_model(name, pretrained=pretrained, img_size=input_size, **arguments)
        except TypeError:
            return timm.create_model(name, pretrained=pretrained, **arguments)
    except Exception as error:  # an unknown option, a failed download, a level that does not exist
        raise ValueError(f"timm model '{name}' cannot be built: {error}") from error


def _from_file(name: str, file: Path) -> dict[str, Any]:
    """Return the entry of timm's configuration for which it loads these weights."""
    own = {"state_dict": read_weights(file)}
    try:
        # The feature levels are loaded without a check of names; the whole model has one.
        timm.create_model(name, pretrained=True, pretrained_cfg_overlay=dict(own))
    except Exception as error:
        raise ValueError(
            f"model.backbone.pretrained={file}: not the weights of {name}; names or shapes differ"
        ) from error
    return own

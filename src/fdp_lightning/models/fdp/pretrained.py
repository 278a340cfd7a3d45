"""Loading of timm's Next-ViT weights into our blocks (Next-ViT, arXiv 2207.05501; weights trained on ImageNet-1k).

The blocks are the same under other names: NCB is the local relational aggregator, NTB the global one.
"""

import logging
from collections.abc import Mapping
from typing import Any

from timm.models import adapt_input_conv
from torch import Tensor, nn

from fdp_lightning.models.imagenet import imagenet_weights

log = logging.getLogger("fdp_lightning")

_ARCHITECTURE = "nextvit_small"
_BOTH = {"patch_embed": "patch_embed", "mlp.fc1": "mlp.expand", "mlp.fc2": "mlp.project"}
_LOCAL = _BOTH | {
    "mhca.group_conv3x3": "attention.conv", "mhca.norm": "attention.norm", "mhca.projection": "attention.project",
    "norm": "norm",
}  # fmt: skip
_GLOBAL = _BOTH | {
    "norm1": "norm", "e_mhsa.q": "attention.query", "e_mhsa.k": "attention.key", "e_mhsa.v": "attention.value",
    "e_mhsa.proj": "attention.project", "e_mhsa.norm": "attention.norm", "projection": "to_local",
    "mhca.group_conv3x3": "local.conv", "mhca.norm": "local.norm", "mhca.projection": "local.project",
    "norm2": "mlp_norm",
}  # fmt: skip


def from_nextvit(
    state: Mapping[str, Tensor], layout: list[tuple[int, str, int]], in_channels: int
) -> dict[str, Tensor]:
    """Rename a state dict of timm's Next-ViT to the names of a `Backbone` with this `Backbone.layout`.

    The i-th local (global) block of a stage there becomes the i-th local (global) block of that stage here; blocks
    without a counterpart and the classifier are left out. For grey frames, the weights of the first convolution are
    summed over the three colours.
    """
    ours = {name: value for name, value in state.items() if name.startswith(("stem.", "norm."))}
    if "stem.0.conv.weight" in ours:
        ours["stem.0.conv.weight"] = adapt_input_conv(in_channels, ours["stem.0.conv.weight"])
    numbers = sorted({_block(name) for name in state if name.startswith("stages.")})
    kinds = [(i, "global" if f"stages.{i}.blocks.{j}.norm1.weight" in state else "local") for i, j in numbers]
    for at, ((stage, block), kind) in enumerate(zip(numbers, kinds, strict=True)):
        place = (*kind, kinds[:at].count(kind))
        if place not in layout:
            continue
        here = f"blocks.{layout.index(place)}."
        for old, new in (_GLOBAL if kind[1] == "global" else _LOCAL).items():
            prefix = f"stages.{stage}.blocks.{block}.{old}."
            ours |= {f"{here}{new}.{n.removeprefix(prefix)}": v for n, v in state.items() if n.startswith(prefix)}
    return ours


def load_nextvit(backbone: nn.Module, source: bool | str) -> None:
    """Load Next-ViT's weights into a `Backbone` wherever name and shape agree; for `source` see `imagenet_weights`.

    Raises:
        ValueError: the weights cannot be fetched or read, or fit no block.
    """
    own = backbone.state_dict()
    layout: Any = backbone.layout
    in_channels: Any = backbone.in_channels
    given = from_nextvit(imagenet_weights(_ARCHITECTURE, source, "model.backbone.pretrained"), layout, in_channels)
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    # The stem fits any backbone of the same stem widths; some blocks must fit too.
    if not any(name.startswith("blocks.") and name.endswith("weight") for name in fitting):
        raise ValueError(
            f"pretrained={source}: no block of {_ARCHITECTURE} has the shapes of this backbone; "
            "choose model/backbone=fdp_nextvit (all fit) or fdp (most fit), or pretrained=false"
        )
    backbone.load_state_dict(fitting, strict=False)
    log.info("pretrained: %d of %d tensors come from %s", len(fitting), len(own), _ARCHITECTURE)


def _block(name: str) -> tuple[int, int]:
    _, stage, _, block, *_ = name.split(".")
    return int(stage), int(block)

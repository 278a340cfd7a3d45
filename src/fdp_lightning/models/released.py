"""The code released with FDP (R): its scrambled time axis, and its checkpoints in our names and back.

The network itself is `model=fdp_released`: our parts with the released values of their options. What the released code
does differently from the paper is listed in this folder's README.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

_NAMES = (
    ("frame_rep.stem.", "backbone.stem."),
    ("frame_rep.features.", "backbone.blocks."),
    ("frame_rep.norm.", "backbone.norm."),
    ("frame_rep.proj_head.0.", "head_block.project."),
    ("mer.conv3d.", "pooling.conv.0.conv."),
    ("mer.fc1.", "mer_head.hidden."),
    ("mer.fc2.", "mer_head.classify."),
    ("dyimg_net.", "dic_head."),
)
_IN_BLOCK = (
    (".mhca.group_conv3x3.", ".attention.conv."),
    (".mlp.conv1.", ".mlp.expand."),
    (".mlp.conv2.", ".mlp.project."),
)
_OURS_ALONE = {"mean": 0.0, "std": 1.0}
"""The released network normalises nothing: its frames come normalised."""


def scrambled(features: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t c h w"]:
    """Read (t, c, h, w) in memory as if it were (c, h, w, t), as the released code does (R).

    What then stands along the time axis are t neighbouring features of one frame; of eight frames of 1×64×64, frame k
    fills rows 8k to 8k+7.
    """
    b, t, c, h, w = features.shape
    return features.reshape(b, c, h, w, t).permute(0, 4, 1, 2, 3)


def from_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the released layout as one of `model=fdp_released`, to be loaded strictly.

    Raises:
        ValueError: a name that the released layout does not have.
    """
    return {_renamed(name, _NAMES, _IN_BLOCK): value for name, value in state.items()} | {
        name: torch.tensor(value) for name, value in _OURS_ALONE.items()
    }


def to_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `model=fdp_released` in the released layout.

    The frames' own normalisation (`mean`, `std`) has no place there and is left out: whoever loads the result has to
    normalise the frames.

    Raises:
        ValueError: a name that the released layout has no place for; the model is another.
    """
    names, in_block = (tuple((ours, theirs) for theirs, ours in table) for table in (_NAMES, _IN_BLOCK))
    return {_renamed(name, names, in_block): value for name, value in state.items() if name not in _OURS_ALONE}


def _renamed(name: str, names: tuple[tuple[str, str], ...], in_block: tuple[tuple[str, str], ...]) -> str:
    for old, new in names:
        if name.startswith(old):
            renamed = new + name.removeprefix(old)
            if "features." in old or "blocks." in old:
                for old_part, new_part in in_block:
                    renamed = renamed.replace(old_part, new_part)
            return renamed
    raise ValueError(
        f"'{name}' is not of the layout of the released code; expected names begin with {_beginnings(names)}"
    )


def _beginnings(names: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(old for old, _ in names)

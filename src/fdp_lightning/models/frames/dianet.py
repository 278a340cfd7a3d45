"""DIANet, as we read it: one dynamic image before the apex and one after it, which attend to each other.

Provenance: arXiv 2510.12219 (2025); we know only its abstract, and found no code. It describes two dynamic images,
onset→apex and apex→offset, a network on each and cross-attention. **Everything else here is ours**: this is not a
reproduction, and its scores are not theirs.

    images     exact approximate rank pooling of each half of the frames, see `dynamic_image.py`; the middle frame is
               the apex if the dataset annotates it (`data.sampling.rule=onset_apex_offset`), else the clip's middle
    streams    four steps of 3×3 convolution, batch norm, ReLU and pooling
    attention  the positions of each stream query those of the other; residual sum; norm; mean over the positions

Input: 9 frames, 64×64, grey (ours).
Published: accuracy .7000 on CASME II, .6889 on SAMM, .6424 on MMEW; class set and epoch selection are not stated.
Unknown: the networks, the form of the attention, the number of frames and the training.
Deviations: cannot be listed without the paper's text.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.dynamic_image import dynamic_image
from fdp_lightning.models.frames import image_stream
from fdp_lightning.models.staged_net import FrameNet


class CrossAttention(nn.Module):
    """Cross-attention from the positions of one map to those of another; each head has d / heads channels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.project = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, own: Float[Tensor, "b p d"], other: Float[Tensor, "b q d"]) -> Float[Tensor, "b p d"]:
        """Return `own`, updated by what its positions attend to in `other`."""
        b, p, d = own.shape
        query, key, value = (
            layer(tokens).view(b, tokens.shape[1], self.heads, -1).transpose(1, 2)
            for layer, tokens in ((self.query, own), (self.key, other), (self.value, other))
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(b, p, d)
        return self.norm(own + self.project(attended))


class DIANet(FrameNet):
    """Map frames to logits.

    Args:
        classes: number of classes, k.
        in_channels: 1 for grey, 3 for colour.
        image_size: side of the frames, pixels.
        frames: frames per clip, t; the middle one is the apex.
        width: channels of the first step; each further step doubles them.
        steps: convolution steps of each stream.
        heads: heads of each cross-attention.
    """

    def __init__(
        self,
        classes: int = 5,
        in_channels: int = 1,
        image_size: int = 64,
        frames: int = 9,
        width: int = 16,
        steps: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__(in_channels, image_size, frames, least_size=2**steps)
        widths = [width * 2**step for step in range(steps)]
        self.streams = nn.ModuleList(image_stream(in_channels, widths) for _ in range(2))
        self.attentions = nn.ModuleList(CrossAttention(widths[-1], heads) for _ in range(2))
        self.classify = nn.Linear(2 * widths[-1], classes)

    def forward_features(self, frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b d2"]:
        """Concatenate the means of both attended maps."""
        apex = frames.shape[1] // 2
        phases = (frames[:, : apex + 1], frames[:, apex:])
        rising, falling = (
            stream(dynamic_image(phase)).flatten(2).transpose(1, 2)
            for stream, phase in zip(self.streams, phases, strict=True)
        )
        after = (self.attentions[0](rising, falling), self.attentions[1](falling, rising))
        return torch.cat([tokens.mean(dim=1) for tokens in after], dim=1)

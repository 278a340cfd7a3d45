"""AFN, as we read it: two dynamic images of a clip, one in temporal order and one by motion intensity, fused.

Provenance: arXiv 2510.09730 (2025); we know only its abstract, and found no code. It describes two dynamic images, TRDI
(frames weighted in temporal order) and MIDI (frames ordered by motion intensity, then rank pooling), a stream for each
and a learned fusion. **Everything else here is ours**: this is not a reproduction, and its scores are not theirs.

    TRDI    exact approximate rank pooling of the frames, see `dynamic_image.py`
    MIDI    the same weights on the frames sorted by their mean absolute difference from the first one
    stream  four steps of 3×3 convolution, batch norm, ReLU and pooling; mean over the positions
    fusion  g a + (1 - g) b with g = sigmoid(W [a; b]), one weight per channel

Input: 16 frames, 64×64, grey (ours).
Published: accuracy .9395 on CASME II, .8247 on SAMM, .7600 on MMEW; protocol and epoch selection are not stated.
Unknown: the backbone, the measure of intensity, the fusion, the classes, the number of frames and the training.
Deviations: cannot be listed without the paper's text.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.dynamic_image import dynamic_image
from fdp_lightning.models.frames import image_stream
from fdp_lightning.models.staged_net import FrameNet


class AFN(FrameNet):
    """Map frames to logits.

    Args:
        classes: number of classes, k.
        in_channels: 1 for grey, 3 for colour.
        image_size: side of the frames, pixels.
        frames: frames per clip, t.
        width: channels of the first step; each further step doubles them.
        steps: convolution steps of each stream.
    """

    def __init__(
        self,
        classes: int = 5,
        in_channels: int = 1,
        image_size: int = 64,
        frames: int = 16,
        width: int = 16,
        steps: int = 4,
    ) -> None:
        super().__init__(in_channels, image_size, frames, least_size=2**steps)
        widths = [width * 2**step for step in range(steps)]
        self.streams = nn.ModuleDict({kind: image_stream(in_channels, widths) for kind in ("exact", "intensity")})
        self.gate = nn.Linear(2 * widths[-1], widths[-1])
        self.classify = nn.Linear(widths[-1], classes)

    def forward_features(self, frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b d"]:
        """Return the fused features of both dynamic images."""
        temporal, by_motion = (
            stream(dynamic_image(frames, kind)).mean(dim=(2, 3)) for kind, stream in self.streams.items()
        )
        gate = self.gate(torch.cat([temporal, by_motion], dim=1)).sigmoid()
        return gate * temporal + (1 - gate) * by_motion

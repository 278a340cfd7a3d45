"""The base class of all recognisers on flow maps."""

from fdp_lightning.models.staged_net import StagedNet


class FlowNet(StagedNet):
    """A network that maps flow maps, (b, c, h, w), to logits."""

    inputs = ("apex_flow", "maps")

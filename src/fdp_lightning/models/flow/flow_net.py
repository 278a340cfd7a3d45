"""What all recognisers on flow maps are."""

from fdp_lightning.models.staged_net import StagedNet


class FlowNet(StagedNet):
    """A network from flow maps, (b, c, h, w), to logits."""

    inputs = ("apex_flow", "maps")

"""The classes that a model file may name, by the place in the configuration where it may."""

from collections.abc import Mapping

from fdp_lightning.models import recognizer
from fdp_lightning.models.classical.fitted_svc import FittedSVC
from fdp_lightning.models.fdp.backbone import Backbone
from fdp_lightning.models.fdp.image_head import UNet
from fdp_lightning.models.fdp.network import FDP, MERHead, RankScorer
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.fdp_released import FDPReleased, PooledMERHead, ReleasedBackbone, SegNet
from fdp_lightning.models.flow.capsulenet_flow import MarginObjective
from fdp_lightning.models.flow.flow_net import FlowNet
from fdp_lightning.models.frames.frame_net import FrameNet
from fdp_lightning.models.recipe import networks
from fdp_lightning.models.timm_backbone import TimmBackbone

NETWORK, OBJECTIVE = "", "objective"

CLASSES: Mapping[str, tuple[type, ...]] = {
    NETWORK: (FDP, FDPReleased, *networks(FlowNet), *networks(FrameNet), FittedSVC),
    "backbone": (Backbone, ReleasedBackbone, TimmBackbone), "scorer": (RankScorer,),
    "mer_head": (MERHead, PooledMERHead), "dic_head": (UNet, SegNet),
    OBJECTIVE: (Objective, recognizer.Objective, MarginObjective),
}  # fmt: skip


def name_of(kind: type) -> str:
    """Return what configurations call a class."""
    return f"{kind.__module__}.{kind.__qualname__}"

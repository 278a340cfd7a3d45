"""The classes that a model file may name, by the place in the configuration where it may."""

from collections.abc import Mapping

from fdp_lightning.models import recognizer
from fdp_lightning.models.backbone import Backbone
from fdp_lightning.models.classical.fitted_svc import FittedSVC
from fdp_lightning.models.dic.segnet import SegNet
from fdp_lightning.models.dic.unet import UNet
from fdp_lightning.models.fdp import FDP
from fdp_lightning.models.flow.flow_net import networks
from fdp_lightning.models.mer_head import MERHead, PooledMERHead
from fdp_lightning.models.objective import Objective
from fdp_lightning.models.rank.scorer import RankScorer
from fdp_lightning.models.timm_backbone import TimmBackbone

NETWORK, OBJECTIVE = "", "objective"

CLASSES: Mapping[str, tuple[type, ...]] = {
    NETWORK: (FDP, *networks(), FittedSVC), "backbone": (Backbone, TimmBackbone), "scorer": (RankScorer,),
    "mer_head": (MERHead, PooledMERHead), "dic_head": (UNet, SegNet), OBJECTIVE: (Objective, recognizer.Objective),
}  # fmt: skip


def name_of(kind: type) -> str:
    """Return what configurations call a class."""
    return f"{kind.__module__}.{kind.__qualname__}"

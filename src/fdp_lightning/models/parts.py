"""The classes that a model file may name, by their place in the configuration."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import TypeVar

from torch import nn

from fdp_lightning.models import recognizer
from fdp_lightning.models.classical.fitted_svc import FittedSVC
from fdp_lightning.models.classical.flow_kernel import FlowKernelMachine
from fdp_lightning.models.fdp.backbone import Backbone
from fdp_lightning.models.fdp.image_head import UNet
from fdp_lightning.models.fdp.network import FDP, MERHead, RankScorer
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.fdp_released import FDPReleased, PooledMERHead, ReleasedBackbone, SegNet
from fdp_lightning.models.flow.capsulenet_flow import MarginObjective
from fdp_lightning.models.flow.flow_net import FlowNet
from fdp_lightning.models.frames.frame_net import FrameNet
from fdp_lightning.models.timm_backbone import TimmBackbone

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def networks(base: type[AnyNetwork]) -> list[type[AnyNetwork]]:
    """Return all subclasses of `base` in its package, in the order of the files; a new network only needs a file."""
    package = base.__module__.rpartition(".")[0]
    files = pkgutil.iter_modules(import_module(package).__path__)
    members = [member for file in files for member in vars(import_module(f"{package}.{file.name}")).values()]
    found = [one for one in members if isinstance(one, type) and issubclass(one, base) and one is not base]
    return list(dict.fromkeys(found))


NETWORK, OBJECTIVE = "", "objective"

CLASSES: Mapping[str, tuple[type, ...]] = {
    NETWORK: (FDP, FDPReleased, *networks(FlowNet), *networks(FrameNet), FittedSVC, FlowKernelMachine),
    "backbone": (Backbone, ReleasedBackbone, TimmBackbone), "scorer": (RankScorer,),
    "mer_head": (MERHead, PooledMERHead), "dic_head": (UNet, SegNet),
    OBJECTIVE: (Objective, recognizer.Objective, MarginObjective),
}  # fmt: skip


def name_of(kind: type) -> str:
    """Return the name of a class as used in configurations."""
    return f"{kind.__module__}.{kind.__qualname__}"

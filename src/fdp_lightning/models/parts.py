"""The classes that a model file may name, by their place in the configuration."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module

from fdp_lightning.models import recognizer
from fdp_lightning.models.classical.fitted_svc import FittedSVC
from fdp_lightning.models.classical.flow_kernel import FlowKernelMachine
from fdp_lightning.models.fdp.backbone import Backbone
from fdp_lightning.models.fdp.image_head import UNet
from fdp_lightning.models.fdp.network import FDP, MERHead, RankScorer
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.fdp_released import FDPReleased, PooledMERHead, ReleasedBackbone, SegNet
from fdp_lightning.models.flow.capsulenet_flow import MarginObjective
from fdp_lightning.models.staged_net import StagedNet
from fdp_lightning.models.timm_backbone import TimmBackbone


def networks(package: str) -> list[type[StagedNet]]:
    """Return the networks of 'flow' or 'frames', in the order of the files; a new network only needs a file."""
    place = import_module(f"fdp_lightning.models.{package}")
    files = [import_module(f"{place.__name__}.{file.name}") for file in pkgutil.iter_modules(place.__path__)]
    own = [one for file in files for one in vars(file).values() if getattr(one, "__module__", "") == file.__name__]
    return [one for one in own if isinstance(one, type) and issubclass(one, StagedNet)]


NETWORK, OBJECTIVE = "", "objective"

CLASSES: Mapping[str, tuple[type, ...]] = {
    NETWORK: (FDP, FDPReleased, *networks("flow"), *networks("frames"), FittedSVC, FlowKernelMachine),
    "backbone": (Backbone, ReleasedBackbone, TimmBackbone), "scorer": (RankScorer,),
    "mer_head": (MERHead, PooledMERHead), "dic_head": (UNet, SegNet),
    OBJECTIVE: (Objective, recognizer.Objective, MarginObjective),
}  # fmt: skip


def name_of(kind: type) -> str:
    """Return the name of a class as used in configurations."""
    return f"{kind.__module__}.{kind.__qualname__}"

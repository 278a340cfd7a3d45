"""Every dataset of an owner, with what writes a copy of it in the owner's layout."""

from collections.abc import Callable

from tests.data import layouts, layouts_composite, layouts_other

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme import CASME
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme3c import CASME3C
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.data.datasets.fourdme import FourDME
from fdp_lightning.data.datasets.mmew import MMEW
from fdp_lightning.data.datasets.samm import SAMM

WRITERS: dict[type[FaceDataset], Callable] = {
    CASME: layouts_other.casme, CASME2: layouts_composite.casme2, SAMM: layouts_composite.samm,
    CASMESquared: layouts.casme_sq, CASME3A: layouts.casme3a, CASME3C: layouts.casme3c, MMEW: layouts_other.mmew,
    FourDME: layouts_other.fourdme, DFME: layouts.dfme,
}  # fmt: skip

"""Models built from conf/, as in a run."""

from collections.abc import Callable

import pytest

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp.network import FDP

VARIANTS = sorted(path.stem for path in (CONF_DIR / "model").glob("fdp*.yaml"))


@pytest.fixture
def make_model() -> Callable[..., FDP]:
    def make(*overrides: str, classes: int = 5) -> FDP:
        return build_model(configuration(*overrides), classes)

    return make


LARGE = ("fdp_nextvit", "fdp_released")  # 30 and 85 million parameters


@pytest.fixture(params=[pytest.param(v, marks=pytest.mark.slow if v in LARGE else ()) for v in VARIANTS])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)

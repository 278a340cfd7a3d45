"""A fold carried out in every way of conf/compute, through the command line's own path."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine.preflight import check_options
from fdp_lightning.errors import UserError
from tests.tasks.conftest import SMALL, fold_here, start

pytestmark = pytest.mark.costly

EXACT = ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]


def curves_of(folder: Path, way: str, *overrides: str) -> pd.DataFrame:
    places = [f"data.root={folder}/data/synthetic", f"data.store={folder}/stores", f"run={folder}/runs/{way}"]
    plan = fold_here(*SMALL, *places, *EXACT, "fold=01", f"compute={way}", *overrides)
    return pd.read_csv(plan.folder / "curves.csv")


def test_every_way_learns_what_the_plain_one_learns(workplace: Path) -> None:
    plain = curves_of(workplace, "plain")
    for way in ("fast", "low_memory"):
        np.testing.assert_allclose(curves_of(workplace, way), plain, rtol=1e-6, atol=1e-6, err_msg=way)


@pytest.mark.slow  # a minute or two, nearly all of it torch's C++ compiler
def test_a_compiled_training_learns_what_the_plain_one_learns(workplace: Path) -> None:
    curves = []
    for way in ("plain", "compiled"):  # in processes of their own: checked functions cannot be compiled
        done = start(workplace, "task=fold", "fold=01", f"compute={way}", f"run=runs/{way}", *EXACT)
        assert done.returncode == 0, done.stderr
        curves.append(pd.read_csv(workplace / f"runs/{way}/folds/01/curves.csv"))
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5, atol=1e-6)


def test_a_backbone_without_parts_is_not_silently_kept_whole() -> None:
    timm = ["model/backbone=timm", "model.backbone.name=resnet10t"]
    check_options(configuration("+experiment=synthetic_loso", *timm))
    with pytest.raises(UserError, match="TimmBackbone has no parts"):
        check_options(configuration("+experiment=synthetic_loso", *timm, "compute.checkpointing=blocks"))

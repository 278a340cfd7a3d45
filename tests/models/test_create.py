"""Every model of the configuration, built from Python."""

import pytest
import torch

import fdp_lightning
from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import input_shape
from fdp_lightning.models.recognizer import with_logits

LARGE = ("fdp", "fdp_nextvit", "fdp_released", "htnet", "htnet_tokens")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in fdp_lightning.list_models()]
)
def test_a_model_takes_what_its_input_says_and_gives_logits(name: str) -> None:
    scratch = ["model.pretrained=false"] if "pretrained" in configuration(f"model={name}").model else []
    network = fdp_lightning.create_model(name, 4, *scratch).eval()
    shape = input_shape(configuration(f"model={name}"))
    with torch.no_grad():
        assert with_logits(network(torch.rand(2, *shape))).logits.shape == (2, 4)


def test_overrides_and_unknown_names() -> None:
    tiny = fdp_lightning.create_model("fdp_tiny", 3, "data.sampling.frames=4")
    assert with_logits(tiny.eval()(torch.rand(2, 4, 1, 64, 64))).logits.shape == (2, 3)
    with pytest.raises(UserError, match="fdp_tiny"):
        fdp_lightning.create_model("fdp_tinny", 3)

"""Every model of the configuration, built from Python."""

from pathlib import Path

import pytest
import torch

import fdp_lightning
from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build_model, input_shape
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


@pytest.mark.parametrize(
    "override", ["model.poolin=mean", "model.pooling", "data.sampling.frames=x", "model.backbone.drop_path=2"]
)
def test_an_invalid_override_is_named(override: str) -> None:
    with pytest.raises(UserError, match=override.partition("=")[0].replace(".", r"\.")):
        fdp_lightning.create_model("fdp_tiny", 3, override)


@pytest.mark.parametrize("override", ["foo=1", "input.size=0", "seed=0,1", "~model", "a"])
def test_an_override_that_is_none_is_answered_as_on_the_command_line(override: str) -> None:
    with pytest.raises(UserError):
        fdp_lightning.create_model("fdp_tiny", 3, override)


@pytest.mark.parametrize("classes", [0, -1, True, "5", 2.5, None])
def test_a_number_of_classes_is_a_whole_number(classes: object) -> None:
    with pytest.raises(UserError, match="classes is"):
        fdp_lightning.create_model("ststnet", classes)  # type: ignore[arg-type]


@pytest.mark.parametrize("silent", ["raise ImportError", "raise ValueError"])
def test_a_module_that_fails_without_a_word_is_named(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wordless.py").write_text(silent)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"model\._target_ is 'wordless\.Net'"):
        build_model(configuration("model=own", "model._target_=wordless.Net", "model.name=own"), 3)

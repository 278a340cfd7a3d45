"""Every model of the configuration, built from Python."""

import re
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import fdp_lightning
from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build, build_model, input_shape
from fdp_lightning.labels import LabelKind
from fdp_lightning.models.recognizer import Clips, with_logits

LARGE = ("fdp", "fdp_nextvit", "fdp_released", "htnet", "htnet_tokens")


MODELS = [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in fdp_lightning.list_models()]


def scratch(name: str) -> list[str]:
    return ["model.pretrained=false"] if "pretrained" in configuration(f"model={name}").model else []


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_what_its_input_says_and_keeps_with_its_objective_to_one_device(name: str) -> None:
    """Fake tensors need no GPU, but refuse operations between GPU and CPU tensors."""
    config = configuration(f"model={name}", *scratch(name))
    shape = input_shape(config)
    for kind, targets in ((LabelKind.SINGLE, (2,)), (LabelKind.MULTI, (2, 4))):
        network = fdp_lightning.create_model(name, 4, *scratch(name))
        objective = build(config.model.objective, class_counts=[1, 2, 3, 4], train_clips=10, label_kind=kind)
        with FakeTensorMode(allow_non_fake_inputs=True):
            masked = kind.is_multi and len(shape) == 4
            target = torch.zeros(targets, dtype=torch.float if kind.is_multi else torch.long)
            numbers, apex, mask = torch.rand(2, shape[0]), torch.rand(2), torch.ones(2, shape[0], dtype=torch.bool)
            parts = (torch.rand(2, *shape), target, numbers, apex, mask)
            clips = Clips(*(part.to("cuda") for part in (parts if masked else parts[:4])))
            output = with_logits(network.to("cuda").train()(clips.frames))
            losses = objective.to("cuda")(output, clips)
            assert output.logits.shape == (2, 4)
            given = [
                losses.total,
                *objective.measures(output, clips).values(),
                *objective.record(output, clips).values(),
            ]
            assert {value.device.type for value in given} <= {"cuda"}


def test_overrides_hold() -> None:
    tiny = fdp_lightning.create_model("fdp_tiny", 3, "data.sampling.frames=4")
    assert with_logits(tiny.eval()(torch.rand(2, 4, 1, 64, 64))).logits.shape == (2, 3)


NAMED = ["model.poolin=mean", "model.pooling", "data.sampling.frames=x", "model.backbone.drop_path=2"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("fdp_tinny", 3), "fdp_tiny"), *((("ststnet", n), "classes is") for n in (0, -1, True, "5", 2.5, None)),
        *((("fdp_tiny", 3, override), re.escape(override.partition("=")[0])) for override in NAMED),
        *((("fdp_tiny", 3, override), "") for override in ("foo=1", "input.size=0", "seed=0,1", "~model", "a")),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_named(given: tuple, named: str) -> None:
    with pytest.raises(UserError, match=named or None):
        fdp_lightning.create_model(*given)


@pytest.mark.parametrize("silent", ["raise ImportError", "raise ValueError"])
def test_a_module_that_fails_silently_is_named(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wordless.py").write_text(silent)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"model\._target_ is 'wordless\.Net'"):
        build_model(configuration("model=own", "model._target_=wordless.Net", "model.name=own"), 3)

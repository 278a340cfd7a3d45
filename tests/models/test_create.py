"""Every model of the configuration, built from Python."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import fdp_lightning
from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build, input_shape
from fdp_lightning.labels import LabelKind
from fdp_lightning.models.recognizer import Clips, with_logits

LARGE = ("fdp", "fdp_nextvit", "fdp_released", "htnet", "htnet_tokens")
MODELS = [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in fdp_lightning.list_models()]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_the_input_of_its_configuration_and_stays_on_one_device_with_its_objective(name: str) -> None:
    """Fake tensors need no GPU, but refuse operations between GPU and CPU tensors."""
    scratch = ["model.pretrained=false"] if "pretrained" in configuration(f"model={name}").model else []
    config = configuration(f"model={name}", *scratch)
    shape = input_shape(config)
    for kind, targets in ((LabelKind.SINGLE, (2,)), (LabelKind.MULTI, (2, 4))):
        network = fdp_lightning.create_model(name, 4, *scratch)
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
            others = {**objective.measures(output, clips), **objective.record(output, clips)}
            assert {value.device.type for value in (losses.total, *others.values())} == {"cuda"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("fdp_tinny", 3), "fdp_tiny"), *((("ststnet", n), "classes is") for n in (0, True, "5")),
        (("fdp_tiny", 3, "model.poolin=mean"), r"model\.poolin"), (("fdp_tiny", 3, "~model"), None),
        (("capsulenet_flow", 3, "+model.width=12"), "multiple of 8"), (("htnet", 3, "+model.patch=3"), "divisor"),
        (("fdp_tiny", 3, "model.backbone.local_mlp_ratio=0.001"), "hidden channel"),
        # No check of the command line reads an interpolation.
        (("fdp_tiny", 3, "model.mer_head.dropout=0.0", "model.gate_temperature=${model.mer_head.dropout}"), "above 0"),
        (("fdp_tiny", 3, "model.gate_temperature=1.0", "model.mer_head.dropout=${model.gate_temperature}"), "below 1"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_built_is_refused_by_name(given: tuple, named: str | None) -> None:
    with pytest.raises(UserError, match=named):
        fdp_lightning.create_model(*given)

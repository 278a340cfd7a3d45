"""The whole network, in every variant of conf/model."""

from collections.abc import Callable

import pytest
import torch

from fdp_lightning.errors import UserError
from fdp_lightning.models.backbone import Backbone
from fdp_lightning.models.fdp import FDP
from fdp_lightning.models.global_aggregator import GlobalRelationalAggregator, ReducedSelfAttention
from fdp_lightning.models.local_aggregator import LocalRelationalAggregator
from fdp_lightning.models.objective import Objective

MakeModel = Callable[..., FDP]


def settled(model: FDP) -> FDP:
    """The model in evaluation mode, its batch statistics those of one batch instead of the initial 0 and 1."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    model.train()(torch.rand(4, 8, 1, 64, 64))
    return model.eval()


def test_shapes(make_model: MakeModel, variant: str) -> None:
    output = make_model(f"model={variant}", classes=7)(torch.rand(2, 8, 1, 64, 64))
    assert output.logits.shape == (2, 7)
    assert output.scores.shape == (2, 8)
    assert output.dynamic_image.shape == (2, 1, 64, 64)
    assert 0 <= output.dynamic_image.min() <= output.dynamic_image.max() <= 1


@pytest.mark.parametrize("head_block", ["spatial", "map64"])
def test_every_parameter_gets_a_gradient(make_model: MakeModel, variant: str, head_block: str) -> None:
    torch.manual_seed(0)
    model = make_model(f"model={variant}", f"model.head_block={head_block}")
    clips = torch.rand(4, 8, 1, 64, 64)
    Objective()(model(clips), clips, torch.tensor([0, 1, 2, 3])).total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Attention does not see a constant added to all keys: the softmax cancels it.
    assert [name for name in without if not name.endswith("attention.key.bias")] == []


def test_both_aggregators_are_there(make_model: MakeModel, variant: str) -> None:
    blocks = [type(block) for block in make_model(f"model={variant}").backbone.blocks]
    assert LocalRelationalAggregator in blocks
    assert GlobalRelationalAggregator in blocks


def test_attention_reaches_every_place() -> None:
    attention = ReducedSelfAttention(16, head_channels=8, sr_ratio=2).eval()
    maps = torch.randn(1, 16, 8, 8, requires_grad=True)
    attention(maps)[0, :, 0, 0].sum().backward()
    assert maps.grad is not None
    assert (maps.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("pooling", ["score", "arp", "arp_simple"])
def test_a_still_clip_has_no_dynamic_representation(make_model: MakeModel, pooling: str) -> None:
    model = settled(make_model(f"model.pooling={pooling}"))
    still = torch.rand(2, 1, 1, 64, 64).expand(2, 8, 1, 64, 64)
    moving = torch.rand(2, 8, 1, 64, 64)
    assert model(still).representation.abs().max() < 1e-5 < 1e-3 < model(moving).representation.abs().max()


def test_a_clip_does_not_depend_on_its_batch(make_model: MakeModel, variant: str) -> None:
    model = settled(make_model(f"model={variant}"))
    clips = torch.rand(3, 8, 1, 64, 64)
    torch.testing.assert_close(model(clips).logits[1:2], model(clips[1:2]).logits, rtol=1e-4, atol=1e-5)


def test_statistics_are_applied_and_travel_with_the_state(make_model: MakeModel) -> None:
    model = make_model().eval()
    clips = torch.rand(2, 8, 1, 64, 64)
    before = model.forward_features(clips)
    model.mean.fill_(0.1)
    assert not torch.allclose(model.forward_features(clips), before)
    assert {"mean", "std"} <= set(model.state_dict())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.pooling=bogus", "'bogus'.*score, arp"),
        ("model.head_block=bogus", "'bogus'.*spatial, map64"),
        ("data.faces.size=60", "60.*stride 8"),
        ("model.backbone.head_channels=5", "head_channels=5 must divide"),
    ],
)
def test_bad_options_fail_at_construction(make_model: MakeModel, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_model(override)


def test_frames_that_do_not_divide_are_refused() -> None:
    backbone = Backbone([8], [2], [{"n_local": 1, "width": 8}])
    with pytest.raises(ValueError, match=r"62×64.*stride 4"):
        backbone(torch.rand(1, 1, 62, 64))

"""The complete network, in every variant of conf/model."""

from collections.abc import Callable

import pytest
import torch

from fdp_lightning.errors import UserError
from fdp_lightning.models.fdp.network import FDP, FDPOutput
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.recognizer import Clips

pytestmark = pytest.mark.costly

MakeModel = Callable[..., FDP]

torch.set_num_threads(1)  # several test processes and workers share two cores


def settled(model: FDP, clips: torch.Tensor) -> FDP:
    """Return the model in evaluation mode, with the batch statistics of one batch instead of the initial 0 and 1."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(clips)
    return model.eval()


def assert_same(found: FDPOutput, expected: FDPOutput) -> None:
    for name in ("logits", "scores", "representation", "dynamic_image"):
        one, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def without_gradient(model: FDP, clips: torch.Tensor, target: torch.Tensor) -> list[str]:
    Objective()(model(clips), Clips(clips, target)).total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A constant added to all keys has no effect on attention, because the softmax cancels it. One added to all features
    # has no effect on weights that sum to zero, or on scores relative to the clip.
    return [name for name in without if not name.endswith(("attention.key.bias", "backbone.norm.bias", "project.bias"))]


def test_a_variant_has_its_shapes_trains_fully_and_keeps_clips_apart(make_model: MakeModel, variant: str) -> None:
    torch.manual_seed(0)
    model, clips = make_model(f"model={variant}"), torch.rand(3, 8, 1, 64, 64)
    assert without_gradient(model, clips[:2], torch.tensor([0, 1])) == []
    together = settled(model, clips)(clips)
    assert together.logits.shape == (3, 5)
    orders = set() if variant == "fdp_released" else {"chronological", "intensity"}
    assert {order: scores.shape for order, scores in together.scores.items()} == dict.fromkeys(orders, (3, 8))
    assert [d.shape for d in together.representation] == [(3, c, side, side) for c, side in model.pooling.maps]
    assert together.dynamic_image.shape == (3, 1, 64, 64)
    assert 0 <= together.dynamic_image.min() <= together.dynamic_image.max() <= 1
    alone = model(clips[1:2])
    torch.testing.assert_close(together.logits[1:2], alone.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.dynamic_image[1:2], alone.dynamic_image, rtol=1e-4, atol=1e-5)
    model.zero_grad()
    Objective()(model.train()(clips[:1]), Clips(clips[:1], torch.tensor([2]))).total.backward()  # a batch of one clip
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_each_order_that_a_pooling_reads_has_a_scorer(make_model: MakeModel) -> None:
    both = {"chronological", "intensity"}
    for pooling, orders in {"intensity": {"intensity"}, "[intensity,gated,arp]": both, "[arp,max]": set()}.items():
        assert set(make_model(f"model.pooling={pooling}")(torch.rand(2, 8, 1, 64, 64)).scores) == orders


@pytest.mark.parametrize("reads", [1, 3])
def test_each_head_reads_its_resolutions(make_model: MakeModel, reads: int) -> None:
    torch.manual_seed(0)
    model = make_model(f"model.mer_head.reads={reads}")
    maps = [m.detach().requires_grad_() for m in model.forward_features(torch.rand(3, 8, 1, 64, 64))]
    assert len(maps) == 3
    output = model.forward_head(maps)

    def reached(value: torch.Tensor) -> list[bool]:
        gradients = torch.autograd.grad((value * torch.randn_like(value)).sum(), maps, None, True, allow_unused=True)
        return [gradient is not None and bool(gradient.any()) for gradient in gradients]

    assert reached(output.logits) == [False] * (3 - reads) + [True] * reads
    assert reached(output.dynamic_image) == [True] * 3
    # The weights come from the coarsest maps; apart from that, each resolution is pooled from its own maps only.
    each = [[True, False, True], [False, True, True], [False, False, True]]
    assert [reached(d) for d in output.representation] == each


def test_a_still_clip_has_flat_scores_and_a_grey_image_however_trained(make_model: MakeModel) -> None:
    torch.manual_seed(0)
    model, clips = make_model(), torch.rand(4, 8, 1, 64, 64)
    objective, target = Objective(image_scale="signed"), torch.tensor([0, 1, 2, 3])
    objective.fit(Clips(clips, target))
    optimizer = torch.optim.Adam(settled(model, clips).train().parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        objective(model(clips), Clips(clips, target)).total.backward()
        optimizer.step()
    clips[:2] = clips[:2, :1]  # half of the batch is still
    true = objective.true_dynamic_image(Clips(clips, target))
    for training in (True, False):
        with torch.no_grad():
            output = model.train(training)(clips)
        for d in output.representation:
            moving = float(d[2:].abs().amax(dim=(1, 2, 3)).min())
            assert d[:2].abs().max() < 1e-5 * max(1.0, moving) and moving > 1e-3
        for image in (output.dynamic_image, true):
            assert (image[:2] - 0.5).abs().max() < 1e-5
            assert (image[2:] - 0.5).abs().amax(dim=(1, 2, 3)).min() > 1e-2
        for scores in output.scores.values():
            assert (scores[:2] - scores[:2, :1]).abs().max() < 1e-4


@pytest.mark.parametrize("backbone", ["fdp_tiny", "timm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_colour_backbone_takes_colour_and_grey_clips(make_model: MakeModel, backbone: str, channels: int) -> None:
    clips = torch.rand(2, 8, channels, 64, 64)
    model = make_model("model.head_block=spatial", f"model/backbone={backbone}", "model.backbone.in_channels=3")
    output, grey = model(clips), clips.mean(dim=2, keepdim=True)
    facts = torch.tensor([0, 1]), torch.arange(8.0).expand(2, 8), torch.tensor([3.0, 5.0])
    losses = [Objective()(output, Clips(frames, *facts)).total for frames in (clips, grey)]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("pooling", ["[gated,attention,max]", "[score,intensity]"])
@pytest.mark.parametrize("centred", [True, False])
def test_a_padded_clip_gives_what_the_clip_alone_gives(make_model: MakeModel, pooling: str, centred: bool) -> None:
    torch.manual_seed(0)
    lengths, clips = (8, 5, 1), torch.rand(3, 8, 1, 64, 64)
    mask = torch.arange(8) < torch.tensor(lengths)[:, None]
    model = settled(make_model(f"model.pooling={pooling}", f"model.scorer.centred={str(centred).lower()}"), clips)
    padded = model(clips, mask)
    for row, length in enumerate(lengths):
        own = slice(row, row + 1)
        scores = {order: values[own, :length] for order, values in padded.scores.items()}
        maps = [d[own] for d in padded.representation]
        of_row = FDPOutput(padded.logits[own], scores, maps, padded.dynamic_image[own])
        assert_same(of_row, model(clips[own, :length]))


def test_padding_changes_nothing_in_training(make_model: MakeModel) -> None:
    mask = torch.arange(8) < torch.tensor([8, 5, 3])[:, None]
    clips = torch.rand(3, 8, 1, 64, 64)
    garbage = torch.where(mask[:, :, None, None, None], clips, torch.full_like(clips, 1e3))
    torch.manual_seed(0)
    model = make_model("model.mer_head.dropout=0.0").train()
    first = model(clips, mask)
    assert_same(model(garbage, mask), first)
    objective = Objective(rank_loss="listmle", image_kind="intensity")
    target = torch.tensor([0, 1, 2])
    losses = [objective(first, Clips(frames, target, mask=mask)).total for frames in (clips, garbage)]
    torch.testing.assert_close(*losses)


def test_bfloat16_agrees_with_float32(make_model: MakeModel) -> None:
    # bfloat16 keeps 8 bits, so each rounding is up to 0.4 %. Bounds are on the root mean square error relative to the
    # spread of the outputs; the dynamic image of an untrained network hardly varies, so its bound is the largest.
    bounds = {"logits": 0.05, "rank_scores": 0.05, "dynamic_image": 0.12}
    torch.manual_seed(0)
    clips = torch.rand(4, 8, 1, 64, 64)
    model = settled(make_model(), clips)
    exact = model(clips)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(clips)
    for name, bound in bounds.items():
        one, other = getattr(rough, name).float(), getattr(exact, name)
        spread = other - other.mean()
        assert (one - other).norm() < bound * spread.norm(), name


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("model.pooling=[arp,arp]", "different"), ("model.finer_maps=[3]", r"finer_maps=\[3\].*2, 4"),
        ("model.mer_head.reads=0", "reads"), ("model.head_block=bogus", "spatial"), ("data.faces.size=60", "stride 8"),
        ("model.backbone.head_channels=5", "head_channels"), ("model.backbone.in_channels=2", "in_channels"),
        ("model.backbone.stages=[]", "no block"), ("model.backbone.stages=[{n_local: 0, width: 8}]", "n_global"),
        ("model.backbone.pretrained=nowhere.safetensors", "nowhere"), ("+model.backbone.bogus=1", "bogus"),
    ],
)  # fmt: skip
def test_an_impossible_option_is_refused(make_model: MakeModel, override: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        make_model(override)

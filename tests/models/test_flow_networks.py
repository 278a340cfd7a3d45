"""Recognisers on flow: parameters as published, shapes, gradients; HTNet's attention over one token."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fdp_lightning.config import configuration
from fdp_lightning.models.flow import (
    capsulenet_flow,
    dual_inception,
    htnet,
    offapexnet,
    rcn_a,
    resnet18_flow,
    sssnet,
    ststnet,
)
from fdp_lightning.models.flow.flow_net import FlowNet
from fdp_lightning.models.flow.htnet import POINTS, HTNet, HTNetTokens, Level, mosaic
from fdp_lightning.models.flow.rcn_a import RCNA
from fdp_lightning.models.flow.resnet18_flow import ResNet18Flow
from fdp_lightning.models.recipe import Recipe, networks

SMALL = {"width": 12, "depths": (1, 1, 2)}
NETWORKS: dict[str, tuple[Callable[..., FlowNet], Recipe]] = {
    "ststnet": (ststnet.STSTNet, ststnet.RECIPE),
    "offapexnet": (offapexnet.OffApexNet, offapexnet.RECIPE),
    "offapexnet_one_stream": (offapexnet.OffApexNetOneStream, offapexnet.RECIPE_ONE_STREAM),
    "sssnet": (sssnet.SSSNet, sssnet.RECIPE),
    "rcn_a": (rcn_a.RCNA, rcn_a.RECIPE),
    "dual_inception": (dual_inception.DualInception, dual_inception.RECIPE),
    "resnet18_flow": (resnet18_flow.ResNet18Flow, resnet18_flow.RECIPE),
    "capsulenet_flow": (capsulenet_flow.CapsuleNetFlow, capsulenet_flow.RECIPE),
    "htnet": (lambda classes=3: HTNet(classes, **SMALL), htnet.RECIPE),
    "htnet_tokens": (lambda classes=3: HTNetTokens(classes, **SMALL), htnet.RECIPE),
}
PARAMETERS = {
    "ststnet": 1_683, "offapexnet": 2_664_475, "offapexnet_one_stream": 807_909, "sssnet": 1_349_251, "rcn_a": 51_139,
    "dual_inception": 6_449_867, "resnet18_flow": 11_178_051, "capsulenet_flow": 5_813_504,
}  # fmt: skip


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def maps_for(recipe: Recipe, batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    low, high = recipe.value_range
    shape = (batch, len(recipe.channels), recipe.image_size, recipe.image_size)
    return low + (high - low) * torch.rand(shape, generator=generator)


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_published(name: str) -> None:
    assert size(NETWORKS[name][0](3)) == PARAMETERS[name]
    if name == "rcn_a":  # in its other published forms
        assert [size(RCNA(width=width, pool=pool)) for width, pool in ((32, 5), (64, 7))] == [15_331, 55_747]


def test_htnet_in_full_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model, tokens = HTNet(), HTNetTokens()
    assert round(size(model) / 1e4) == 13_958 and round(size(tokens) / 1e6, 1) == 139.6
    unused = [p.numel() for name, p in model.named_parameters() if ".query." in name or ".key." in name]
    assert round(sum(unused) / 1e5) == 222


def test_maps_become_logits_and_others_are_refused(name: str) -> None:
    make, recipe = NETWORKS[name]
    model = make(5).eval()
    maps = maps_for(recipe)
    assert (model.in_channels, model.image_size) == (len(recipe.channels), recipe.image_size)
    logits = model(maps)
    assert logits.shape == (4, 5)
    torch.testing.assert_close(model.forward_head(model.forward_features(maps)), logits)
    torch.testing.assert_close(model(maps[1:2]), logits[1:2], rtol=1e-4, atol=1e-4)  # clips do not mix
    for wrong in (maps[:, 1:], maps[..., 1:, 1:]):
        with pytest.raises(ValueError, match="made for maps of"):
            model(wrong)
    assert torch.equal(model(maps), logits)
    if name not in ("dual_inception", "resnet18_flow", "capsulenet_flow", "htnet", "htnet_tokens"):
        assert not torch.equal(model.train()(maps), model(maps))  # dropout


def test_every_parameter_receives_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    make, recipe = NETWORKS[name]
    model = make().eval()  # in training, batch norm cancels the bias of the convolution before it
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))  # timm starts residual branches at zero
    nn.functional.cross_entropy(model(maps_for(recipe, 8)), torch.arange(8) % 3).backward()
    largest = {key: 0.0 if p.grad is None else float(p.grad.abs().max()) for key, p in model.named_parameters()}
    # Rounding leaves up to 2e-7 of the largest, by number of threads; the least real one is 7e-5.
    without = {key for key, value in largest.items() if value < 3e-6 * max(largest.values())}
    idle = {key for key, _ in model.named_parameters() if ".query." in key or ".key." in key}
    # A norm over the channels takes away what is the same for all channels of a place.
    invisible = {"levels.4.position"} if name in ("htnet", "htnet_tokens") else set()
    assert without == invisible | (idle if name == "htnet" else set())


@pytest.mark.parametrize("name", ["dual_inception", "offapexnet"])
def test_each_stream_reads_its_own_channel(name: str) -> None:
    make, recipe = NETWORKS[name]
    model, maps = make(3).eval(), maps_for(recipe)
    other = maps.clone()
    other[:, 1] = 0  # v
    before, after = model.forward_features(maps), model.forward_features(other)
    half = before.shape[1] // 2
    assert torch.equal(before[:, :half], after[:, :half])
    assert not torch.equal(before[:, half:], after[:, half:])


def test_rcn_a_attends_where_the_stem_agrees_with_the_classifier() -> None:
    model = RCNA(classes=2, width=2, pool=3)
    with torch.no_grad():
        model.classify.weight.zero_().view(2, 2, 3, 3)[:, 0, 1, 2] = 1  # both classes look at one place of one map
    stem = torch.ones(1, 2, 3, 3)
    expected = torch.zeros(3, 3)
    expected[1, 2] = 1
    torch.testing.assert_close(model.attention(stem)[0, 0], expected)


def test_capsules_keep_their_direction_and_the_margin_loss_is_that_of_the_formula() -> None:
    capsule = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(capsulenet_flow.squashed(capsule), capsule / 5 * 25 / 26)
    lengths = torch.tensor([[0.5, 0.2, 0.0], [1.0, 0.3, 0.1]])
    expected = (0.49**2 + 0.5 * 0.19**2 + 0.69**2 + 0.5 * (0.99**2 + 0.09**2)) / 2
    objective = capsulenet_flow.MarginObjective()
    assert float(objective.emotion_loss(lengths, torch.tensor([0, 1]))) == pytest.approx(expected)
    shown = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert float(objective.emotion_loss(lengths, shown)) == pytest.approx(expected)
    weighted = capsulenet_flow.MarginObjective(class_weighting="inverse", class_counts=[1, 3, 0])
    own = 2 * 0.49**2 + 0.5 * 0.19**2 + 2 / 3 * 0.69**2 + 0.5 * (0.99**2 + 0.09**2)
    assert float(weighted.emotion_loss(lengths, torch.tensor([0, 1]))) == pytest.approx(own / 2)
    with pytest.raises(ValueError, match="focal"):
        capsulenet_flow.MarginObjective(focal=1.0)


def test_the_mosaic_shows_eyes_above_and_mouth_below() -> None:
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    found = mosaic(torch.stack([rows, columns])[None])
    assert found.shape == (1, 2, 28, 28)
    corners = [found[0, :, i, j].tolist() for i in (0, 14) for j in (0, 14)]
    # Upper left corners (row, column) of the crops of 14×14; int(9.5) - 7 = 2, and 21.4 is moved inside to 21.
    assert corners == [[2, 4], [3, 14], [14, 3], [13, 14]]
    assert len(POINTS) == 4


def test_tiles_of_a_level_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    level = Level(width=4, heads=2, depth=1, side=4, tiles=2)
    maps = torch.randn(1, 4, 4, 4)
    other = maps.clone()
    other[..., :2, :2] += 1
    changed = (level(maps) != level(other)).any(dim=1)[0]
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal(changed, expected)
    # In its own tile each place is seen by all.
    one = maps.clone()
    one[..., 0, 0] += torch.randn(4)
    assert torch.equal((level(maps) != level(one)).any(dim=1)[0], expected)


@pytest.mark.parametrize(("make", "same"), [(HTNet, True), (HTNetTokens, False)])
def test_noise_for_queries_and_keys_changes_nothing_in_htnet(make: type[HTNet], same: bool) -> None:
    model = make(**SMALL).eval()
    maps = maps_for(htnet.RECIPE)
    before = model(maps)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if ".query." in key or ".key." in key:
                parameter.copy_(10 * torch.randn_like(parameter))
    assert torch.equal(model(maps), before) is same


def test_resnet_starts_from_a_file_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "resnet18.safetensors"
    given = ResNet18Flow(classes=1000).net.state_dict()
    save_file({key: value + 1 if key == "conv1.weight" else value for key, value in given.items()}, file)
    model = ResNet18Flow(classes=3, pretrained=str(file))
    torch.testing.assert_close(model.net.conv1.weight, given["conv1.weight"] + 1)
    grey = ResNet18Flow(classes=3, in_channels=1, pretrained=str(file))
    torch.testing.assert_close(grey.net.conv1.weight, (given["conv1.weight"] + 1).sum(dim=1, keepdim=True))
    save_file({key: value for key, value in given.items() if "layer4" not in key}, tmp_path / "half.safetensors")
    for wrong, word in (("missing", "missing"), ("half", "layer4")):
        with pytest.raises(ValueError, match=rf"model\.pretrained=.*{word}"):
            ResNet18Flow(pretrained=str(tmp_path / f"{wrong}.safetensors"))

    def offline(*_: object, **options: object) -> nn.Module:
        if options.get("pretrained"):
            raise OSError("no route to host")
        return create("resnet18", **{key: value for key, value in options.items() if key != "pretrained"})

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"no route to host.*model\.pretrained=false"):
        ResNet18Flow(pretrained=True)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_configuration_trains_by_the_recipe(name: str) -> None:
    recipe, config = NETWORKS[name][1], configuration(f"model={name}")
    of = config.model.optimizer
    epoch = -(-435 // recipe.batch_size)  # steps; 442 clips less a subject's
    assert (of.name, of.momentum, of.lr, of.weight_decay) == (
        recipe.optimizer, recipe.momentum, recipe.lr, recipe.weight_decay,
    )  # fmt: skip
    assert of.steps == recipe.epochs * epoch
    if recipe.lr_epochs is None:
        assert of.schedule == "constant"
    else:
        found = (of.schedule, of.gamma, of.every, of.lowest)
        assert found == ("step", recipe.lr_gamma, recipe.lr_epochs * epoch, recipe.lr_lowest)
    assert (of.decay_all, of.batch_norm, config.trainer.gradient_clip_val) == (True, "running", None)
    assert (config.data.batch_size, config.data.shuffle) == (recipe.batch_size, recipe.shuffle)
    assert config.model.get("pretrained", False) == recipe.pretrained
    given = config.input
    assert (tuple(given.channels), given.size, given.gain) == (
        recipe.channels, recipe.image_size, recipe.value_range[1],
    )  # fmt: skip
    on_maps = configuration("+experiment=megc2019_flow", f"model={name}", "data.root=x").input
    assert {**on_maps, "kind": given.kind, "scale": given.scale} == {k: given[k] for k in on_maps}


def test_every_network_is_tested() -> None:
    classes = {type(make()) for make, _ in NETWORKS.values()}
    assert set(networks(FlowNet)) == classes

"""Recognisers on flow: parameters as published, shapes, gradients; HTNet's attention over one token."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.flow import (
    capsulenet_flow,
    dual_inception,
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
from fdp_lightning.models.parts import networks

SMALL = {"width": 12, "depths": (1, 1, 2)}
NETWORKS: dict[str, Callable[..., FlowNet]] = {
    "ststnet": ststnet.STSTNet,
    "offapexnet": offapexnet.OffApexNet,
    "offapexnet_one_stream": offapexnet.OffApexNetOneStream,
    "sssnet": sssnet.SSSNet,
    "rcn_a": rcn_a.RCNA,
    "dual_inception": dual_inception.DualInception,
    "resnet18_flow": resnet18_flow.ResNet18Flow,
    "capsulenet_flow": capsulenet_flow.CapsuleNetFlow,
    "htnet": lambda classes=3: HTNet(classes, **SMALL),
    "htnet_tokens": lambda classes=3: HTNetTokens(classes, **SMALL),
}
RECIPES = {  # optimizer, rate, decay, clips in a batch, epochs; factor on the rate after so many epochs
    "ststnet": ("adam", 5e-5, 0, 256, 800, 1, 1),
    "offapexnet": ("adam", 1e-4, 0, 32, 3000, 1, 1),
    "offapexnet_one_stream": ("adam", 1e-4, 1e-3, 32, 500, 1, 1),
    "sssnet": ("adam", 1e-4, 1e-3, 32, 200, 1, 1),
    "rcn_a": ("sgd", 5e-4, 0, 64, 100, 0.5, 10),
    "dual_inception": ("adam", 1e-3, 0, 64, 501, 1, 1),
    "resnet18_flow": ("adam", 1e-4, 1e-3, 32, 200, 1, 1),
    "capsulenet_flow": ("adam", 1e-4, 0, 32, 30, 0.9, 1),
    "htnet": ("adam", 5e-5, 0, 256, 800, 1, 1),
    "htnet_tokens": ("adam", 5e-5, 0, 256, 800, 1, 1),
}
PARAMETERS = {
    "ststnet": 1_683, "offapexnet": 2_664_475, "offapexnet_one_stream": 807_909, "sssnet": 1_349_251, "rcn_a": 51_139,
    "dual_inception": 6_449_867, "resnet18_flow": 11_178_051, "capsulenet_flow": 5_813_504,
}  # fmt: skip


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def maps_for(model: FlowNet, batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, model.in_channels, model.image_size, model.image_size, generator=generator)


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_published(name: str) -> None:
    assert size(NETWORKS[name](3)) == PARAMETERS[name]
    if name == "rcn_a":  # in its other published forms
        assert [size(RCNA(width=width, pool=pool)) for width, pool in ((32, 5), (64, 7))] == [15_331, 55_747]


def test_htnet_in_full_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model, tokens = HTNet(), HTNetTokens()
    assert round(size(model) / 1e4) == 13_958 and round(size(tokens) / 1e6, 1) == 139.6
    unused = [p.numel() for name, p in model.named_parameters() if ".query." in name or ".key." in name]
    assert round(sum(unused) / 1e5) == 222


def test_maps_become_logits_and_others_are_refused(name: str) -> None:
    model = NETWORKS[name](5).eval()
    maps = maps_for(model)
    logits = model(maps)
    assert logits.shape == (4, 5)
    torch.testing.assert_close(model.forward_head(model.forward_features(maps)), logits)
    torch.testing.assert_close(model(maps[1:2]), logits[1:2], rtol=1e-4, atol=1e-4)  # clips do not mix
    for wrong in (maps[:, 1:], maps[..., 1:, 1:]):
        with pytest.raises(ValueError, match="made for clips of"):
            model(wrong)
    assert torch.equal(model(maps), logits)
    if name not in ("dual_inception", "resnet18_flow", "capsulenet_flow", "htnet", "htnet_tokens"):
        assert not torch.equal(model.train()(maps), model(maps))  # dropout


def test_every_parameter_receives_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()  # in training, batch norm cancels the bias of the convolution before it
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))  # timm starts residual branches at zero
    nn.functional.cross_entropy(model(maps_for(model, 8)), torch.arange(8) % 3).backward()
    largest = {key: 0.0 if p.grad is None else float(p.grad.abs().max()) for key, p in model.named_parameters()}
    # Rounding leaves up to 2e-7 of the largest, by number of threads; the least real one is 7e-5.
    without = {key for key, value in largest.items() if value < 3e-6 * max(largest.values())}
    idle = {key for key, _ in model.named_parameters() if ".query." in key or ".key." in key}
    # A norm over the channels takes away what is the same for all channels of a place.
    invisible = {"levels.4.position"} if name in ("htnet", "htnet_tokens") else set()
    assert without == invisible | (idle if name == "htnet" else set())


def test_ststnet_drops_half_of_its_features_and_doubles_the_others() -> None:
    torch.manual_seed(0)
    model = ststnet.STSTNet()
    with torch.no_grad():
        model.norm.weight.zero_()
        model.norm.bias.fill_(1)
        ones, dropped = (model.train(mode).forward_features(torch.rand(64, 3, 28, 28)) for mode in (False, True))
    assert (ones == 1).all()
    assert set(dropped.unique().tolist()) == {0, 0.5, 1, 1.5, 2}  # means of four that are 0 or 2
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["dual_inception", "offapexnet"])
def test_each_stream_reads_its_own_channel(name: str) -> None:
    model = NETWORKS[name]().eval()
    maps = maps_for(model)
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
    maps = maps_for(model)
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
            raise OSError(words)
        return create("resnet18", **{key: value for key, value in options.items() if key != "pretrained"})

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", offline)
    for words in ("no route to host", ""):
        with pytest.raises(ValueError, match=rf"{words or 'OSError'}.*model\.pretrained=false"):
            ResNet18Flow(pretrained=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_configuration_trains_by_the_recipe(name: str) -> None:
    optimizer, rate, decay, clips, epochs, gamma, every = RECIPES[name]
    config = configuration(f"model={name}")
    of, given = config.model.optimizer, config.input
    epoch = -(-435 // clips)  # steps; 442 clips less a subject's
    assert (of.name, of.lr, of.weight_decay, of.steps) == (optimizer, rate, decay, epochs * epoch)
    assert of.momentum == (0.9 if optimizer == "sgd" else 0)
    assert of.schedule == ("constant" if gamma == 1 else "step")
    assert gamma == 1 or (of.gamma, of.every, of.lowest) == (gamma, every * epoch, 0)
    assert (of.decay_all, of.batch_norm, config.trainer.gradient_clip_val) == (True, "running", None)
    as_released = name in ("ststnet", "htnet", "htnet_tokens")
    assert (config.data.batch_size, config.data.shuffle) == (clips, not as_released)
    assert config.model.get("pretrained", False) == (name == "resnet18_flow")
    with torch.device("meta"):
        model = build_model(configuration(f"model={name}", *["model.pretrained=false"] * (name == "resnet18_flow")), 3)
    assert (len(given.channels), given.size) == (model.in_channels, model.image_size)
    order = ("strain", "v", "u") if as_released else ("u", "v", "strain")[: model.in_channels]
    assert (tuple(given.channels), given.gain) == (order, 255 if as_released else 1)
    on_maps = configuration("+experiment=megc2019_flow", f"model={name}", "data.root=x").input
    assert {**on_maps, "kind": given.kind, "scale": given.scale} == {k: given[k] for k in on_maps}


def test_every_network_is_tested() -> None:
    assert set(networks(FlowNet)) == {type(make()) for make in NETWORKS.values()}

"""Recognisers other than FDP, on flow and frames: published parameter counts and recipes, shapes, gradients, errors."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import input_shape
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
from fdp_lightning.models.frames import afn, dianet, mmnet
from fdp_lightning.models.parts import networks
from fdp_lightning.models.staged_net import FlowNet, FrameNet

SMALL = {"width": 12, "depths": (1, 1, 2)}
NETWORKS: dict[str, tuple[Callable[..., FlowNet | FrameNet], dict]] = {
    "ststnet": (ststnet.STSTNet, {}),
    "offapexnet": (offapexnet.OffApexNet, {}),
    "offapexnet_one_stream": (offapexnet.OffApexNetOneStream, {}),
    "sssnet": (sssnet.SSSNet, {}),
    "rcn_a": (rcn_a.RCNA, {}),
    "dual_inception": (dual_inception.DualInception, {}),
    "resnet18_flow": (resnet18_flow.ResNet18Flow, {}),
    "capsulenet_flow": (capsulenet_flow.CapsuleNetFlow, {}),
    "htnet": (htnet.HTNet, SMALL),
    "htnet_tokens": (htnet.HTNetTokens, SMALL),
    "mmnet": (mmnet.MMNet, {"image_size": 32, "width": 32}),
    "afn": (afn.AFN, {"image_size": 32, "frames": 8}),
    "dianet": (dianet.DIANet, {"image_size": 32, "frames": 5}),
}
PARAMETERS = {
    "ststnet": 1_683, "offapexnet": 2_664_475, "offapexnet_one_stream": 807_909, "sssnet": 1_349_251, "rcn_a": 51_139,
    "dual_inception": 6_449_867, "resnet18_flow": 11_178_051, "capsulenet_flow": 5_813_504,
    "mmnet": 9_435_769, "afn": 228_325, "dianet": 327_909,
}  # fmt: skip
RECIPES = {
    "ststnet": (800, 256, "adam", 5e-5, 0), "offapexnet": (3000, 32, "adam", 1e-4, 0),
    "offapexnet_one_stream": (500, 32, "adam", 1e-4, 1e-3), "sssnet": (200, 32, "adam", 1e-4, 1e-3),
    "resnet18_flow": (200, 32, "adam", 1e-4, 1e-3), "rcn_a": (100, 64, "sgd", 5e-4, 0),
    "dual_inception": (501, 64, "adam", 1e-3, 0), "capsulenet_flow": (30, 32, "adam", 1e-4, 0),
    "htnet": (800, 256, "adam", 5e-5, 0), "mmnet": (74, 32, "adamw", 8e-4, 0.6),
}  # fmt: skip
"""Published training: epochs, batch size, optimizer, learning rate, weight decay."""
FALLS = {
    "rcn_a": (10, 0.5, 0.0),
    "capsulenet_flow": (1, 0.9, 0.0),
    "mmnet": (1, 0.987, pytest.approx(0.987**50, abs=1e-3)),
}
"""Published decay of the learning rate: epochs per step, factor, lowest factor."""
every_network = pytest.mark.parametrize("name", NETWORKS)


def made(name: str, classes: int = 3) -> FlowNet | FrameNet:
    torch.manual_seed(0)
    make, options = NETWORKS[name]
    return make(classes, **options).eval()


def clips_for(network: FlowNet | FrameNet, batch: int = 4) -> Tensor:
    frames = [network.frames] if isinstance(network, FrameNet) else []
    shape = (batch, *frames, network.in_channels, network.image_size, network.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_registered_network_is_tested_here() -> None:
    assert {*networks("flow"), *networks("frames")} == {make for make, _ in NETWORKS.values()}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_published(name: str) -> None:
    with torch.device("meta"):
        assert size(NETWORKS[name][0]()) == PARAMETERS[name]
        if name == "rcn_a":  # in its other published forms
            forms = (rcn_a.RCNA(width=width, pool=pool) for width, pool in ((32, 5), (64, 7)))
            assert [size(form) for form in forms] == [15_331, 55_747]


def test_htnet_in_full_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model, tokens = htnet.HTNet(), htnet.HTNetTokens()
    assert round(size(model) / 1e4) == 13_958 and round(size(tokens) / 1e6, 1) == 139.6


@every_network
def test_clips_become_logits_independently_and_other_shapes_are_refused(name: str) -> None:
    model = made(name, classes=5)
    clips = clips_for(model)
    logits = model(clips)
    assert logits.shape == (4, 5)
    torch.testing.assert_close(model.forward_head(model.forward_features(clips)), logits)
    torch.testing.assert_close(model(clips[1:2]), logits[1:2], rtol=1e-4, atol=1e-4)  # clips do not mix
    with pytest.raises(ValueError, match="built for clips of"):
        model(clips[:, 1:])
    if name in ("ststnet", "offapexnet", "offapexnet_one_stream", "sssnet", "rcn_a"):  # with dropout
        assert not torch.equal(model.train()(clips), model(clips))


@every_network
def test_every_parameter_receives_a_gradient(name: str) -> None:
    model = made(name)
    if isinstance(model, FrameNet):
        model.train()  # with the initial statistics of batch norm, the last blocks hardly respond
    else:  # in training, batch norm would cancel the bias of the convolution before it
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))  # timm starts residual branches at zero
    nn.functional.cross_entropy(model(clips_for(model, 8)), torch.arange(8) % 3).backward()
    largest = {key: 0.0 if p.grad is None else float(p.grad.abs().max()) for key, p in model.named_parameters()}
    # Rounding leaves up to 2e-7 of the largest, depending on the number of threads; the smallest true one is 7e-5.
    without = {key for key, value in largest.items() if value < 1e-6 * max(largest.values())}
    idle = {key for key, _ in model.named_parameters() if ".query." in key or ".key." in key}
    # A norm over the channels removes what is the same for all channels of a position.
    invisible = {"levels.4.position"} if name in ("htnet", "htnet_tokens") else set()
    assert without == invisible | (idle if name == "htnet" else set())


@pytest.mark.parametrize("name", [name for name, (make, _) in NETWORKS.items() if make in networks("flow")])
def test_the_input_is_the_published_one(name: str) -> None:
    config = configuration(f"model={name}")
    with torch.device("meta"):
        model = NETWORKS[name][0](3)
    assert input_shape(config) == (model.in_channels, model.image_size, model.image_size)
    as_released = name in ("ststnet", "htnet", "htnet_tokens")
    order = ("strain", "v", "u") if as_released else ("u", "v", "strain")[: model.in_channels]
    assert (tuple(config.input.channels), config.input.gain) == (order, 255 if as_released else 1)
    on_maps = configuration("+experiment=megc2019_flow", f"model={name}", "data.root=x").input
    assert {**on_maps, "kind": config.input.kind, "scale": config.input.scale} == {k: config.input[k] for k in on_maps}


@pytest.mark.parametrize("name", RECIPES)
def test_the_training_is_the_published_one_in_steps(name: str) -> None:
    config = configuration(f"model={name}")
    optimizer, batch = config.model.optimizer, config.data.batch_size
    epoch = math.ceil((249 if name == "mmnet" else 442) / batch)  # clips of CASME II, and of MEGC 2019
    assert (optimizer.steps / epoch, batch, optimizer.name, optimizer.lr, optimizer.weight_decay) == RECIPES[name]
    falls = (optimizer.every / epoch, optimizer.gamma, optimizer.lowest) if optimizer.schedule == "step" else None
    assert falls == FALLS.get(name)
    assert (optimizer.decay_all, optimizer.gradient_clip, optimizer.batch_norm) == (True, None, "running")
    assert (config.data.shuffle, optimizer.momentum) == (name not in ("ststnet", "htnet"), 0.9 * (name == "rcn_a"))

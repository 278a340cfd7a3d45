"""Recognisers on raw frames other than FDP: parameters, shapes, gradients, and which frames they see."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fdp_lightning.config import configuration
from fdp_lightning.models.dynamic_image import dynamic_image
from fdp_lightning.models.frames.afn import AFN
from fdp_lightning.models.frames.dianet import DIANet
from fdp_lightning.models.frames.frame_net import FrameNet
from fdp_lightning.models.frames.mmnet import AttendedBlock, MMNet
from fdp_lightning.models.parts import networks

NETWORKS: dict[str, tuple[Callable[..., FrameNet], dict[str, int]]] = {
    "mmnet": (MMNet, {"image_size": 32, "width": 32}),
    "afn": (AFN, {"image_size": 32, "frames": 8}),
    "dianet": (DIANet, {"image_size": 32, "frames": 5}),
}
PARAMETERS = {"mmnet": 9_435_769, "afn": 228_325, "dianet": 327_909}


def made(name: str, classes: int = 3) -> FrameNet:
    torch.manual_seed(0)
    make, options = NETWORKS[name]
    return make(classes, **options).eval()


def clips_for(network: FrameNet, batch: int = 4) -> Tensor:
    shape = (batch, network.frames, network.in_channels, network.image_size, network.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_network_is_tested() -> None:
    assert set(networks(FrameNet)) == {type(made(name)) for name in NETWORKS}


def test_frames_become_logits_and_others_are_refused(name: str) -> None:
    model = made(name)
    clips = clips_for(model)
    logits = model(clips)
    assert logits.shape == (4, 3)
    torch.testing.assert_close(model(clips[1:2]), logits[1:2], rtol=1e-4, atol=1e-4)  # clips do not mix
    for wrong in (clips[:, 1:], clips[..., 1:, 1:], clips.repeat(1, 1, 2, 1, 1)):
        with pytest.raises(ValueError, match="made for clips of"):
            model(wrong)
    with pytest.raises(ValueError, match="2 frames"):
        NETWORKS[name][0](frames=2)


@pytest.mark.parametrize("make", [AFN, DIANet])
def test_frames_too_small_for_its_pooling_are_refused_when_it_is_built(make: type[FrameNet]) -> None:
    assert make(image_size=16)
    with pytest.raises(ValueError, match="15 pixels; it needs 16"):
        make(image_size=15)


def test_every_parameter_receives_a_gradient(name: str) -> None:
    with torch.device("meta"):
        full = NETWORKS[name][0]()
    assert sum(parameter.numel() for parameter in full.parameters()) == PARAMETERS[name]
    model = made(name).train()
    nn.functional.cross_entropy(model(clips_for(model, 8)), torch.arange(8) % 3).backward()
    largest = {key: 0.0 if p.grad is None else float(p.grad.abs().max()) for key, p in model.named_parameters()}
    assert {key for key, value in largest.items() if value < 1e-6 * max(largest.values())} == set()


@pytest.mark.parametrize("name", ["afn", "dianet"])
def test_a_face_that_does_not_move_is_not_seen(name: str) -> None:
    model = made(name)
    still = clips_for(model)[:, :1].expand(-1, model.frames, -1, -1, -1)
    torch.testing.assert_close(model(still), model(still[:1].expand(4, -1, -1, -1, -1)), rtol=1e-4, atol=1e-5)


def test_mmnet_sees_the_motion_in_one_branch_and_the_onset_in_the_other() -> None:
    model = made("mmnet")
    clips = clips_for(model)
    other = clips.clone()
    other[:, 2] = 0  # neither onset nor apex
    assert torch.equal(model(clips), model(other))
    stem, embedded = [], []
    model.stem.register_forward_pre_hook(lambda _, given: stem.append(given[0]))
    model.embed.register_forward_pre_hook(lambda _, given: embedded.append(given[0]))
    model(clips)
    model(clips + 0.1)
    torch.testing.assert_close(stem[0], stem[1], rtol=1e-4, atol=1e-5)
    assert (embedded[1] - embedded[0]).min() > 0.4  # 0.1 / 0.229
    with pytest.raises(ValueError, match="multiple of 16"):
        MMNet(image_size=40)


def test_attention_is_handed_on_and_never_grows() -> None:
    torch.manual_seed(0)
    block = AttendedBlock(4, 8, 2).eval()
    maps, before = torch.randn(2, 4, 16, 16), torch.rand(2, 1, 16, 16)
    out, attention = block(maps, before)
    plain, own = block(maps, None)
    assert out.shape == (2, 8, 8, 8)
    torch.testing.assert_close(attention, own * nn.functional.max_pool2d(before, 3, 2, padding=1))
    torch.testing.assert_close(out * own, plain * attention)
    assert (attention <= own).all()


def test_dynamic_images_are_those_of_the_phases_and_of_both_orders() -> None:
    seen: list[Tensor] = []
    dianet, afn = made("dianet"), made("afn")
    for stream in (*dianet.streams, *afn.streams.values()):
        stream.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    clips = clips_for(dianet)
    dianet(clips)
    apex = torch.full((4,), 2)
    for image, kind in zip(seen, ("onset_apex", "apex_offset"), strict=True):
        torch.testing.assert_close(image, dynamic_image(clips, kind, apex=apex))
    seen.clear()
    afn(clips := clips_for(afn))
    for image, kind in zip(seen, ("exact", "intensity"), strict=True):
        torch.testing.assert_close(image, dynamic_image(clips, kind))
    assert not torch.allclose(*seen)


def test_mmnet_trains_by_its_recipe() -> None:
    config = configuration("model=mmnet")
    of, epoch = config.model.optimizer, -(-239 // 32)  # CASME II, 249 clips, less a subject's
    assert (of.name, of.lr, of.weight_decay, of.steps) == ("adamw", 8e-4, 0.6, 74 * epoch)
    assert (of.schedule, of.gamma, of.every) == ("step", 0.987, epoch)
    assert of.lowest == pytest.approx(0.987**50, abs=1e-3)  # it falls for 50 epochs
    assert (config.data.batch_size, config.data.faces.size) == (32, 224)
    assert (config.data.faces.colour, config.data.sampling.rule) == ("rgb", "onset_apex_offset")

"""What is particular to each recogniser on frames; what they have in common is in test_networks.py."""

import pytest
import torch
from torch import Tensor, nn

from fdp_lightning.models.dynamic_image import dynamic_image
from fdp_lightning.models.frames.afn import AFN
from fdp_lightning.models.frames.dianet import DIANet
from fdp_lightning.models.frames.frame_net import FrameNet
from fdp_lightning.models.frames.mmnet import AttendedBlock, MMNet
from tests.models.test_networks import clips_for, made


@pytest.mark.parametrize("make", [AFN, DIANet])
def test_frames_too_small_for_its_pooling_are_refused_when_it_is_built(make: type[FrameNet]) -> None:
    assert make(image_size=16)
    with pytest.raises(ValueError, match="15 pixels; it needs 16"):
        make(image_size=15)


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

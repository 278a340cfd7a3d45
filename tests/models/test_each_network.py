"""Properties of single recognisers on flow or frames; those that all share are tested in test_networks.py."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fdp_lightning.models.dynamic_image import dynamic_image
from fdp_lightning.models.flow import capsulenet_flow
from fdp_lightning.models.flow.htnet import HTNet, HTNetTokens, Level, mosaic
from fdp_lightning.models.flow.rcn_a import RCNA
from fdp_lightning.models.flow.resnet18_flow import ResNet18Flow
from fdp_lightning.models.frames.mmnet import AttendedBlock
from tests.models.test_networks import SMALL, clips_for, made


@pytest.mark.parametrize("name", ["dual_inception", "offapexnet"])
def test_each_stream_reads_its_own_channel(name: str) -> None:
    model = made(name)
    maps = clips_for(model)
    other = maps.clone()
    other[:, 1] = 0  # v
    before, after = model.forward_features(maps), model.forward_features(other)
    half = before.shape[1] // 2
    assert torch.equal(before[:, :half], after[:, :half])
    assert not torch.equal(before[:, half:], after[:, half:])


def test_layers_without_parameters_stand_where_they_were_published() -> None:
    sssnet, rcn_a, dual = made("sssnet"), made("rcn_a"), made("dual_inception")
    given: list[Tensor] = []
    for layer in (sssnet.norm1, sssnet.norm2, rcn_a.again, dual.streams[0][0].pooled[1]):
        layer.register_forward_pre_hook(lambda _, maps: given.append(maps[0]))
    for model in (sssnet, rcn_a, dual):
        model(clips_for(model))
    assert [maps.shape[-1] for maps in given] == [20, 9, 28, 28, 28]  # pooled before the norm; applied twice
    assert all(maps.min() == 0 for maps in given[:2])  # and after the ReLU
    expected = nn.functional.max_pool2d(clips_for(dual)[:, :1], 3, 1, padding=1)
    torch.testing.assert_close(given[4], expected)


def test_rcn_a_attends_where_the_stem_agrees_with_the_classifier() -> None:
    model, expected = RCNA(classes=2, width=2, pool=3), torch.zeros(3, 3)
    expected[1, 2] = 1
    with torch.no_grad():
        model.classify.weight.zero_().view(2, 2, 3, 3)[:, 0] = expected  # both classes look at one position of one map
    torch.testing.assert_close(model.attention(torch.ones(1, 2, 3, 3))[0, 0], expected)


def test_capsules_and_their_margin_loss_follow_the_formulas() -> None:
    model = capsulenet_flow.CapsuleNetFlow(classes=2, width=8)
    features = capsulenet_flow.squashed(torch.randn(3, 36, 8))
    votes = torch.einsum("nkij,bnj->bnki", model.votes, features)
    agreement = torch.zeros(3, 36, 2)
    for _ in range(3):  # rounds of routing, each weighted by the agreement so far
        classes = capsulenet_flow.squashed(torch.einsum("bnk,bnki->bki", agreement.softmax(dim=2), votes))
        agreement = agreement + torch.einsum("bnki,bki->bnk", votes, classes)
    torch.testing.assert_close(model.forward_head(features), classes.norm(dim=2), rtol=1e-4, atol=1e-6)
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


def test_the_mosaic_shows_eyes_above_and_mouth_below() -> None:
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    found = mosaic(torch.stack([rows, columns])[None])
    corners = [found[0, :, i, j].tolist() for i in (0, 14) for j in (0, 14)]
    # Upper left corners (row, column) of the 14×14 crops; int(9.5) - 7 = 2, and 21.4 is moved inside to 21.
    assert corners == [[2, 4], [3, 14], [14, 3], [13, 14]]


def test_htnet_attends_within_each_tile_alone() -> None:
    torch.manual_seed(0)
    level = Level(width=4, heads=2, depth=1, side=4, tiles=2)
    maps = torch.randn(1, 4, 4, 4)
    other = maps.clone()
    other[..., 0, 0] += torch.randn(4)
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:2, :2] = True
    assert torch.equal((level(maps) != level(other)).any(dim=1)[0], expected)


@pytest.mark.parametrize(("make", "same"), [(HTNet, True), (HTNetTokens, False)])
def test_noise_for_queries_and_keys_changes_nothing_in_htnet(make: type[HTNet], same: bool) -> None:
    model = make(**SMALL).eval()
    maps = clips_for(model)
    before = model(maps)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if ".query." in key or ".key." in key:
                parameter.copy_(10 * torch.randn_like(parameter))
    assert torch.equal(model(maps), before) is same


def test_resnet_starts_from_a_file_of_weights(tmp_path: Path) -> None:
    given, file = ResNet18Flow(classes=1000).net.state_dict(), tmp_path / "resnet18.safetensors"
    save_file(given, file)
    model, grey = (ResNet18Flow(classes=3, in_channels=channels, pretrained=str(file)) for channels in (3, 1))
    torch.testing.assert_close(model.net.conv1.weight, given["conv1.weight"])
    torch.testing.assert_close(grey.net.conv1.weight, given["conv1.weight"].sum(dim=1, keepdim=True))
    save_file({key: value for key, value in given.items() if "layer4" not in key}, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match="layer4"):
        ResNet18Flow(pretrained=str(tmp_path / "half.safetensors"))


@pytest.mark.parametrize("name", ["afn", "dianet"])
def test_faces_that_do_not_move_all_have_the_same_output(name: str) -> None:
    model = made(name)
    still = clips_for(model)[:, :1].expand(-1, model.frames, -1, -1, -1)
    torch.testing.assert_close(model(still), model(still[:1].expand(4, -1, -1, -1, -1)), rtol=1e-4, atol=1e-5)


def test_one_branch_of_mmnet_sees_the_motion_and_the_other_the_onset() -> None:
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


def test_mmnet_passes_attention_on_and_never_increases_it() -> None:
    torch.manual_seed(0)
    block = AttendedBlock(4, 8, 2).eval()
    maps, before = torch.randn(2, 4, 16, 16), torch.rand(2, 1, 16, 16)
    out, attention = block(maps, before)
    plain, own = block(maps, None)
    torch.testing.assert_close(attention, own * nn.functional.max_pool2d(before, 3, 2, padding=1))
    torch.testing.assert_close(out * own, plain * attention)
    assert (attention <= own).all()


def test_dianet_reads_the_dynamic_images_of_both_phases_and_afn_those_of_both_orders() -> None:
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

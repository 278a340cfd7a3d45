"""The backbone: sizes, agreement with timm's Next-ViT on the same weights, and timm's models instead."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from fdp_lightning.errors import UserError
from fdp_lightning.models.fdp.network import FDP
from fdp_lightning.models.fdp.pretrained import from_nextvit

pytestmark = pytest.mark.costly

MakeModel = Callable[..., FDP]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def nextvit() -> nn.Module:
    """Random weights and statistics, because initial ones would hide what is not loaded."""
    torch.manual_seed(0)
    model = timm.create_model("nextvit_small", num_classes=0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((found - expected).norm() / expected.norm().clamp_min(1e-12)).detach())


def test_our_blocks_give_timms_features_and_gradients(make_model: MakeModel, nextvit: nn.Module) -> None:
    ours = make_model("model=fdp_nextvit", "model.backbone.in_channels=3").backbone.eval()
    ours.load_state_dict(from_nextvit(nextvit.state_dict(), ours.layout, in_channels=3))  # strictly, key for key
    frames = torch.randn(2, 3, 64, 64)
    expected, found = nextvit.forward_features(frames), ours(frames)
    assert relative_error(found, expected) <= 1e-5
    direction = torch.randn_like(expected)
    nextvit.zero_grad()
    expected.backward(direction)
    found.backward(direction)
    gradients = {name: p.grad for name, p in nextvit.named_parameters()}
    theirs = from_nextvit(gradients, ours.layout, in_channels=3)
    compared = [name for name, _ in ours.named_parameters() if not name.endswith("attention.key.bias")]
    assert len(compared) > 100
    for name in compared:
        assert relative_error(ours.get_parameter(name).grad, theirs[name]) <= 1e-5, name


def test_pretrained_weights_are_loaded_where_they_fit(
    make_model: MakeModel, nextvit: nn.Module, tmp_path: Path
) -> None:
    theirs, grey = nextvit.state_dict(), torch.randn(2, 1, 64, 64)
    save_file(theirs, tmp_path / "nextvit.safetensors")
    option = f"model.backbone.pretrained={tmp_path / 'nextvit.safetensors'}"
    ours = make_model("model=fdp_nextvit", option).backbone.eval()
    with torch.no_grad():
        assert relative_error(ours(grey), nextvit.forward_features(grey.expand(-1, 3, -1, -1))) <= 1e-5
    ours = make_model("model=fdp", option).backbone
    # The second local block of stage 2, and the only global block of stage 3, which is timm's first one there.
    assert ours.layout[5] == (1, "local", 1)
    assert torch.equal(ours.blocks[5].mlp.expand.weight, theirs["stages.1.blocks.1.mlp.fc1.weight"])
    place = ours.layout.index((2, "global", 0))
    assert torch.equal(ours.blocks[place].attention.query.weight, theirs["stages.2.blocks.4.e_mhsa.q.weight"])
    with pytest.raises(UserError, match="nextvit_small"):
        make_model("model=fdp_tiny", option)


@pytest.mark.parametrize(
    ("name", "channels", "side"),
    [
        ("vit_tiny_patch16_224", 192, 4),  # needs the size of the frames
        ("swin_tiny_patch4_window7_224", 768, 2),  # returns its maps with channels last
        ("efficientformer_l1", 448, 7),  # accepts only one size, so frames are enlarged
    ],
)
def test_timm_models_replace_the_backbone(make_model: MakeModel, name: str, channels: int, side: int) -> None:
    options = ["model/backbone=timm", f"model.backbone.name={name}", "model.finer_maps=[]"]
    if name == "efficientformer_l1":
        with pytest.raises(UserError, match="input_size=224"):
            make_model(*options)
        options.append("model.backbone.input_size=224")
    model = make_model(*options).eval()
    (features,) = model.forward_features(torch.rand(2, 8, 1, 64, 64))
    assert features.shape == (2, 8, channels, side, side)
    assert model.forward_head([features]).dynamic_image.shape == (2, 1, 64, 64)


def test_a_timm_backbone_starts_from_a_file_of_its_weights(make_model: MakeModel, tmp_path: Path) -> None:
    weights = timm.create_model("resnet18").state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    options = "model/backbone=timm", "model.finer_maps=[]", f"model.backbone.pretrained={tmp_path}/weights.pt"
    own = (net := make_model(*options).backbone.net).state_dict()
    assert torch.allclose(own.pop("conv1.weight"), weights["conv1.weight"].sum(1, keepdim=True))  # grey
    assert len(own) == 119 and all(torch.equal(value, weights[name]) for name, value in own.items())
    assert "state_dict" not in net.pretrained_cfg
    with pytest.raises(UserError, match="not the weights of resnet34"):
        make_model(*options, "model.backbone.name=resnet34")


@pytest.mark.parametrize("level", [-1, 3, -2])
def test_timm_models_give_finer_maps(make_model: MakeModel, level: int) -> None:
    shapes = {2: (64, 32), 4: (64, 16), 8: (128, 8), 16: (256, 4), 32: (512, 2)}
    strides = {-1: [2, 4, 8, 16], 3: [2, 4, 8], -2: []}[level]  # a level counted from the end is built alone
    overrides = ("model/backbone=timm", f"model.backbone.level={level}", f"model.finer_maps={strides[::2]}")
    backbone = make_model(*overrides).backbone.eval()
    expected = {stride: shapes[stride] for stride in (*strides, 32 if level == -1 else 16)}
    assert backbone.map_shapes(64) == expected
    frames = torch.rand(2, 1, 64, 64)
    maps = backbone.forward_maps(frames, strides)
    assert [tuple(one.shape[1:]) for one in maps] == [(c, side, side) for c, side in expected.values()]
    assert torch.equal(backbone(frames), maps[-1])
    whole = backbone.net(frames)
    assert all(any(torch.equal(one, other) for other in whole) for one in maps)


def test_the_maps_of_a_stride_are_the_last_of_their_size(make_model: MakeModel) -> None:
    backbone = make_model("model=fdp").backbone.eval()
    expected = {2: (64, 32), 4: (128, 16), 8: (256, 8), 16: (512, 4), 32: (1024, 2)}
    assert list(backbone.map_shapes(64).items()) == list(expected.items())
    frames, outputs = torch.rand(2, 1, 64, 64), []
    for unit in (*backbone.stem, *backbone.blocks):
        unit.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    found = backbone.forward_maps(frames, [2, 8])
    last = {output.shape[-1]: output for output in outputs}
    assert torch.equal(found[0], last[32]) and torch.equal(found[1], last[8])
    assert torch.equal(found[2], backbone.norm(last[2])) and torch.equal(found[2], backbone(frames))

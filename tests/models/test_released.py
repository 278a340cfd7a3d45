"""`model=fdp_released`, compared with an independent implementation of the released network (released_network.py)."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fdp_lightning.config import configuration
from fdp_lightning.models.fdp.network import FDP
from fdp_lightning.models.fdp_released import from_released, to_released
from fdp_lightning.tasks.convert import convert
from tests.models.released_network import ReleasedNetwork

pytestmark = pytest.mark.costly

MakeModel = Callable[..., FDP]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def released() -> ReleasedNetwork:
    """The network with non-trivial batch-norm statistics, so that a missing one is noticed."""
    torch.manual_seed(0)
    model = ReleasedNetwork()
    with torch.no_grad():
        model(torch.randn(2, 1, 8, 1, 64, 64))
    return model.eval()


def n_parameters(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_the_parts_have_the_published_sizes(make_model: MakeModel) -> None:
    model = make_model("model=fdp_released")
    assert n_parameters(model) == 85_304_206
    assert round(n_parameters(model.backbone, model.head_block) / 1e6, 2) == 54.95
    assert round(n_parameters(model.pooling, model.mer_head) / 1e6, 2) == 0.91
    assert round(n_parameters(model.dic_head) / 1e6, 2) == 29.45


def test_a_released_checkpoint_gives_its_outputs(make_model: MakeModel, released: ReleasedNetwork) -> None:
    ours = make_model("model=fdp_released").eval()
    ours.load_state_dict(from_released(released.state_dict()))  # strictly
    clips = torch.randn(3, 8, 1, 64, 64)
    with torch.no_grad():
        logits, image = released(clips.unsqueeze(1))
        output = ours(clips)
    assert output.scores == {} and output.rank_scores is None
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.dynamic_image, image, rtol=1e-4, atol=1e-5)


def test_in_training_statistics_are_those_of_each_frame_index(make_model: MakeModel, released: ReleasedNetwork) -> None:
    ours = make_model("model=fdp_released", "model.backbone.drop_path=0.0")
    ours.load_state_dict(from_released(released.state_dict()))
    theirs = ReleasedNetwork()
    theirs.load_state_dict(released.state_dict())
    clips = torch.randn(2, 8, 1, 64, 64)
    with torch.no_grad():
        logits, _ = theirs.train()(clips.unsqueeze(1))
        torch.testing.assert_close(ours.train()(clips).logits, logits, rtol=1e-3, atol=1e-4)
    after = from_released(theirs.state_dict())
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=1e-3, atol=1e-4, msg=name)


def test_converting_back_and_forth_changes_nothing(make_model: MakeModel, released: ReleasedNetwork) -> None:
    state = released.state_dict()
    back = to_released(from_released(state))
    assert list(back) == list(state)
    assert all(torch.equal(back[name], state[name]) for name in state)
    ours = make_model("model=fdp_released", classes=3).state_dict()
    assert set(to_released(ours)) == set(ReleasedNetwork(classes=3).state_dict())
    with pytest.raises(ValueError, match=r"bogus\.weight"):
        from_released({"bogus.weight": torch.zeros(1)})


RIGHT = [
    "model.backbone.attention=true", "model.scrambled_time=false", "model.backbone.local_mixer=heads",
    "model.pooling=arp", "model.pooling=[score,intensity]", "model/dic_head=unet", "model.frame_batches=folded",
]  # fmt: skip


@pytest.mark.parametrize("right", RIGHT)
def test_each_deviation_can_be_corrected_by_itself(make_model: MakeModel, right: str) -> None:
    small = "model.backbone.stages=[{n_local: 1, width: 16, n_global: 1, global_width: 32, stride: 1}]"
    clips, outputs, shapes = torch.rand(2, 8, 1, 64, 64), [], []
    for options in ([], [right]):
        torch.manual_seed(0)
        model = make_model("model=fdp_released", small, *options)
        torch.manual_seed(0)
        outputs.append(model(clips).logits)
        shapes.append([p.shape for p in model.parameters()])
    assert outputs[1].isfinite().all()
    assert shapes[0] != shapes[1] or not torch.allclose(*outputs)


@pytest.mark.slow  # files of 340 MB
def test_the_task_converts_in_both_directions(
    released: ReleasedNetwork, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    theirs, ours, back = (tmp_path / name for name in ("theirs.pth", "ours.safetensors", "back.pth"))
    torch.save({"state_dict": {f"module.{k}": v for k, v in released.state_dict().items()}}, theirs)
    convert(configuration("task=convert", f"convert.input={theirs}", f"convert.output={ours}"))
    assert "85,3" in capsys.readouterr().out
    convert(configuration("task=convert", f"convert.input={ours}", f"convert.output={back}", "convert.to=released"))
    assert "grey - 0) / 1" in capsys.readouterr().out
    state = torch.load(back, weights_only=True)
    assert set(state) == set(released.state_dict())
    assert all(torch.equal(state[name], value) for name, value in released.state_dict().items())

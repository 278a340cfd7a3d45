"""Every way to compute a training gives the losses, weights and running statistics of the plain one."""

from dataclasses import replace

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp.network import FDP
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.recognizer import Clips
from fdp_lightning.training.compute import PLAIN, Compute
from fdp_lightning.training.optimizer import OptimizerSettings

pytestmark = pytest.mark.costly

torch.set_num_threads(1)  # several test processes and workers share two cores

NARROW = [
    "model=fdp_released",
    "data.faces.size=32",
    "model.backbone.stem_widths=[8,64]",
    "model.backbone.stem_strides=[2,2]",
    "model.backbone.stages=[{n_local: 1, width: 64, stride: 1}, {n_local: 2, width: 64}, {n_local: 1, width: 64}]",
]
WAYS = {
    "all frames at once": Compute(checkpointing=None),
    "three frames at once": replace(PLAIN, frames_at_once=3),  # eight is not a multiple of three
    "channels last": replace(PLAIN, channels_last=True),
    "small maps": replace(PLAIN, small_maps=True),
    "fused optimizer": replace(PLAIN, fused_optimizer=True),
    "recomputed blocks": Compute(checkpointing="blocks"),
    "recomputed stages": Compute(frames_at_once=1, checkpointing="stages"),
}
State = tuple[list[float], dict[str, torch.Tensor]]


def released() -> FDP:
    torch.manual_seed(0)
    return build_model(configuration(*NARROW, "model.backbone.drop_path=0.0"), 5).double().train()


def train(compute: Compute) -> State:
    """Return the losses of two steps and the state after them."""
    network = released()
    torch.manual_seed(1)  # for the random masks
    compute.prepare(network)
    objective = Objective().double()
    built = OptimizerSettings(decay_all=True).build(network, 2, fused=compute.fused_optimizer)
    frames = torch.rand(2, 8, 1, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    losses = []
    for _ in range(2):
        built["optimizer"].zero_grad()
        total = objective(network(frames), Clips(frames, torch.tensor([0, 3]))).total
        total.backward()
        built["optimizer"].step()
        losses.append(total.item())
    return losses, network.state_dict()


@pytest.fixture(scope="module")
def plain() -> State:
    return train(PLAIN)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_trains_like_the_plain_one(way: str, plain: State) -> None:
    losses, state = train(WAYS[way])
    assert losses == pytest.approx(plain[0], rel=1e-9)
    assert list(state) == list(plain[1])
    for name, value in state.items():
        # The gradient of a bias before batch norm is only rounding error, which Adam scales to a full step.
        if not name.startswith("dic_head.conv"):
            torch.testing.assert_close(value, plain[1][name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("parts", ["blocks", "stages"])
@pytest.mark.parametrize("frame_batches", ["folded", "per_frame"])
def test_recomputation_repeats_the_same_masks_and_maps(parts: str, frame_batches: str) -> None:
    narrow = ["model=fdp_deviations", "data.faces.size=32", "model.mer_head.reads=3", "model.backbone.drop_path=0.3"]
    results = []
    for checkpointing in (None, parts):
        torch.manual_seed(0)
        network = build_model(configuration(*narrow, f"model.frame_batches={frame_batches}"), 5).double().train()
        replace(PLAIN, checkpointing=checkpointing).prepare(network)
        torch.manual_seed(1)
        frames = torch.rand(2, 8, 1, 32, 32, dtype=torch.float64)
        output = network(frames)
        assert [d.shape[-1] for d in output.representation] == [16, 8, 4]
        Objective().double()(output, Clips(frames, torch.tensor([0, 3]))).total.backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        results.append((output.representation, output.logits, gradients, network.state_dict()))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)


def test_checkpointing_saves_memory() -> None:
    def kept(compute: Compute) -> int:
        network, sizes = released(), dict[int, int]()
        compute.prepare(network)

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        frames = torch.rand(2, 8, 1, 32, 32, dtype=torch.float64)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network(frames)
        assert output.logits.requires_grad
        own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        return sum(size for place, size in sizes.items() if place not in own)

    everything, blocks, stages = (kept(replace(PLAIN, checkpointing=parts)) for parts in (None, "blocks", "stages"))
    assert everything > 3 * blocks > 3 * stages


def test_other_batch_norms_and_padded_clips_keep_the_loop_over_frames() -> None:
    """The norms of DDP know no frame indices, and padding must not count."""
    frames, mask = torch.rand(2, 8, 1, 32, 32, dtype=torch.float64), torch.ones(2, 8, dtype=torch.bool)
    mask[0, 5:] = False

    def passes(network: FDP, *inputs: torch.Tensor) -> list[int]:
        sizes: list[int] = []
        network.backbone.stem[0].register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
        network(*inputs)
        return sizes

    ours, other, masked = (released() for _ in range(3))
    for network in (ours, other, masked):
        Compute().prepare(network)
    other.backbone.norm = torch.nn.BatchNorm2d(64).double()
    assert passes(ours, frames) == [16]
    assert passes(other, frames) == [2] * 8
    assert passes(masked, frames, mask) == [2] * 5 + [1] * 3
    norms = [module for module in masked.backbone.modules() if isinstance(module, _BatchNorm)]
    assert norms and all(norm.num_batches_tracked == 8 for norm in norms)

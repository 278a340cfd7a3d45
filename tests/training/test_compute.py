"""Every way to carry a training out against the plain one: equal losses, weights and running statistics."""

import copy
import subprocess
import sys
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
    "three frames at once": replace(PLAIN, frames_at_once=3),  # eight are no multiple of three
    "channels last": replace(PLAIN, channels_last=True),
    "small maps": replace(PLAIN, small_maps=True),
    "fused": replace(PLAIN, fused_optimizer=True),
    "blocks once more": Compute(checkpointing="blocks"),
    "stages once more": Compute(frames_at_once=1, checkpointing="stages"),
}


def released(*overrides: str, drop_path: float = 0.0) -> FDP:
    torch.manual_seed(0)
    return build_model(configuration(*NARROW, f"model.backbone.drop_path={drop_path}", *overrides), 5).double().train()


def train(network: FDP, compute: Compute, steps: int = 2) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of a few steps and the state after them."""
    torch.manual_seed(1)  # of the masks that are drawn
    network = copy.deepcopy(network)
    compute.prepare(network)
    objective = Objective().double()
    built = OptimizerSettings(decay_all=True).build(network, steps, fused=compute.fused_optimizer)
    draw = torch.Generator().manual_seed(2)
    frames = torch.rand(2, 8, 1, 32, 32, generator=draw, dtype=torch.float64)
    losses = []
    for _ in range(steps):
        built["optimizer"].zero_grad()
        total = objective(network(frames), Clips(frames, torch.tensor([0, 3]))).total
        total.backward()
        built["optimizer"].step()
        losses.append(total.item())
    return losses, network.state_dict()


@pytest.fixture(scope="module")
def plain() -> tuple[list[float], dict[str, torch.Tensor]]:
    return train(released(), PLAIN)


@pytest.mark.parametrize("way", WAYS)
def test_losses_weights_and_statistics_are_those_of_the_plain_way(
    way: str, plain: tuple[list[float], dict[str, torch.Tensor]]
) -> None:
    losses, state = train(released(), WAYS[way])
    assert losses == pytest.approx(plain[0], rel=1e-9)
    assert list(state) == list(plain[1])
    for name, value in state.items():
        # A bias before batch norm has no gradient but rounding, of which Adam makes a whole step.
        if not name.startswith("dic_head.conv"):
            torch.testing.assert_close(value, plain[1][name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("at_once", [1, 3, None])
def test_features_are_those_of_a_pass_per_frame(at_once: int | None) -> None:
    network, by_hand = released(), released()
    network.frames_at_once = at_once
    frames = torch.rand(2, 8, 1, 32, 32, dtype=torch.float64)
    found = network.forward_features(frames)
    passes = [
        by_hand.head_block(by_hand.backbone((frame - by_hand.mean) / by_hand.std)) for frame in frames.unbind(dim=1)
    ]
    torch.testing.assert_close(found, [torch.stack(passes, dim=1)])
    torch.testing.assert_close(network.backbone.state_dict(), by_hand.backbone.state_dict())


def test_what_is_computed_once_more_draws_the_same_masks() -> None:
    light = "model/dic_head=unet"
    network = released(light, drop_path=0.5)
    once = train(network, PLAIN)[0]
    assert train(network, replace(PLAIN, checkpointing="blocks"))[0] == pytest.approx(once, rel=1e-9)
    assert train(network, replace(PLAIN, checkpointing="stages"))[0] == pytest.approx(once, rel=1e-9)
    assert train(released(light), PLAIN)[0] != pytest.approx(once, rel=1e-3)  # the masks do something


@pytest.mark.parametrize("parts", ["blocks", "stages"])
@pytest.mark.parametrize("frame_batches", ["folded", "per_frame"])
def test_what_is_computed_once_more_gives_the_same_finer_maps(parts: str, frame_batches: str) -> None:
    narrow = [
        "model=fdp_deviations",
        "data.faces.size=32",
        f"model.frame_batches={frame_batches}",
        "model.mer_head.reads=3",
    ]
    results = []
    for checkpointing in (None, parts):
        torch.manual_seed(0)
        network = build_model(configuration(*narrow, "model.backbone.drop_path=0.3"), 5).double().train()
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


def test_checkpointing_keeps_less() -> None:
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


def test_other_batch_norms_keep_the_loop_over_frames() -> None:
    """DDP puts norms of its own in place, which know of no frames: then each frame is a pass of its own."""
    network = released()
    Compute().prepare(network)
    passes: list[int] = []
    network.backbone.stem[0].register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    frames = torch.rand(2, 8, 1, 32, 32, dtype=torch.float64)
    network(frames)
    assert passes == [16]
    network.backbone.norm = torch.nn.BatchNorm2d(64).double()
    network(frames)
    assert passes == [16] + [2] * 8
    # Clips of different length, too: a frame that is not real must not count.
    passes.clear()
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 5:] = False
    released_again = released()
    Compute().prepare(released_again)
    released_again.backbone.stem[0].register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    released_again(frames, mask)
    assert passes == [2] * 5 + [1] * 3
    assert all(norm.num_batches_tracked == 8 for norm in released_again.backbone.modules() if is_norm(norm))


def is_norm(module: torch.nn.Module) -> bool:
    return isinstance(module, _BatchNorm)


FAULTS = """
import resource, sys
import numpy as np
from fdp_lightning.training.compute import free_memory
free_memory(sys.argv[1])
for _ in range(2):
    np.ones(64 * 2**20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(64 * 2**20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow  # two processes that import torch
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_kept_memory_is_not_cleared_anew() -> None:
    faults = {
        way: int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True).stdout)
        for way in ("keep", "return")
    }
    assert faults["return"] > 50 * max(1, faults["keep"])

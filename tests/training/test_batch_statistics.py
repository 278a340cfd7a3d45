"""Batch-norm statistics, recomputed on training clips, and synchronised between two processes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fdp_lightning.config import configuration
from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.protocols.splits import Fold
from fdp_lightning.engine.devices import free_port
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.processes import forkserver
from fdp_lightning.training.batch_norm import BatchStatistics, SyncedBatchNorms
from fdp_lightning.training.module import RecognitionModule, clips_of
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.recorder import Recorder

pytestmark = pytest.mark.costly

torch.set_num_threads(1)  # several test processes and workers share two cores

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]
Data = Callable[..., FoldDataModule]


@pytest.fixture
def data(store_folder_path: Path, casme2_clips: pd.DataFrame) -> Data:
    clips = casme2_clips.assign(target=casme2_clips["emotion"])
    fold = Fold("03", tuple(range(10)), tuple(range(10, 15)))
    return partial(FoldDataModule, store_folder_path, clips, CLASSES, fold, augmentation=ClipAugmentation())


def make_module(*overrides: str, settings: OptimizerSettings | None = None) -> RecognitionModule:
    torch.manual_seed(0)
    network = build_model(configuration(*overrides), len(CLASSES))
    return RecognitionModule(network, Objective(), settings or OptimizerSettings()).train()


def norms(module: nn.Module) -> dict[str, _BatchNorm]:
    return {name: norm for name, norm in module.named_modules() if isinstance(norm, _BatchNorm)}


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def seen_by_norms(module: RecognitionModule, frames: Tensor) -> dict[str, Tensor]:
    """Return the input of each norm, (n, c, positions), in a pass with only the norms in training mode."""
    seen: dict[str, list[Tensor]] = {}
    module.eval()
    hooks = []
    for name, norm in norms(module).items():
        norm.train()
        hooks.append(norm.register_forward_pre_hook(lambda _, x, name=name: seen.setdefault(name, []).append(x[0])))
    with torch.no_grad():
        module(frames)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(inputs).flatten(2) if inputs[0].ndim > 2 else torch.cat(inputs)[..., None]
            for name, inputs in seen.items()}  # fmt: skip


@pytest.mark.parametrize("overrides", [["model.backbone.drop_path=0.5"], ["model.head_block=map64"]])
def test_statistics_of_one_batch_are_those_of_the_inputs_of_each_norm(data: Data, overrides: list[str]) -> None:
    overrides = ["model.mer_head.dropout=0.5", *overrides]
    module, clips = make_module(*overrides), data()
    expected = seen_by_norms(make_module(*overrides), clips.train_set.all_clips()["frames"])
    state = torch.get_rng_state()
    BatchStatistics(partial(clips.fixed_batches, 100)).compute(module, Precision())
    assert torch.equal(torch.get_rng_state(), state) and not any(one.training for one in module.modules())
    assert set(expected) == set(norms(module))
    for name, norm in norms(module).items():
        torch.testing.assert_close(norm.running_mean, expected[name].mean(dim=(0, 2)), rtol=1e-3, atol=1e-5, msg=name)
        torch.testing.assert_close(norm.running_var, expected[name].var(dim=(0, 2)), rtol=1e-3, atol=1e-5, msg=name)
        assert norm.momentum == 0.1


def test_statistics_of_several_batches_are_their_mean_and_forget_earlier_values(data: Data) -> None:
    clips = data(batch_size=4)
    batches = list(clips.fixed_batches(100))
    assert [len(batch["target"]) for batch in batches] == [4, 3, 3]
    assert [len(batch["target"]) for batch in clips.fixed_batches(5)] == [3, 2]
    module, name = make_module(), "model.backbone.stem.0.norm"
    norm = norms(module)[name]
    norm.running_mean.fill_(1e6)
    parts = [seen_by_norms(make_module(), batch["frames"])[name] for batch in batches]
    BatchStatistics(partial(clips.fixed_batches, 100)).compute(module, Precision())
    torch.testing.assert_close(norm.running_mean, torch.stack([part.mean(dim=(0, 2)) for part in parts]).mean(dim=0))
    torch.testing.assert_close(norm.running_var, torch.stack([part.var(dim=(0, 2)) for part in parts]).mean(dim=0))


def test_the_clips_are_fixed_unaugmented_and_all_of_a_small_set(data: Data) -> None:
    clips = data(batch_size=4, seed=3)
    first = torch.cat([batch["frames"] for batch in clips.fixed_batches(100)])
    clips.train_set.epoch = 5
    assert torch.equal(torch.cat([batch["frames"] for batch in clips.fixed_batches(100)]), first)
    stored = clips.train_set.all_clips()["frames"]
    sums = [frames.flatten(1).sum(dim=1).tolist() for frames in (first, stored)]
    assert sorted(sums[0]) == sorted(sums[1])
    other_fold = torch.cat([batch["frames"] for batch in data(seed=4).fixed_batches(100)])
    assert not torch.equal(other_fold, first)


def test_recording_restores_running_statistics_and_does_not_affect_training(data: Data) -> None:
    clips = data(batch_size=4)
    ends = []
    for looked in (False, True):
        module = make_module(settings=OptimizerSettings(lr=1e-2))
        before = statistics(module)
        if looked:
            statistics_of = BatchStatistics(partial(clips.fixed_batches, 100))
            recorder = Recorder(clips.test_dataloader, lambda done: None, statistics=statistics_of)
            recorder.record(module, 1, 1, {}, Precision())
            assert all(torch.equal(before[name], buffer) for name, buffer in statistics(module).items())
            assert all(one.training for one in module.modules())
        torch.manual_seed(1)
        module.evaluate(clips_of(clips.train_set.all_clips()))
        ends.append(statistics(module))
    assert all(torch.equal(ends[0][name], buffer) for name, buffer in ends[1].items())


@pytest.mark.parametrize("overrides", [[], ["model=fdp_deviations", "model.frame_batches=per_frame"]])
def test_recomputation_does_not_synchronise_norms_of_ddp(data: Data, overrides: list[str]) -> None:
    clips = data(batch_size=4)
    alone, shared = make_module(*overrides), make_module(*overrides)
    SyncedBatchNorms().apply(shared)
    for module in (alone, shared):  # without a process group, a collective would fail
        BatchStatistics(partial(clips.fixed_batches, 100)).compute(module, Precision())
    for name, buffer in statistics(shared).items():
        torch.testing.assert_close(buffer, statistics(alone)[name], msg=name)
    with pytest.raises(ValueError, match="process group"):
        shared.train()(next(iter(clips.fixed_batches(4)))["frames"])


CASES = [(nn.BatchNorm2d(3), (6, 3, 4, 5)), (nn.BatchNorm2d(3, momentum=None, affine=False), (6, 3, 1, 2)),
         (nn.BatchNorm1d(3, momentum=0.3), (7, 3))]  # fmt: skip


def network(norm: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(norm, nn.ReLU())
    for parameter in layers.parameters():
        nn.init.normal_(parameter)
    return layers.double().train()


def steps(layers: nn.Module, rows: slice, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return outputs and input gradients of two training steps and one evaluation step."""
    found = []
    for step in range(3):
        layers.train(step < 2)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        mine = x[rows].requires_grad_()
        y = layers(mine)
        (y * torch.linspace(1, 2, y[0].numel(), dtype=y.dtype).reshape(y[0].shape)).sum().backward()
        assert mine.grad is not None
        found += [y.detach(), mine.grad]
    return found


def _rank(number: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    for case, (norm, shape) in enumerate(CASES):
        layers, sync = network(norm), SyncedBatchNorms()
        before = list(layers.state_dict())
        sync.apply(layers)
        assert list(layers.state_dict()) == before  # the same checkpoints
        found = steps(layers, slice(number, None, 2), shape)
        gradients = [p.grad for p in layers.parameters()]
        sync.revert(layers)
        assert type(layers[0]) is type(norm)
        torch.save([found, gradients, layers.state_dict()], f"{folder}/{case}-{number}.pt")
    dist.destroy_process_group()  # a process may abort if it ends while gloo's threads live


def test_two_processes_normalise_as_one(tmp_path: Path) -> None:
    context, port = forkserver(), free_port()
    ranks = [context.Process(target=_rank, args=(number, port, str(tmp_path))) for number in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
        assert rank.exitcode == 0
    for case, (norm, shape) in enumerate(CASES):
        layers = network(norm)
        whole = steps(layers, slice(None), shape)
        (found, gradients, state), (others, other_gradients, other_state) = (
            torch.load(tmp_path / f"{case}-{number}.pt", weights_only=True) for number in range(2)
        )
        for expected, even, odd in zip(whole, found, others, strict=True):
            torch.testing.assert_close(even, expected[::2])
            torch.testing.assert_close(odd, expected[1::2])
        for parameter, one, other in zip(layers.parameters(), gradients, other_gradients, strict=True):
            torch.testing.assert_close(one + other, parameter.grad)
        for name, value in layers.state_dict().items():
            torch.testing.assert_close(state[name], value)
            torch.testing.assert_close(other_state[name], value)

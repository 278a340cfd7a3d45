"""Batch-norm statistics recomputed on training clips, and synchronised over two real processes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
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
NOISY = ("model.mer_head.dropout=0.5", "model.backbone.drop_path=0.5")

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


@pytest.mark.parametrize("overrides", [NOISY, (*NOISY, "model.backbone.drop_path=0.0", "model.head_block=map64")])
def test_of_one_batch_they_are_those_of_what_each_norm_is_given(data: Data, overrides: tuple[str, ...]) -> None:
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


def test_of_several_batches_they_are_the_mean_of_all_whatever_was_there_before(data: Data) -> None:
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


def test_the_clips_are_the_same_each_time_without_augmentation_and_all_of_a_small_set(data: Data) -> None:
    clips = data(batch_size=4, seed=3)
    once, clips.train_set.epoch = list(clips.fixed_batches(100)), 5
    again = list(clips.fixed_batches(100))
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one["frames"], other["frames"])
    frames = torch.cat([batch["frames"] for batch in once]).flatten(1)
    stored = clips.train_set.all_clips()["frames"].flatten(1)
    assert sorted(frames.sum(dim=1).tolist()) == sorted(stored.sum(dim=1).tolist())
    other_fold = torch.cat([batch["frames"] for batch in data(seed=4).fixed_batches(100)]).flatten(1)
    assert not torch.equal(other_fold, frames)


def test_the_running_ones_come_back_and_training_goes_on_as_if_nothing_had_been(data: Data) -> None:
    clips = data(batch_size=4)
    batches, ends = partial(clips.fixed_batches, 100), []
    for looked in (False, True):
        module = make_module(settings=OptimizerSettings(lr=1e-2))
        before = statistics(module)
        if looked:
            recorder = Recorder(clips.test_dataloader, lambda done: None, statistics=BatchStatistics(batches))
            recorder.record(module, 1, 1, {}, Precision())
            assert all(torch.equal(before[name], buffer) for name, buffer in statistics(module).items())
            assert all(one.training for one in module.modules())
        torch.manual_seed(1)
        module.evaluate(clips_of(clips.train_set.all_clips()))
        ends.append(statistics(module))
    assert all(torch.equal(ends[0][name], buffer) for name, buffer in ends[1].items())


@pytest.mark.parametrize(
    "overrides", [(), ("model=fdp_deviations", "model.frame_batches=per_frame")], ids=["folded", "per_frame"]
)
def test_the_norms_of_ddp_are_asked_for_their_own_clips_alone(data: Data, overrides: tuple[str, ...]) -> None:
    clips = data(batch_size=4)
    alone, shared = make_module(*overrides), make_module(*overrides)
    SyncedBatchNorms().apply(shared)
    for module in (alone, shared):  # without a process group, a collective would fail
        BatchStatistics(partial(clips.fixed_batches, 100)).compute(module, Precision())
    expected = statistics(alone)
    for name, buffer in statistics(shared).items():
        torch.testing.assert_close(buffer, expected[name], msg=name)
    with pytest.raises(ValueError, match="process group"):
        shared.train()(next(iter(clips.fixed_batches(4)))["frames"])


def test_they_are_computed_in_the_precision_of_the_training(data: Data) -> None:
    clips = data()
    found = []
    for precision in (Precision(), MixedPrecision("bf16-mixed", "cpu")):
        module = make_module()
        BatchStatistics(partial(clips.fixed_batches, 100)).compute(module, precision)
        found.append(norms(module)["model.mer_head.readings.0.0"].running_var)
    assert not torch.equal(*found)
    torch.testing.assert_close(*found, rtol=0.1, atol=1e-2)


CASES = [(nn.BatchNorm2d(3), (6, 3, 4, 5)), (nn.BatchNorm2d(3, momentum=None, affine=False), (6, 3, 1, 2)),
         (nn.BatchNorm1d(3, momentum=0.3), (7, 3))]  # fmt: skip


def network(norm: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(norm, nn.ReLU())
    for parameter in layers.parameters():
        nn.init.normal_(parameter)
    return layers.double().train()


def steps(layers: nn.Module, rows: slice, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Return outputs and input gradients of two training steps and one step in evaluation mode."""
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
        assert list(layers.state_dict()) == before  # checkpoints do not differ
        found = steps(layers, slice(number, None, 2), shape)
        gradients = [p.grad for p in layers.parameters()]
        sync.revert(layers)
        assert type(layers[0]) is type(norm)
        torch.save([found, gradients, layers.state_dict()], f"{folder}/{case}-{number}.pt")
    dist.destroy_process_group()  # a process that ends with gloo's threads alive may abort


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ranks")
    context = forkserver()
    port = free_port()
    ranks = [context.Process(target=_rank, args=(number, port, str(place))) for number in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
        assert rank.exitcode == 0
    return place


@pytest.mark.parametrize("case", range(len(CASES)))
def test_two_processes_normalise_as_one(case: int, folder: Path) -> None:
    norm, shape = CASES[case]
    layers = network(norm)
    whole = steps(layers, slice(None), shape)
    parts = [torch.load(folder / f"{case}-{number}.pt", weights_only=True) for number in range(2)]
    for place, expected in enumerate(whole):
        joined = torch.empty_like(expected)
        for number, (found, _, _) in enumerate(parts):
            joined[number::2] = found[place]
        torch.testing.assert_close(joined, expected)
    for place, parameter in enumerate(layers.parameters()):
        torch.testing.assert_close(parts[0][1][place] + parts[1][1][place], parameter.grad)
    for name, value in layers.state_dict().items():
        torch.testing.assert_close(parts[0][2][name], value)
        torch.testing.assert_close(parts[1][2][name], value)

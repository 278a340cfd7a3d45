"""Batch norm over two real processes equals batch norm over the whole batch in one."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from fdp_lightning.engine.ddp_processes import free_port
from fdp_lightning.processes import forkserver
from fdp_lightning.training.synced_batch_norm import SyncedBatchNorms

pytestmark = pytest.mark.costly

CASES = [(nn.BatchNorm2d(3), (6, 3, 4, 5)), (nn.BatchNorm2d(3, momentum=None, affine=False), (6, 3, 1, 2)),
         (nn.BatchNorm1d(3, momentum=0.3), (7, 3))]  # fmt: skip


def network(norm: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(norm, nn.ReLU())
    for parameter in layers.parameters():
        nn.init.normal_(parameter)
    return layers.double().train()


def steps(layers: nn.Module, rows: slice, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Outputs and input gradients of two training steps and one in evaluation, then all state."""
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
        assert list(layers.state_dict()) == before  # checkpoints know no difference
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

"""Training steps of networks on flow maps: `python benchmarks/flow_networks.py [--json file] [--repeats n] [--quick]`.

STSTNet as drawn in its paper, three streams with PyTorch's defaults, alternates with ours under `compute=fast`: the
same function, batch and optimizer, on one thread, as in each fold. For every network, the time of its published recipe
over the 68 folds of MEGC 2019 on two cores is extrapolated from the measured step.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from _measuring import Goal, Measurement, Row, alternate, finish, options_of
from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model, settings
from fdp_lightning.training.compute import Compute
from fdp_lightning.training.optimizer import OptimizerSettings

NETWORKS = ("ststnet", "offapexnet_one_stream", "offapexnet", "sssnet", "dual_inception", "rcn_a", "capsulenet_flow")
FOLDS, CORES = 68, 2


class ThreeStreams(nn.Module):
    """STSTNet with three separate streams."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(3, filters, 3, padding=2) for filters in (3, 5, 8))
        self.norms = nn.ModuleList(nn.BatchNorm2d(filters) for filters in (3, 5, 8))
        self.classify = nn.Linear(400, 3)

    def forward(self, maps: Tensor) -> Tensor:
        """Map flow maps to logits."""
        streams = [
            F.dropout(F.max_pool2d(norm(F.relu(convolution(maps))), 3, stride=3, padding=1), 0.5)
            for convolution, norm in zip(self.convolutions, self.norms, strict=True)
        ]
        return self.classify(F.avg_pool2d(torch.cat(streams, dim=1), 2).flatten(1))


def step_of(network: nn.Module, optimizer: torch.optim.Optimizer, maps: Tensor, targets: Tensor) -> Callable[[], None]:
    """Return a function that takes one training step."""

    def step() -> None:
        optimizer.zero_grad()
        logits: Tensor = network(maps)
        F.cross_entropy(logits, targets).backward()
        optimizer.step()

    return step


def recipes() -> Iterator[tuple[str, Callable[[], None], int]]:
    """Yield the name of each network, a step of its recipe, and its number of steps."""
    for name in NETWORKS:
        config = configuration("data=megc2019_flow", "input=maps", f"model={name}", "data.root=nowhere")
        network = build_model(config, 3).train()
        compute: Compute = settings(Compute, config.compute)
        compute.set_process(on_gpu=False)
        compute.prepare(network)
        optimizer: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
        built = optimizer.build(network, optimizer.steps or 1, fused=compute.fused_optimizer)["optimizer"]
        clips, size = config.data.batch_size, config.input.size
        maps = config.input.gain * torch.rand(clips, len(config.input.channels), size, size)
        yield name, step_of(network, built, maps, torch.arange(clips) % 3), optimizer.steps or 1


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=30)
    torch.set_num_threads(1)
    row = Row("flow_networks", "seconds per training step, one thread")
    sides, steps = {}, {}
    for name, step, number in recipes():
        sides[name], steps[name] = step, number
    plain, maps = ThreeStreams(), 255 * torch.rand(256, 3, 28, 28)
    adam = torch.optim.Adam(plain.parameters(), lr=5e-5)
    plain_name = "STSTNet, three streams, plain"
    pair = {plain_name: step_of(plain, adam, maps, torch.arange(256) % 3), "ststnet": sides.pop("ststnet")}
    seconds = alternate(pair, 1 if options.quick else options.repeats, warm_up=3)
    seconds |= alternate(sides, 1 if options.quick else max(1, options.repeats // 5))
    row.measurements = [Measurement(name, values) for name, values in seconds.items()]
    medians = {one.name: one.median for one in row.measurements}
    minutes = {name: medians[name] * number * FOLDS / CORES / 60 for name, number in steps.items()}
    row.facts = {f"{name}, {FOLDS} folds, {CORES} cores, minutes": round(value) for name, value in minutes.items()}
    row.goals = [
        Goal("STSTNet's step, three streams / ours", medians[plain_name] / medians["ststnet"], 2.0),
        Goal("STSTNet, 68 folds on two cores", minutes["ststnet"], 30.0, at_least=False, unit="min"),
    ]
    finish(row, options)


if __name__ == "__main__":
    main()

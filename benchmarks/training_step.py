"""One training step of the released architecture: `python benchmarks/training_step.py [--json file]`.

85.3 M parameters, 36 clips of 8 grey frames of 64×64, Adam; random clips, which cost what faces cost. The plain side is
`compute=plain`: a pass of the backbone per frame, float32, standard layout, eager. Each side runs in processes of its
own, in turn, with the peak of what they held. Losses are compared over ten steps of fewer clips in double precision:
in float32 Adam makes whole steps of last bits (the row says how far plain runs apart whose frames differ by 1e-7).

With a GPU the sides run there, and the time of a whole LOSO on CASME II and SAMM at the released settings is computed
from the step.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from fdp_lightning.config import configuration
from fdp_lightning.models.fdp import FDP
from fdp_lightning.models.objective import Clips
from fdp_lightning.tasks.build import build, build_model, settings
from fdp_lightning.tasks.measuring import Goal, Measurement, Row, finish, in_child, options_of
from fdp_lightning.training.compute import Compute
from fdp_lightning.training.optimizer import OptimizerSettings

BATCH = 36
STEPS = 500
"""Of a fold, at the released settings."""

NARROW = (
    "model.backbone.stem_widths=[8,8,8,64]",
    "model.backbone.stages=[{n_local: 1, width: 64, stride: 1}, {n_local: 1, width: 64}]",
    "model/dic_head=unet",
)


@dataclass(frozen=True)
class Steps:
    """Steps of one side; plain data, so that a process can be asked for them.

    Attributes:
        overrides: of the configuration.
        count: measured steps, after two that are not.
        clips: of a step.
        double: in double precision.
        bf16: in mixed precision.
        noise: added to the frames, standard deviation.
    """

    overrides: Sequence[str]
    count: int = 2
    clips: int = BATCH
    double: bool = False
    bf16: bool = False
    noise: float = 0.0


def network_of(overrides: Sequence[str]) -> tuple[FDP, Any, Any]:
    """The released network and its configuration; the same weights whatever `compute` says."""
    torch.manual_seed(0)
    config = configuration("+experiment=synthetic_released", *overrides)
    return build_model(config, 5).train(), build(config.model.objective), config


def run(steps: Steps) -> dict[str, Any]:
    """Seconds and loss of each step, the two before the measured ones included in the losses."""
    network, objective, config = network_of(steps.overrides)
    compute: Compute = settings(Compute, config.compute)
    device = torch.device("cuda" if torch.cuda.is_available() and not steps.double else "cpu")
    compute.set_process(on_gpu=device.type == "cuda")
    kind = torch.float64 if steps.double else torch.float32
    network, objective = network.to(device, kind), objective.to(device, kind)
    compute.prepare(network)
    optimizer_settings: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
    optimizer = optimizer_settings.build(network, STEPS, fused=compute.fused_optimizer)["optimizer"]
    draw = torch.Generator().manual_seed(1)
    frames = torch.rand(steps.clips, 8, 1, 64, 64, generator=draw)
    frames = (frames + steps.noise * torch.randn(frames.shape, generator=draw)).to(device, kind)
    clips = Clips(frames, torch.randint(0, 5, (steps.clips,), generator=draw).to(device))
    seconds, losses = [], []
    for _ in range(2 + steps.count):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16) if steps.bf16 else nullcontext():
            total = objective(network(frames), clips).total
        total.backward()
        optimizer.step()
        losses.append(total.item())  # waits for the GPU
        seconds.append(time.perf_counter() - start)
    held = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else None
    return {"seconds": seconds[2:], "losses": losses, "gpu_mb": held}


def sides(narrow: Sequence[str], clips: int) -> dict[str, Steps]:
    """What is measured, by name."""
    on_gpu = torch.cuda.is_available()
    plain = Steps([*narrow, "compute=plain"], 30 if on_gpu else 2, clips)
    fast = replace(plain, overrides=[*narrow, "compute=fast"])
    if not on_gpu:
        low = replace(plain, overrides=[*narrow, "compute=low_memory"])
        return {"plain": plain, "fast": fast, "low_memory": low, "fast, bf16-mixed": replace(fast, bf16=True)}
    compiled = {way: replace(plain, overrides=[*narrow, f"compute={way}"]) for way in ("compiled", "cuda_graphs")}
    mixed = {f"{name}, bf16-mixed": replace(one, bf16=True) for name, one in ({"fast": fast} | compiled).items()}
    return {"plain": plain, "fast": fast, **mixed}


def measure(todo: dict[str, Steps], rounds: int) -> list[Measurement]:
    """All sides in turn, each time in a process of its own."""
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    peaks = dict.fromkeys(todo, 0.0)
    for _ in range(rounds):
        for name, steps in todo.items():
            child = in_child(run, steps)
            seconds[name] += child.result["seconds"]
            peaks[name] = max(peaks[name], child.result["gpu_mb"] or child.peak_mb)
    return [Measurement(name, values, "s", peaks[name]) for name, values in seconds.items()]


def apart(one: Steps, other: Steps) -> float:
    """The largest relative difference of the losses of two sides over ten steps."""
    first, second = (torch.tensor(in_child(run, steps).result["losses"]) for steps in (one, other))
    return float(((first - second).abs() / first.abs()).max())


def folds() -> int:
    """Folds of CASME II and SAMM in five classes."""
    protocols = (configuration(f"+experiment={name}_loso").protocol for name in ("casme2", "samm"))
    return sum(protocol.expected.subjects for protocol in protocols)


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=3)
    narrow = NARROW if options.quick else ()
    row = Row("training_step", f"one training step of the released architecture, {BATCH} clips × 8 × 64×64")
    clips = 2 if options.quick else BATCH
    network, _, _ = network_of(narrow)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.rand(1, 8, 1, 64, 64))
    step = 3 * clips * counter.get_total_flops()
    row.measurements = measure(sides(narrow, clips), 1 if options.quick else options.repeats)
    medians = {one.name: one.median for one in row.measurements}
    peaks = {one.name: one.peak_mb or 0.0 for one in row.measurements}
    row.facts = {"parameters": sum(p.numel() for p in network.parameters()), "work": f"{step / 1e12:.3g} TFLOP a step"}
    row.facts |= {f"rate of {name}": f"{step / value / 1e9:.0f} GFLOP/s" for name, value in medians.items()}
    still = "model.backbone.drop_path=0"  # its masks are drawn in another order
    plain, fast = (Steps([*narrow, still, f"compute={way}"], 8, min(clips, 4)) for way in ("plain", "fast"))
    difference = apart(replace(plain, double=True), replace(fast, double=True))
    row.facts["losses of fast and plain apart, float32"] = f"{apart(plain, fast):.1e}"
    row.facts["plain apart from plain on frames with noise of 1e-7, float32"] = (
        f"{apart(plain, replace(plain, noise=1e-7)):.1e}"
    )
    if torch.cuda.is_available():
        best = min(medians, key=lambda name: medians[name])
        seconds = folds() * STEPS * medians[best]
        row.goals = [
            Goal(f"{best} against plain float32", medians["plain"] / medians[best], 5.0),
            Goal(f"{folds()} folds of {STEPS} steps, computed from the step", seconds / 60, 30.0, False, "min"),
        ]
    else:
        row.goals = [
            Goal("fast against plain", medians["plain"] / medians["fast"], 1.5),
            Goal("peak of low_memory in that of plain", peaks["low_memory"] / peaks["plain"], 0.5, False),
        ]
    row.goals.append(Goal("losses of fast and plain apart, double, ten steps", difference, 1e-4, False, ""))
    finish(row, options)


if __name__ == "__main__":
    main()

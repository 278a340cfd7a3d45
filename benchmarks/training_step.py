"""One training step of the released architecture: `python benchmarks/training_step.py [--json file]`.

85.3 M parameters, 36 clips of 8 grey frames of 64×64, Adam; the clips are smooth random images that drift. The
reference is `compute=plain`: one pass of the backbone per frame, float32, standard layout, eager. The sides alternate,
each in its own processes, whose peak memory is reported. Losses and gradients of fewer clips are compared at each of
ten steps from the same weights; independent trainings diverge quickly, because Adam turns differences in the last bits
into whole steps. For scale, the reference is also compared with itself on frames with noise of 1e-7, which shows how
precise the gradients of this network are in float32.

If there is a GPU, the sides run on it, and the time of a complete LOSO on CASME II and SAMM at the released settings is
extrapolated from the step.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from _measuring import Goal, Measurement, Row, finish, in_child, options_of
from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build, build_model, settings
from fdp_lightning.models.fdp.network import FDP
from fdp_lightning.models.recognizer import Clips
from fdp_lightning.training.compute import Compute
from fdp_lightning.training.optimizer import OptimizerSettings

BATCH = 36
STEPS = 500
"""Training steps per fold at the released settings."""

NARROW = (
    "model.backbone.stem_widths=[8,8,8,64]",
    "model.backbone.stages=[{n_local: 1, width: 64, stride: 1}, {n_local: 1, width: 64}]",
    "model/dic_head=unet",
)


@dataclass(frozen=True)
class Steps:
    """Steps of one side, as plain data that can be passed to a process.

    Attributes:
        overrides: overrides of the configuration.
        count: number of measured steps, after two of warm-up.
        clips: clips per step.
        bf16: use mixed precision.
        noise: standard deviation of noise added to the frames.
    """

    overrides: Sequence[str]
    count: int = 2
    clips: int = BATCH
    bf16: bool = False
    noise: float = 0.0


def network_of(overrides: Sequence[str]) -> tuple[FDP, Any, Any]:
    """Return the released network, objective and configuration; the weights do not depend on `compute`."""
    torch.manual_seed(0)
    config = configuration("+experiment=synthetic_released", *overrides)
    return build_model(config, 5).train(), build(config.model.objective), config


def run(steps: Steps) -> dict[str, Any]:
    """Return seconds of the measured steps, losses of all steps including the two of warm-up, and GPU memory."""
    network, objective, config = network_of(steps.overrides)
    compute: Compute = settings(Compute, config.compute)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compute.set_process(on_gpu=device.type == "cuda")
    network, objective = network.to(device), objective.to(device)
    compute.prepare(network)
    optimizer_settings: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
    optimizer = optimizer_settings.build(network, STEPS, fused=compute.fused_optimizer)["optimizer"]
    clips = drifting_clips(steps.clips, steps.noise, device)
    seconds, losses = [], []
    for _ in range(2 + steps.count):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16) if steps.bf16 else nullcontext():
            total = objective(network(clips.frames), clips).total
        total.backward()
        optimizer.step()
        losses.append(total.item())  # waits for the GPU
        seconds.append(time.perf_counter() - start)
    held = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else None
    return {"seconds": seconds[2:], "losses": losses, "gpu_mb": held}


def sides(narrow: Sequence[str], clips: int) -> dict[str, Steps]:
    """Return the sides to measure, by name."""
    on_gpu = torch.cuda.is_available()
    plain = Steps([*narrow, "compute=plain"], 30 if on_gpu else 2, clips)
    fast = replace(plain, overrides=[*narrow, "compute=fast"])
    if not on_gpu:
        low = replace(plain, overrides=[*narrow, "compute=low_memory"], count=1)
        return {"plain": plain, "fast": fast, "low_memory": low, "fast, bf16-mixed": replace(fast, bf16=True)}
    compiled = {way: replace(plain, overrides=[*narrow, f"compute={way}"]) for way in ("compiled", "cuda_graphs")}
    mixed = {f"{name}, bf16-mixed": replace(one, bf16=True) for name, one in ({"fast": fast} | compiled).items()}
    return {"plain": plain, "fast": fast, **mixed}


def measure(todo: dict[str, Steps], rounds: int) -> list[Measurement]:
    """Measure all sides in turn, each time in a new process."""
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    peaks = dict.fromkeys(todo, 0.0)
    for _ in range(rounds):
        for name, steps in todo.items():
            child = in_child(run, steps)
            seconds[name] += child.result["seconds"]
            peaks[name] = max(peaks[name], child.result["gpu_mb"] or child.peak_mb)
    return [Measurement(name, values, "s", peaks[name]) for name, values in seconds.items()]


def step_by_step(plain: Steps, others: Sequence[Steps], steps: int = 10) -> list[tuple[float, float]]:
    """Return the largest relative differences of losses and gradients from the reference, along its training."""
    networks = []
    for side in (plain, *others):
        network, objective, config = network_of(side.overrides)
        settings(Compute, config.compute).prepare(network)
        networks.append((network, drifting_clips(side.clips, side.noise)))
    first = networks[0][0]
    optimizer = settings(OptimizerSettings, config.model.optimizer).build(first, STEPS)["optimizer"]
    most = [(0.0, 0.0)] * len(others)
    for _ in range(steps):
        state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
        found = []
        for network, clips in networks:
            network.load_state_dict(state)
            total = objective(network(clips.frames), clips).total
            gradients = torch.autograd.grad(total, [*network.parameters()])
            found.append((total.detach(), torch.cat([gradient.flatten() for gradient in gradients])))
        loss, gradient = found[0]
        for i, (other_loss, other) in enumerate(found[1:]):
            away = float((other_loss - loss).abs() / loss), float((other - gradient).norm() / gradient.norm())
            most[i] = (max(most[i][0], away[0]), max(most[i][1], away[1]))
        torch.nn.utils.vector_to_parameters(gradient, [_grad_of(p) for p in first.parameters()])
        optimizer.step()
    return most


def _grad_of(parameter: torch.nn.Parameter) -> torch.Tensor:
    parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return parameter.grad


def drifting_clips(clips: int, noise: float = 0.0, device: torch.device | None = None) -> Clips:
    """Return clips of smooth random images that drift by less than a pixel per frame, with a little sensor noise."""
    draw = torch.Generator().manual_seed(1)
    large = F.interpolate(torch.rand(clips, 1, 6, 6, generator=draw), (72, 72), mode="bicubic").clamp(0, 1)
    drifting = [large[:, :, t // 2 : t // 2 + 64, t // 3 : t // 3 + 64] for t in range(8)]
    frames = torch.stack(drifting, dim=1) + 0.01 * torch.randn(clips, 8, 1, 64, 64, generator=draw)
    target = torch.randint(0, 5, (clips,), generator=draw)
    return Clips((frames + noise * torch.randn(frames.shape, generator=draw)).to(device), target.to(device))


def apart(one: Steps, other: Steps) -> str:
    """Return the largest relative difference between the losses of two trainings over ten steps."""
    first, second = (torch.tensor(in_child(run, steps).result["losses"]) for steps in (one, other))
    return f"{float(((first - second).abs() / first.abs()).max()):.1e}"


def folds() -> int:
    """Return the number of folds of CASME II and SAMM in five classes."""
    protocols = (configuration(f"+experiment={name}_loso").protocol for name in ("casme2", "samm"))
    return sum(protocol.expected.subjects for protocol in protocols)


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=2)
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
    row.facts = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "work": f"{step / 1e12:.3g} TFLOP/step",
    }
    row.facts |= {f"rate of {name}": f"{step / value / 1e9:.0f} GFLOP/s" for name, value in medians.items()}
    still = "model.backbone.drop_path=0"  # its random masks would be drawn in another order
    plain, fast = (Steps([*narrow, still, f"compute={way}"], 8, min(clips, 12)) for way in ("plain", "fast"))
    noisy = replace(plain, noise=1e-7)
    (losses, gradients), (losses_of_noise, of_noise) = step_by_step(plain, [fast, noisy])
    row.facts["gradient differences, ten steps from equal weights"] = f"fast {gradients:.1e}, noise {of_noise:.1e}"
    row.facts["loss differences, likewise"] = f"fast {losses:.1e}, noise {losses_of_noise:.1e}"
    row.facts["loss differences, ten independent steps"] = f"fast {apart(plain, fast)}, noise {apart(plain, noisy)}"
    if torch.cuda.is_available():
        best = min(medians, key=lambda name: medians[name])
        seconds = folds() * STEPS * medians[best]
        row.goals = [
            Goal(f"step, plain float32 / {best}", medians["plain"] / medians[best], 5.0),
            Goal(f"{folds()} folds of {STEPS} steps, extrapolated from the step", seconds / 60, 30.0, False, "min"),
        ]
    else:
        row.goals = [
            Goal("step, plain / fast", medians["plain"] / medians["fast"], 1.5),
            Goal("peak memory, low_memory / plain", peaks["low_memory"] / peaks["plain"], 0.5, False),
        ]
    row.goals.append(Goal("loss difference, fast and plain, ten steps from equal weights", losses, 1e-4, False, ""))
    finish(row, options)


if __name__ == "__main__":
    main()

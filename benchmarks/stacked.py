"""Folds trained as one stack against one after the other: `python benchmarks/stacked.py [--json file] [--device cuda]`.

One optimizer step of n networks on batches of their own (random pictures, `model=fdp_tiny`): n steps one after the
other, as each fold's own process takes them, and one step of the stack (`loso.engine=stacked`). Both sides do the same
in this one process: losses, gradients, clipping by norm, AdamW. Seconds are per fold and step; the sides take turns.

A stack saves what an operation costs whatever its size: Python, dispatch, the launch of a kernel. What there is of it
is measured too, as the part of a step that does not shrink with the batch: no stack can save more than that.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from torch import Tensor

from fdp_lightning.config import configuration
from fdp_lightning.files import write_atomic
from fdp_lightning.tasks.build import build, build_model, settings
from fdp_lightning.tasks.environment import environment
from fdp_lightning.training.module import FDPModule, clips_of
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.stack import Clipping, Stack

CLASSES, LIMIT, STEPS = 5, 1.0, 10_000
FEW = 4
"""Clips of the small batch: with the full one it tells what does not depend on the clips."""

Step = Callable[[], None]


class Bench:
    """Both sides for one number of folds."""

    def __init__(self, options: argparse.Namespace, folds: int, clips: int) -> None:
        config = configuration("+experiment=synthetic_loso", f"model={options.model}")
        self._device = torch.device(options.device)
        mixed = options.precision == "bf16-mixed"
        self._precision: Precision = MixedPrecision("bf16-mixed", options.device) if mixed else Precision()
        optimizer: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
        self.modules = []
        for number in range(folds):
            torch.manual_seed(number)
            objective = build(config.model.objective, class_counts=[5] * CLASSES, train_clips=25)
            module = FDPModule(build_model(config, CLASSES), objective, optimizer).to(self._device).train()
            for parameter in module.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)  # as train_fold does
            self.modules.append(module)
        t, side = config.data.sampling.frames, config.data.faces.size
        self.batch = {
            "frames": torch.rand(folds, clips, t, 1, side, side),
            "frame_number": torch.arange(float(t)).repeat(folds, clips, 1),
            "apex": torch.full((folds, clips), 4.0),
            "target": torch.randint(0, CLASSES, (folds, clips)),
        }
        self.batch = {name: tensor.to(self._device) for name, tensor in self.batch.items()}
        self._stack = Stack(self.modules, STEPS, Clipping(LIMIT), self._precision)
        self._generators = [torch.Generator(self._device).manual_seed(n) for n in range(folds)]
        self._built = [module.optimizer_settings.build(module.model, STEPS) for module in self.modules]

    def one_by_one(self) -> None:
        """A step of each network, one after the other."""
        for number, (module, built) in enumerate(zip(self.modules, self._built, strict=True)):
            built["optimizer"].zero_grad()
            batch: dict[str, Tensor] = {name: tensor[number] for name, tensor in self.batch.items()}
            with self._precision.forward_context():
                losses, _, _ = module.evaluate(clips_of(batch))
            losses.total.backward()
            torch.nn.utils.clip_grad_norm_(module.model.parameters(), LIMIT)
            built["optimizer"].step()
            built["lr_scheduler"]["scheduler"].step()

    def stacked(self) -> None:
        """The same step of all at once."""
        self._stack.step(self.batch, self._generators)

    def seconds(self, sides: Sequence[Step], repeats: int) -> list[list[float]]:
        """Of each side, after a step of each to warm up, taking turns."""
        measured: list[list[float]] = [[] for _ in sides]
        for turn in range(repeats + 1):
            for side, of_side in zip(sides, measured, strict=True):
                self._wait()
                start = time.perf_counter()
                side()
                self._wait()
                if turn:
                    of_side.append(time.perf_counter() - start)
        return measured

    def peak(self, side: Step) -> int | None:
        """Bytes of the GPU that a step takes at most; None on the CPU."""
        if self._device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats()
        side()
        return int(torch.cuda.max_memory_allocated())

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def measure(options: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    """A row for each number of folds."""
    torch.set_num_threads(threads)
    small, full = Bench(options, 1, FEW), Bench(options, 1, options.clips)
    few, many = (
        statistics.median(bench.seconds([bench.one_by_one], 2 * options.repeats)[0]) for bench in (small, full)
    )
    fixed = few - FEW * (many - few) / (options.clips - FEW)
    share = min(0.99, max(0.0, fixed / many))  # on a busy machine the difference of two times may be anything
    rows = []
    for folds in options.folds:
        bench = Bench(options, folds, options.clips)
        alone, together = bench.seconds([bench.one_by_one, bench.stacked], options.repeats)
        row = {
            "threads": threads,
            "folds": folds,
            "one_by_one": [second / folds for second in alone],
            "stacked": [second / folds for second in together],
            "ratio": statistics.median(alone) / statistics.median(together),
            "fixed_share": share,
            "peak": [bench.peak(bench.one_by_one), bench.peak(bench.stacked)],
        }
        rows.append(row)
        print(
            f"{threads:7d} {folds:5d} {_spread(row['one_by_one'])} {_spread(row['stacked'])} {row['ratio']:6.2f} "
            f"{1 / (1 - share):8.2f}",
            flush=True,
        )
    return rows


def profile(options: argparse.Namespace) -> None:
    """The dearest operations of both sides."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    bench = Bench(options, max(options.folds), options.clips)
    cuda = options.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    for side in (bench.one_by_one, bench.stacked):
        side()
        with profiler(activities=activities) as seen:
            side()
        order = f"self_{options.device}_time_total"
        print(f"\n{side.__name__}, {max(options.folds)} folds")
        print(seen.key_averages().table(sort_by=order, row_limit=12, max_name_column_width=45))


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):8.4f} ({min(seconds):.4f}-{max(seconds):.4f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--model", default="fdp_tiny")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 5, 10, 12])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--clips", type=int, default=36, help="of each batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="the dearest operations of both sides, and no times")
    options = parser.parse_args()
    if options.profile:
        torch.set_num_threads(options.threads[0])
        profile(options)
        return
    print(
        f"{options.model}, {options.clips} clips a batch, {options.device}, {options.precision}; seconds per fold-step"
    )
    print("threads folds               one by one                  stacked  ratio  at most")
    rows = [row for threads in options.threads for row in measure(options, threads)]
    facts = environment()
    print(", ".join(f"{key} {facts[key]}" for key in ("processor", "cores", "torch", "git_revision")))
    if options.json:
        write_atomic(options.json, json.dumps({"rows": rows, "environment": facts}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Folds trained as one stack against one after the other: `python benchmarks/stacked.py [--json file]`.

One optimizer step of n networks on batches of their own (random pictures, `model=fdp_tiny`): n steps one after the
other, as each fold's own process takes them, and one step of the stack (`loso.engine=stacked`). Both sides do the same
in this one process: losses, gradients, clipping by norm, AdamW. Seconds are per fold and step; the sides take turns.

A stack saves what an operation costs whatever its size: Python, dispatch, the launch of a kernel. What there is of it
is measured too, as the part of a step that does not shrink with the batch: no stack can save more than that. On the
CPU each fold has one thread, as in a run; with a GPU both sides run there, in float32 and in bf16-mixed.
"""

import statistics
from collections.abc import Callable
from functools import partial

import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from torch import Tensor

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build, build_model, settings
from fdp_lightning.measuring import Goal, Measurement, Row, alternate, finish, options_of
from fdp_lightning.training.compute import Compute
from fdp_lightning.training.module import RecognitionModule, clips_of
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.stack import Clipping, Stack

CLASSES, LIMIT, STEPS, CLIPS = 5, 1.0, 10_000, 36
FOLDS = (1, 2, 5, 10, 12)
FEW = 4
"""Clips of the small batch: with the full one it tells what does not depend on the clips."""


class Bench:
    """Both sides for one number of folds."""

    def __init__(self, folds: int, clips: int, device: torch.device, mixed: bool = False) -> None:
        config = configuration("+experiment=synthetic_loso")
        self._device = device
        self._precision: Precision = MixedPrecision("bf16-mixed", device.type) if mixed else Precision()
        optimizer: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
        compute: Compute = settings(Compute, config.compute)
        compute.set_process(on_gpu=device.type == "cuda")
        self.modules = []
        for number in range(folds):
            torch.manual_seed(number)
            objective = build(config.model.objective, class_counts=[5] * CLASSES, train_clips=25)
            module = RecognitionModule(build_model(config, CLASSES), objective, optimizer, compute=compute)
            self.modules.append(module.to(device).train())
        t, side = config.data.sampling.frames, config.data.faces.size
        self.batch = {
            "frames": torch.rand(folds, clips, t, 1, side, side),
            "frame_number": torch.arange(float(t)).repeat(folds, clips, 1),
            "apex": torch.full((folds, clips), 4.0),
            "target": torch.randint(0, CLASSES, (folds, clips)),
        }
        self.batch = {name: tensor.to(device) for name, tensor in self.batch.items()}
        self._stack = Stack(self.modules, STEPS, Clipping(LIMIT), self._precision)
        self._generators = [torch.Generator(device).manual_seed(n) for n in range(folds)]
        self._built = [
            module.optimizer_settings.build(module.model, STEPS, fused=compute.fused_optimizer)
            for module in self.modules
        ]

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
        self._wait()

    def stacked(self) -> None:
        """The same step of all at once."""
        self._stack.step(self.batch, self._generators)
        self._wait()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def fixed_share(bench: Callable[..., Bench], repeats: int) -> float:
    """The part of a step that does not depend on the clips; on a busy machine it may come out as anything."""
    sides = {"few": bench(1, FEW).one_by_one, "many": bench(1, CLIPS).one_by_one}
    few, many = (statistics.median(seconds) for seconds in alternate(sides, 2 * repeats, 2).values())
    return min(0.99, max(0.0, (few - FEW * (many - few) / (CLIPS - FEW)) / many))


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=5)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    row = Row("stacked", f"seconds per fold and step of fdp_tiny, {CLIPS} clips a batch, on the {device.type}")
    clips, folds = (CLIPS, FOLDS) if not options.quick else (FEW, (2,))
    for mixed in (False, True) if device.type == "cuda" else (False,):
        bench = partial(Bench, device=device, mixed=mixed)
        precision = "bf16-mixed" if mixed else "float32"
        if not options.quick:
            most = 1 / (1 - fixed_share(bench, options.repeats))
            row.facts[f"at most, {precision}"] = f"{most:.2f} × by what a step costs whatever its clips"
        for n in folds:
            both = bench(n, clips)
            seconds = alternate({"one by one": both.one_by_one, "stacked": both.stacked}, options.repeats)
            of_fold = {name: [value / n for value in values] for name, values in seconds.items()}
            row.measurements += [Measurement(f"{n:2d} folds, {precision}, {name}", v) for name, v in of_fold.items()]
            ratio = statistics.median(seconds["one by one"]) / statistics.median(seconds["stacked"])
            if n >= 10 or options.quick:
                row.goals.append(Goal(f"{n} folds stacked against one by one, {precision}", ratio, 2.0))
    finish(row, options)


if __name__ == "__main__":
    main()

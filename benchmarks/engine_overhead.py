"""Overhead of the engine over training: `python benchmarks/engine_overhead.py [--json file] [--repeats n] [--quick]`.

A composite of 68 pseudo-subjects in the layouts of CASME II (40) and SAMM (28) is generated once. Some folds are
trained by a plain loop in this process, with the same clips, network, losses and optimizer, on one thread. Between the
two halves of these folds, the command line runs all 68 folds, one at a time: start, checks, a process per fold,
evaluation after each epoch for the curves and the selections, checkpoints to resume from, files, pooling and report.
The overhead per fold is the difference. The data and its store remain in data/engine_overhead for the next run.
"""

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openpyxl import Workbook

from _measuring import Goal, Measurement, Row, finish, options_of
from fdp_lightning.config import configuration
from fdp_lightning.data.synthetic import SyntheticFaces

SUBJECTS = {"casme2": 40, "samm": 28}
QUICK_SUBJECTS = {"casme2": 2, "samm": 2}
EPOCHS = 2
PLAIN_FOLDS = 6
GOAL_S = 0.5


def draw(root: Path, subjects: dict[str, int]) -> None:
    """Write the composite unless it exists."""
    if (root / "whole").is_file():
        return
    shutil.rmtree(root, ignore_errors=True)
    size: dict[str, Any] = {"clips_per_emotion": 1, "min_frames": 10, "max_frames": 12, "height": 180, "width": 240}
    for seed, (layout, number) in enumerate(subjects.items()):  # different faces in each, or clips would be near copies
        SyntheticFaces(subjects=number, layout=layout, seed=seed, **size).write(root / layout)
    book = Workbook()
    book.active.append(["Subject", "Filename", "Objective Class"])
    for number, folder in enumerate(sorted((root / "casme2" / "CASME2_RAW_selected").glob("sub*/*"))):
        book.active.append([folder.parent.name[3:], folder.name, number % 5 + 1])
    book.save(root / "casme2" / "CASME2-ObjectiveClasses.xlsx")
    (root / "whole").touch()


def plain_seconds(overrides: Sequence[str], places: Sequence[int]) -> list[float]:
    """Return the seconds that a plain loop takes to train each of the folds at these indices, after a warm-up fold."""
    import torch

    from fdp_lightning.engine.dataset import ready_data
    from fdp_lightning.engine.plan import plan_fold
    from fdp_lightning.engine.train_fold import data_of, module_of
    from fdp_lightning.instantiate import settings
    from fdp_lightning.seeds import derived_seed
    from fdp_lightning.training.compute import Compute
    from fdp_lightning.training.module import clips_of

    config = configuration(*overrides)
    torch.set_num_threads(config.loso.cpu_threads)
    torch.use_deterministic_algorithms(config.trainer.deterministic)  # as configured for training
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    compute: Compute = settings(Compute, config.compute)
    compute.set_process(on_gpu=False)
    data = ready_data(config)
    splits = data.folds()
    seconds = []
    for split in [splits[0], *(splits[place] for place in places)]:
        plan = plan_fold(config, data, split, Path("nowhere"))
        clips = data_of(plan, config, derived_seed(config.seed, split.name))
        module = module_of(plan, config, clips).train()
        steps = len(clips.train_dataloader()) * config.trainer.max_epochs
        built = module.optimizer_settings.build(module.model, steps, fused=compute.fused_optimizer)
        optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
        start = time.perf_counter()
        for _ in range(config.trainer.max_epochs):
            for batch in clips.train_dataloader():
                optimizer.zero_grad()
                losses, _, _ = module.evaluate(clips_of(batch))
                losses.total.backward()
                torch.nn.utils.clip_grad_norm_(module.parameters(), config.trainer.gradient_clip_val)
                optimizer.step()
                schedule.step()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def engine(overrides: Sequence[str], run: Path, folds: int) -> tuple[float, float, list[dict[str, Any]]]:
    """Return the wall time of the whole command, the total time of its folds, and the record of each fold."""
    shutil.rmtree(run, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fdp_lightning", *overrides, f"run={run}", "loso.workers=1"], check=True)
    wall = time.perf_counter() - start
    facts = [json.loads(path.read_text()) for path in sorted((run / "folds").glob("*/fold.json"))]
    assert len(facts) == folds, f"{len(facts)} of {folds} folds"
    return wall, json.loads((run / "environment.json").read_text())["seconds"], facts


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=1)
    subjects = QUICK_SUBJECTS if options.quick else SUBJECTS
    epochs = 1 if options.quick else EPOCHS
    n = sum(subjects.values())
    places = range(0, n, -(-n // PLAIN_FOLDS))
    title = f"{n} folds, {epochs} epochs each, fdp_tiny, one fold at a time, one thread; seconds per fold"
    row = Row("engine_overhead", title)
    with contextlib.ExitStack() as kept:
        folder = Path("data/engine_overhead").absolute()
        if options.quick:
            folder = Path(kept.enter_context(TemporaryDirectory()))
        draw(folder / "composite", subjects)
        overrides = [
            "+experiment=megc2018",
            "model=fdp_tiny",
            "trainer=cpu",
            f"data.root={folder}/composite",
            f"data.store={folder}/stores",
        ]
        overrides += ["protocol.strict=false", "data.faces.method=none", f"trainer.max_epochs={epochs}"]
        subprocess.run([sys.executable, "-m", "fdp_lightning", *overrides, "task=prepare"], check=True)
        plain, runs = [], []
        for _ in range(1 if options.quick else options.repeats):
            plain += plain_seconds(overrides, places[::2])
            runs.append(engine(overrides, folder / "run", n))
            plain += plain_seconds(overrides, places[1::2])
    own = [fold for _, _, facts in runs for fold in facts]
    row.measurements = [
        Measurement("plain training loop", plain),
        Measurement("engine, whole command", [wall / n for wall, _, _ in runs]),
        Measurement("engine, folds only", [folds / n for _, folds, _ in runs]),
        Measurement("process of a fold, total", [fold["seconds"] for fold in own]),
        Measurement("process of a fold, Trainer.fit", [fold["training_seconds"] for fold in own]),
    ]
    overhead = row.measurements[1].median - statistics.median(plain)
    row.goals = [Goal("overhead per fold, whole command", overhead, GOAL_S, at_least=False, unit="s")]
    finish(row, options)


if __name__ == "__main__":
    main()

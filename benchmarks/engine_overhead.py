"""What the engine costs beyond training: `python benchmarks/engine_overhead.py [--json file] [--epochs n]`.

A composite of 68 pseudo-subjects in the layouts of CASME II (40) and SAMM (28) is drawn once. Some folds are trained by
a plain loop, in this process and with nothing around it: same clips, network, losses, optimizer, one thread. Then the
command line runs all 68 folds, one at a time: start, checks, a process per fold, evaluation after each epoch for the
curves and the selections, checkpoints to resume from, files, pooling and report. Overhead per fold is the difference.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from openpyxl import Workbook

from fdp_lightning.config import configuration
from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.files import write_atomic
from fdp_lightning.tasks.environment import environment

SUBJECTS = {"casme2": 40, "samm": 28}
PLAIN_FOLDS = 6
GOAL_S = 0.5


def draw(root: Path) -> None:
    """Write the composite, unless it is there."""
    if (root / "whole").is_file():
        return
    shutil.rmtree(root, ignore_errors=True)
    size: dict[str, Any] = {"clips_per_emotion": 1, "min_frames": 10, "max_frames": 12, "height": 180, "width": 240}
    for layout, subjects in SUBJECTS.items():
        SyntheticFaces(subjects=subjects, layout=layout, **size).write(root / layout)
    book = Workbook()
    book.active.append(["Subject", "Filename", "Objective Class"])
    for number, folder in enumerate(sorted((root / "casme2" / "CASME2_RAW_selected").glob("sub*/*"))):
        book.active.append([folder.parent.name[3:], folder.name, number % 5 + 1])
    book.save(root / "casme2" / "CASME2-ObjectiveClasses.xlsx")
    (root / "whole").touch()


def plain_seconds(overrides: list[str]) -> list[float]:
    """Seconds of training of some folds, spread over all, by a loop with nothing around it."""
    import torch

    from fdp_lightning.seeds import derived_seed
    from fdp_lightning.tasks.dataset import ready_data
    from fdp_lightning.tasks.fold import plan_fold
    from fdp_lightning.tasks.train_fold import data_of, module_of
    from fdp_lightning.training.module import clips_of

    config = configuration(*overrides)
    torch.set_num_threads(config.loso.cpu_threads)
    torch.use_deterministic_algorithms(config.trainer.deterministic)  # part of the training, as it is configured
    torch.utils.deterministic.fill_uninitialized_memory = False
    data = ready_data(config)
    splits = data.folds()
    seconds = []
    for split in [splits[0], *splits[:: len(splits) // PLAIN_FOLDS]]:  # the first one warms up
        plan = plan_fold(config, data, split, Path("nowhere"))
        clips = data_of(plan, config, derived_seed(config.seed, split.name))
        module = module_of(plan, config, clips).train()
        loaders = [list(clips.train_dataloader().batch_sampler) for _ in range(config.trainer.max_epochs)]
        built = module.optimizer_settings.build(module.model, sum(map(len, loaders)))
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


def engine(overrides: list[str], folder: Path) -> dict[str, float]:
    """Wall time of the whole command, and what its folds say of theirs."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fdp_lightning", *overrides, "loso.workers=1"], check=True)
    wall = time.perf_counter() - start
    facts = [json.loads(path.read_text()) for path in sorted((folder / "run/folds").glob("*/fold.json"))]
    assert len(facts) == sum(SUBJECTS.values())
    return {
        "wall": wall,
        "folds": json.loads((folder / "run/environment.json").read_text())["seconds"],
        "fold": statistics.median(fact["seconds"] for fact in facts),
        "fit": statistics.median(fact["training_seconds"] for fact in facts),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    parser.add_argument("--folder", type=Path, default=Path("data/engine_overhead"), help="for data, store and run")
    parser.add_argument("--epochs", type=int, default=2, help="of each fold; the overhead hardly depends on them")
    options = parser.parse_args()
    folder = options.folder.absolute()
    draw(folder / "composite")
    overrides = ["+experiment=megc2018", f"data.root={folder}/composite", f"data.store={folder}/stores"]
    overrides += ["protocol.strict=false", "data.faces.method=none", f"trainer.max_epochs={options.epochs}"]
    overrides.append(f"run={folder}/run")
    subprocess.run([sys.executable, "-m", "fdp_lightning", *overrides, "task=prepare"], check=True)
    plain = plain_seconds(overrides)
    measured = engine(overrides, folder)
    folds = sum(SUBJECTS.values())
    training = statistics.median(plain)
    rows = {
        "plain training loop, per fold": training,
        f"  its spread ({min(plain):.2f} to {max(plain):.2f})": max(plain) - min(plain),
        "engine, folds of the run, per fold": measured["folds"] / folds,
        "engine, whole command, per fold": measured["wall"] / folds,
        "a fold's own process: all it does": measured["fold"],
        "a fold's own process: Trainer.fit": measured["fit"],
        f"overhead per fold, whole command (goal {GOAL_S})": measured["wall"] / folds - training,
    }
    facts = {**environment(), "cpu_affinity": str(len(os.sched_getaffinity(0)))}
    print(f"\n{folds} folds, {options.epochs} epochs each, fdp_tiny, one fold at a time, one thread")
    for name, seconds in rows.items():
        print(f"{name:58s} {seconds:8.2f} s")
    print(", ".join(f"{key} {facts[key]}" for key in ("processor", "cores", "torch", "lightning", "git_revision")))
    if options.json:
        write_atomic(options.json, json.dumps({"seconds": rows, "plain": plain, "environment": facts}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Speed of loading clips: `python benchmarks/loading.py [--json file] [--repeats n] [--quick]`.

Clips per second in one training epoch (8 frames of 64×64 per clip, augmented, batches of 36) with 0, 1 and 2 loader
workers, compared with the training step of fdp_tiny on such a batch: a loader that is much faster is not a bottleneck.
The reference loads clip by clip and lets PyTorch collate; its batches are bit-identical. An epoch with workers includes
their start, as in training.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from _measuring import Goal, Measurement, Row, alternate, finish, in_child, options_of
from fdp_lightning.config import configuration
from fdp_lightning.data.loading.batches import EpochBatches
from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule, read_frames
from fdp_lightning.data.store.clip_store import open_store
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.plan import FoldPlan, plan_fold
from fdp_lightning.engine.train_fold import data_of, module_of
from fdp_lightning.seeds import derived_seed
from fdp_lightning.training.module import RecognitionModule, clips_of

GOAL = 3.0
BATCH = 36
SETTINGS = ["data.generate.height=120", "data.generate.width=160", "data.faces.method=none", "protocol.strict=false"]
QUICK = ["data.generate.subjects=3", "data.generate.clips_per_emotion=1"]
PLAIN = "reference: clip by clip"


class PlainClips(Dataset[dict[str, Tensor]]):
    """The clips of a dataset, one at a time."""

    def __init__(self, clips: ClipDataset) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self._clips[index]


def plan_of(folder: str, quick: bool, model: str) -> tuple[FoldPlan, Any]:
    """Return the first fold of the synthetic clips, which are generated and stored once, and the configuration."""
    overrides = [f"model={model}", f"data.root={folder}/synthetic", f"data.store={folder}/stores", *SETTINGS]
    config = configuration(*overrides, *(QUICK if quick else []), f"data.batch_size={4 if quick else BATCH}")
    data = ready_data(config)
    return plan_fold(config, data, data.folds()[0], Path("nowhere")), config


def clips_and_network(plan: FoldPlan, config: Any) -> tuple[FoldDataModule, RecognitionModule]:
    """Return clips and network of the fold, with the process set up as for a fold."""
    torch.set_num_threads(config.loso.cpu_threads)
    cv2.setNumThreads(0)
    seed = derived_seed(config.seed, plan.fold.name)
    L.seed_everything(seed, verbose=False)
    clips = data_of(plan, config, seed)
    return clips, module_of(plan, config, clips)


def training_steps(clips: FoldDataModule, module: RecognitionModule) -> Any:
    """Return a function that takes one training step, on the same batch each time."""
    batch = clips_of(next(iter(clips.train_dataloader())))
    built = module.optimizer_settings.build(module.model, 1000)
    optimizer: torch.optim.Optimizer = built["optimizer"]
    module.train()

    def step() -> None:
        optimizer.zero_grad()
        losses, _, _ = module.evaluate(batch)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return step


def epoch_of(loader: Any) -> None:
    """Load all batches of an epoch."""
    for _ in loader:
        pass


def stages(clips: FoldDataModule, store: Path) -> dict[str, str]:
    """Return the median microseconds per clip of each stage of loading."""
    train, opened = clips.train_set, open_store(store, verify=False)
    augmentation, frames = train.augmentation, train.sampled_frames
    assert augmentation is not None
    rows = range(len(train))
    places = [np.linspace(0, opened.length(row) - 1, 8).round().astype(int) for row in rows]
    whole = frames[:BATCH]
    done = {
        "read from the store": lambda i: read_frames(opened, i, places[i]),
        "augmented": lambda i: augmentation(frames[i], i),
    }
    facts = {}
    for name, work in done.items():
        seconds = []
        for i in rows:
            start = time.perf_counter()
            work(i)
            seconds.append(time.perf_counter() - start)
        facts[name] = f"{1e6 * float(np.median(seconds)):.0f} µs per clip"
    to_values = alternate({"values": lambda: torch.from_numpy(whole).unsqueeze(-3).float().div_(255)}, 20, 3)["values"]
    facts["to float values"] = f"{1e6 * float(np.median(to_values)) / len(whole):.0f} µs per clip"
    return facts


def own_process(folder: str, quick: bool) -> None:
    """Load an epoch, to measure the memory of a process that does; the clips of a fold stay in memory."""
    clips, _ = clips_and_network(*plan_of(folder, quick, "fdp_tiny"))
    epoch_of(clips.train_dataloader())


def loaders(clips: FoldDataModule) -> dict[str, Any]:
    """Return functions that load an epoch, by name."""

    def ours(workers: int) -> None:
        clips.workers = workers
        epoch_of(clips.train_dataloader())

    def plain() -> None:
        batches = EpochBatches(len(clips.train_set), clips.batch_size, clips.seed * 100_003)
        epoch_of(DataLoader(PlainClips(clips.train_set), batch_sampler=batches))

    named = {f"loader, workers {n}": (lambda n=n: ours(n)) for n in (0, 1, 2)}
    return {PLAIN: plain, **named}


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=9)
    repeats = 1 if options.quick else options.repeats
    row = Row("loading", "an epoch of augmented clips, 8 × 64×64, batches of 36, and the training step on one thread")
    with TemporaryDirectory(prefix="loading-") as folder:
        plan, config = plan_of(folder, options.quick, "fdp_tiny")
        clips, module = clips_and_network(plan, config)
        row.facts = {"clips of an epoch": len(clips.train_set), **stages(clips, plan.store)}
        sides = {"training step, fdp_tiny": training_steps(clips, module), **loaders(clips)}
        seconds = alternate(sides, repeats)
        loaded = len(clips.epoch_batches(0)) * min(clips.batch_size, len(clips.train_set))
        counts = {name: loaded if "step" not in name else clips.batch_size for name in sides}
        peak = in_child(own_process, folder, options.quick).peak_mb
    for name, values in seconds.items():
        rates = [counts[name] / value for value in values]
        held = peak if name == "loader, workers 0" else None
        row.measurements.append(Measurement(name, rates, "clips/s", held))
    rate = {one.name: one.median for one in row.measurements}
    step = rate["training step, fdp_tiny"]
    for n in (0, 1, 2):
        row.goals.append(Goal(f"loader / step of fdp_tiny, workers {n}", rate[f"loader, workers {n}"] / step, GOAL))
    row.facts["loader / reference, workers 0"] = f"{rate['loader, workers 0'] / rate[PLAIN]:.2f} ×"
    finish(row, options)


if __name__ == "__main__":
    main()

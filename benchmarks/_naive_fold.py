"""Naive training of one fold: `python benchmarks/_naive_fold.py <fold> <file.npz> [key=value …]`.

Not a benchmark: `loso.py` starts it once per fold. A process with its own imports trains the network as configured in
a plain loop, with PyTorch's default threads and algorithms, augments clip by clip, and predicts the held-out clips
after each epoch. It takes from the package only what both sides must share: clips, network, losses, optimizer, the
order of the clips and the seed of each epoch. With one thread and compute=plain it learns what the engine learns.
"""

import sys
from functools import partial
from itertools import islice
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.plugins.precision import Precision
from torch.utils.data import default_collate

from fdp_lightning.config import configuration
from fdp_lightning.data.loading.batches import EpochBatches
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.plan import Budget, plan_fold, steps_of_epoch
from fdp_lightning.engine.train_fold import data_of, module_of
from fdp_lightning.seeds import derived_seed
from fdp_lightning.training.batch_norm import BatchStatistics
from fdp_lightning.training.module import clips_of


def train(name: str, overrides: list[str]) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Train one fold.

    Returns:
        Probabilities (n, k) of the held-out clips after the last epoch, their classes (n,), mean loss of each epoch.
    """
    config = configuration(*overrides)
    data = ready_data(config)
    (split,) = (split for split in data.folds() if split.name == name)
    seed = derived_seed(config.seed, name)
    L.seed_everything(seed, verbose=False)
    plan = plan_fold(config, data, split, Path("nowhere"))
    clips = data_of(plan, config, seed)
    module = module_of(plan, config, clips)
    assert clips.train_set is not None and clips.test_set is not None
    held_out = default_collate([clips.test_set[i] for i in range(len(clips.test_set))])
    n, batch_size, budget = len(clips.train_set), config.data.batch_size, Budget.of(config.trainer)
    of_epoch = steps_of_epoch(n, batch_size)
    epochs = budget.epochs_of(of_epoch) or 1
    steps = min(epochs * of_epoch, budget.steps or epochs * of_epoch)
    choice = module.optimizer_settings
    batches = partial(clips.fixed_batches, choice.batch_norm_clips)
    statistics = None if choice.batch_norm == "running" else BatchStatistics(batches)
    built = module.optimizer_settings.build(module.model, steps)
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    of_epochs = []
    for epoch in range(epochs):
        L.seed_everything(derived_seed(seed, epoch, 0), verbose=False)
        clips.train_set.epoch = epoch
        order = EpochBatches(n, batch_size, seed * 100_003 + epoch)
        module.train()
        of_steps = []
        for indices in islice(order, steps - epoch * of_epoch):
            batch = default_collate([clips.train_set[i] for i in indices])
            optimizer.zero_grad()
            losses, _, _ = module.evaluate(clips_of(batch))
            losses.total.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), config.trainer.gradient_clip_val)
            optimizer.step()
            schedule.step()
            of_steps.append(losses.total.item())
        of_epochs.append(float(np.mean(of_steps)))
        if statistics:
            statistics.compute(module, Precision())
        module.eval()
        with torch.no_grad():
            probabilities = module.probabilities(module(held_out["frames"]).logits).numpy()
        right = (probabilities.argmax(axis=1) == held_out["target"].numpy()).mean()
        print(f"fold {name} epoch {epoch + 1} loss {of_epochs[-1]:.3f} held-out accuracy {right:.3f}")
    return probabilities, held_out["target"].numpy(), of_epochs


if __name__ == "__main__":
    probabilities, target, _ = train(sys.argv[1], sys.argv[3:])
    np.savez(sys.argv[2], probabilities=probabilities, target=target)

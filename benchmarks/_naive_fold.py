"""One fold the straightforward way: `python benchmarks/_naive_fold.py <fold> <file.npz> [key=value …]`.

Not a row: `loso.py` starts it once per fold. A process with its own imports trains the network as configured in a
plain loop, with PyTorch's default threads and algorithms, one augmented clip after the other, and predicts the held-out
clips after each epoch and at the end. Of the package it takes what both sides must have alike: clips, network, losses,
optimizer.
"""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from fdp_lightning.config import configuration
from fdp_lightning.seeds import derived_seed
from fdp_lightning.tasks.dataset import ready_data
from fdp_lightning.tasks.fold import plan_fold
from fdp_lightning.tasks.train_fold import data_of, module_of
from fdp_lightning.training.module import FDPModule, clips_of


def train(name: str, overrides: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Train one fold.

    Returns:
        Probabilities of its held-out clips (n, k) after the last epoch, and their classes (n,).
    """
    config = configuration(*overrides)
    data = ready_data(config)
    (split,) = (split for split in data.folds() if split.name == name)
    seed = derived_seed(config.seed, name)
    L.seed_everything(seed, verbose=False)
    plan = plan_fold(config, data, split, Path("nowhere"))
    clips = data_of(plan, config, seed)
    module = module_of(plan, config, clips)
    held_out = DataLoader(clips.test_set, config.data.batch_size)
    loader = DataLoader(clips.train_set, config.data.batch_size, shuffle=True)
    epochs = int(config.trainer.max_epochs)
    built = module.optimizer_settings.build(module.model, epochs * len(loader))
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    for epoch in range(epochs):
        clips.train_set.epoch = epoch
        module.train()
        for batch in loader:
            optimizer.zero_grad()
            losses, _, _ = module.evaluate(clips_of(batch))
            losses.total.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), config.trainer.gradient_clip_val)
            optimizer.step()
            schedule.step()
        probabilities, accuracy = predict(module, held_out)
        print(f"fold {name} epoch {epoch + 1} loss {float(losses.total):.3f} held-out accuracy {accuracy:.3f}")
    return probabilities, np.array([int(clips.test_set[i]["target"]) for i in range(len(clips.test_set))])


@torch.no_grad()
def predict(module: FDPModule, loader: DataLoader[Any]) -> tuple[np.ndarray, float]:
    """Probabilities of all clips, and the accuracy."""
    module.eval()
    found, right = [], []
    for batch in loader:
        output = module(batch["frames"])
        found.append(module.probabilities(output.logits))
        right.append(output.logits.argmax(dim=1) == batch["target"])
    return torch.cat(found).numpy(), float(torch.cat(right).float().mean())


if __name__ == "__main__":
    probabilities, target = train(sys.argv[1], sys.argv[3:])
    np.savez(sys.argv[2], probabilities=probabilities, target=target)

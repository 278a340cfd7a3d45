"""A run folder as the tasks write it, filled with random numbers: nothing of it comes from a face."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.predictions import pool, write_predictions
from fdp_lightning.evaluation.summary import summarise, write_metrics
from fdp_lightning.extras import Extra, as_text
from fdp_lightning.files import sha256

RANKS, IMAGES = "rank_scores_against_time", "dynamic_images"
"""Ids of the sections."""

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


def extras_of(signed: bool = False, compared: bool = True) -> tuple[Extra, ...]:
    """What a recogniser may declare: a curve that rises, an image, its reference, and what stands beside it."""
    about = {"heading": "dynamic images", "neutral": 0.5 if signed else None, "scale": "image_rms" if signed else ""}
    beside = {**about, "reference": "true_dynamic_image"}
    extras = (
        Extra("rank_scores", "curve", "rank score", "rank scores against time", standardised=True, rises=True),
        Extra("true_dynamic_image", "image", "true", note="A note.", **about),  # type: ignore[arg-type]
        Extra("dynamic_image", "image", "constructed", **beside),  # type: ignore[arg-type]
        Extra("mean_training_image", "image", "mean of training", of="training", **beside),  # type: ignore[arg-type]
        Extra("arp_of_input", "image", "ARP of the input", **beside),  # type: ignore[arg-type]
        Extra("similarities", "vector", "features"),
    )
    return extras if compared else extras[:3]


def make_predictions(
    subjects: int = 6,
    clips: int = 10,
    classes: Sequence[str] = tuple(CLASSES),
    selections: Sequence[str] = ("last", "oracle"),
    skill: float = 0.5,
    seed: int = 0,
    balanced: bool = True,
) -> pd.DataFrame:
    """Random predictions that are right more often than chance; `oracle` is a little better than `last`."""
    random = np.random.default_rng(seed)
    rows = []
    for subject in range(subjects):
        shares = np.arange(1, len(classes) + 1) / np.arange(1, len(classes) + 1).sum()
        targets = np.arange(clips) % len(classes) if balanced else random.choice(len(classes), clips, p=shares)
        own = float(np.clip(random.normal(skill, 0.12), 0.05, 0.95))
        for selection in selections:
            for clip, target in enumerate(targets):
                right = random.random() < own + 0.08 * (selection == "oracle")
                guess = int(target) if right else int(random.integers(len(classes)))
                probabilities = random.dirichlet(np.ones(len(classes)) + 3 * (np.arange(len(classes)) == guess))
                name = f"{subject + 1:03d}"
                key = {"dataset": "synthetic", "subject": name, "clip": f"{name}_{clip + 1}", "onset": 100 * clip + 1}
                said = {"target": classes[target], "prediction": classes[int(probabilities.argmax())]}
                said |= {f"prob_{c}": p for c, p in zip(classes, probabilities, strict=True)}
                rows.append(key | said | {"selection": selection, "fold": name, "seed": 42})
    return pd.DataFrame(rows)


def make_run(
    run: Path,
    subjects: int = 4,
    clips: int = 5,
    epochs: int = 6,
    size: int = 16,
    colour: bool = False,
    exact: bool = False,
    inner: bool = False,
    image_rms: float | None = None,
    **options: object,
) -> Path:
    """Write a whole run folder.

    Args:
        run: the folder.
        subjects: one fold each.
        clips: of each subject.
        epochs: of the curves.
        size: of the images.
        colour: whether the key frames are in colour.
        exact: whether the true dynamic images are the exact ARP of the input, as they are by default.
        inner: whether there are curves of inner subjects.
        image_rms: of the first fold; every further one has it a tenth higher. None: the images are not signed.
        options: of `make_predictions`.

    Returns:
        The folder.
    """
    table = make_predictions(subjects, clips, **options)  # type: ignore[arg-type]
    classes = [name.removeprefix("prob_") for name in table.columns if name.startswith("prob_")]
    random = np.random.default_rng(1)
    folds = []
    anchors = table.query("selection == 'last'")["subject"].to_numpy()
    for name, part in table.groupby("fold"):
        folder = run / "folds" / str(name)
        write_predictions(folder / "predictions.csv", part, classes)
        folds.append(part.reset_index(drop=True))
        steps = np.arange(epochs)
        decay = np.exp(-steps / max(epochs / 3, 1))
        noise = lambda scale: random.normal(0, scale, epochs)  # noqa: E731
        curves = {"loss": (3.2, 0.6), "emotion_loss": (1.4, 0.2), "rank_loss": (0.6, 0.1)}
        curves |= {"dynamic_image_loss": (0.02, 0.004), "kendall_tau": (-0.95, 0.95)}
        pd.DataFrame(
            {
                "epoch": steps,
                **{f"train/{name}": a * decay + b + noise(abs(a) / 40) for name, (a, b) in curves.items()},
                **({"inner/loss": 2.9 * decay + 0.8, "inner/accuracy": 0.2 + 0.3 * (1 - decay)} if inner else {}),
                "test/loss": 2.8 * decay + 0.9 + noise(0.15),
                "test/accuracy": 0.2 + 0.35 * (1 - decay) + noise(0.05),
                "test/uf1": 0.15 + 0.3 * (1 - decay) + noise(0.05),
                "test/kendall_tau": 0.7 * (1 - decay) + noise(0.06),
            }
        ).to_csv(folder / "curves.csv", index=False)
        last = part[part["selection"] == "last"]
        n, t = len(last), 8
        frames = last["onset"].to_numpy()[:, None] + np.linspace(0, 40, t).astype(int)
        middle = np.linspace(-0.5, 0.5, size)
        blob = np.exp(-12 * (middle[:, None] ** 2 + (middle[None, :] - 0.1) ** 2))
        true = np.clip(0.5 + 0.4 * blob + random.normal(0, 0.06, (n, size, size)), 0, 1).astype(np.float32)
        np.savez_compressed(
            folder / "outputs.npz",
            **{name: last[name].to_numpy(dtype="U") for name in ("dataset", "subject", "clip", "target")},
            onset=last["onset"].to_numpy(),
            rank_scores=(2 * np.linspace(0, 1, t) + random.normal(0, 0.35, (n, t))).astype(np.float32),
            frames=frames,
            apex=np.where(random.random(n) < 0.2, np.nan, frames[:, 0] + random.uniform(12, 28, n)),
            true_dynamic_image=true,
            dynamic_image=((true + true.mean(0)) / 2).astype(np.float32),
            arp_of_input=true if exact else np.clip(true + random.normal(0, 0.1, true.shape), 0, 1).astype(np.float32),
            mean_training_image=(0.5 + 0.4 * blob).astype(np.float32),
            similarities=np.where(anchors == name, np.nan, random.normal(size=(n, len(anchors)))),
            **({"image_rms": image_rms * (1 + len(folds) / 10)} if image_rms else {}),
            extras=np.array(as_text(extras_of(signed=image_rms is not None))),
            key_frames=random.integers(0, 256, (n, 3, size, size, *[3] * colour), dtype=np.uint8),
            key_frame_numbers=frames[:, [0, 4, 7]],
        )
        everyone = sorted(set(table["dataset"] + "/" + table["subject"]))
        tested = sorted(set(part["dataset"] + "/" + part["subject"]))
        facts = {
            "fold": name,
            "fingerprint": "0123456789ab",
            "seconds": 61.5,
            "subjects": {"train": [s for s in everyone if s not in tested], "inner": [], "test": tested},
            "checksums": {path.name: sha256(path) for path in folder.iterdir()},
        }
        (folder / "fold.json").write_text(json.dumps(facts))
    expected = table[table["selection"] == "last"][["dataset", "subject", "clip", "onset", "target"]]
    pooled = pool(folds, expected, classes)
    write_predictions(run / "predictions.csv", pooled, classes)
    write_metrics(run / "metrics.json", summarise(pooled, classes, "synthetic_5c", ["024", "036"]))
    (run / "config.yaml").write_text("command: python -m fdp_lightning +experiment=synthetic_loso seed=42\nseed: 42\n")
    versions = {
        "command": "python -m fdp_lightning +experiment=synthetic_loso seed=42", "git_revision": "0123abc",
        "python": "3.11.2", "fdp-lightning": "0.1.0", "torch": "2.15.0", "processor": "A Processor", "cores": "2",
        "started": "2026-01-02T03:04:05+00:00", "seconds": 412.5,
    }  # fmt: skip
    (run / "environment.json").write_text(json.dumps(versions))
    return run

"""Run folders as the tasks write them, filled with random numbers instead of faces."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.intervals import Difference, compare_outcomes
from fdp_lightning.evaluation.predictions import Outcomes, joined, label_kind_of, pool, write_predictions
from fdp_lightning.evaluation.summary import summarise, write_metrics
from fdp_lightning.extras import Extra, as_text
from fdp_lightning.labels import KEY

RANKS, IMAGES = "rank_scores_against_time", "dynamic_images"
"""Ids of sections of the report."""

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]
UNITS = ["AU1", "AU2", "AU4", "AU12"]
SELECTIONS = ("last", "oracle")
FOLD = {"model": "fdp_tiny", "parameters": 90123, "steps": 500}
"""Facts that a fold records about its training."""


def extras_of(signed: bool = False) -> tuple[Extra, ...]:
    """Return extras of a recogniser: a rising curve, an image, its reference, images to compare, and features."""
    about = {"heading": "dynamic images", "neutral": 0.5 if signed else None, "scale": "image_rms" if signed else ""}
    beside = {**about, "reference": "true_dynamic_image"}
    return (
        Extra("rank_scores", "curve", "rank score", "rank scores against time", standardised=True, rises=True),
        Extra("true_dynamic_image", "image", "true", note="A note.", **about),  # type: ignore[arg-type]
        Extra("dynamic_image", "image", "constructed", **beside),  # type: ignore[arg-type]
        Extra("mean_training_image", "image", "mean of training", of="training", **beside),  # type: ignore[arg-type]
        Extra("arp_of_input", "image", "ARP of the input", **beside),  # type: ignore[arg-type]
        Extra("similarities", "vector", "features"),
    )


def paired_differences(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], classes: Sequence[str]
) -> dict[str, Difference]:
    """Compare tables of the same clips, in any order; each has one selection of one seed."""
    return compare_outcomes(*([Outcomes.of(table, classes) for table in side] for side in (a, b)))


def last(table: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of the last epoch."""
    return table[table["selection"] == "last"].reset_index(drop=True)


def make_predictions(
    subjects: int = 6,
    clips: int = 10,
    classes: Sequence[str] = tuple(CLASSES),
    selections: Sequence[str] = SELECTIONS,
    skill: float = 0.5,
    seed: int = 0,
    balanced: bool = True,
) -> pd.DataFrame:
    """Return random predictions that are right more often than chance; `oracle` is slightly better than `last`."""
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
                answer = classes[int(probabilities.argmax())]
                rows.append(_row(subject, clip, selection, classes[target], answer, classes, probabilities))
    return pd.DataFrame(rows)


def make_unit_predictions(
    subjects: int = 6, clips: int = 10, selections: Sequence[str] = SELECTIONS, skill: float = 1.5
) -> pd.DataFrame:
    """Return random predictions of action units; each subject has a clip that shows none."""
    random = np.random.default_rng(0)
    rows = []
    for subject in range(subjects):
        targets = random.random((clips, len(UNITS))) < 0.35
        targets[0] = False
        for selection in selections:
            own = skill + 0.3 * (selection == "oracle")
            for clip, shown in enumerate(targets):
                logits = own * (2 * shown - 1) + random.normal(0, 1.5, len(UNITS))
                probabilities = 1 / (1 + np.exp(-logits))
                (target, answer) = joined(np.stack([shown, probabilities > 0.5]), UNITS)
                rows.append(_row(subject, clip, selection, target, answer, UNITS, probabilities))
    return pd.DataFrame(rows).assign(multi_label=1)


def _row(
    subject: int, clip: int, selection: str, target: str, answer: str, classes: Sequence[str], given: np.ndarray
) -> dict[str, Any]:
    name = f"{subject + 1:03d}"
    key = {"dataset": "synthetic", "subject": name, "clip": f"{name}_{clip + 1}", "onset": 100 * clip + 1}
    probabilities = {f"prob_{c}": p for c, p in zip(classes, given, strict=True)}
    said = {"target": target, "prediction": answer, **probabilities}
    return key | said | {"selection": selection, "fold": name, "seed": 42}


def table_of(seed: int = 0, **options: Any) -> pd.DataFrame:
    """Return random predictions of one seed; clips and targets are the same for all seeds."""
    return make_predictions(seed=seed, **options).assign(seed=seed)


def write_run(
    folder: Path,
    seed: int = 0,
    protocol: str = "casme2_5c_249",
    table: pd.DataFrame | None = None,
    classes: Sequence[str] = tuple(CLASSES),
    more: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write only predictions.csv and metrics.json, enough for comparing runs; `more` is added to metrics.json."""
    frame = table_of(seed, classes=classes, **options) if table is None else table
    write_predictions(folder / "predictions.csv", frame, classes)
    write_metrics(folder / "metrics.json", summarise(frame, classes, protocol, []) | (more or {}))
    return folder


def make_run(
    run: Path,
    subjects: int = 4,
    clips: int = 5,
    colour: bool = False,
    inner: bool = False,
    image_rms: float | None = None,
    table: pd.DataFrame | None = None,
    **options: Any,
) -> Path:
    """Write a complete run folder with one fold per subject.

    `image_rms` is the value of the first fold and grows by a tenth of it per fold; without it the images are not
    signed. `table` replaces the predictions generated from `subjects`, `clips` and the options of `make_predictions`.
    """
    table = make_predictions(subjects, clips, **options) if table is None else table
    classes = [name.removeprefix("prob_") for name in table.columns if name.startswith("prob_")]
    random = np.random.default_rng(1)
    anchors = last(table)["subject"].to_numpy()
    folds = [(name, part.reset_index(drop=True)) for name, part in table.groupby("fold")]
    for number, (name, part) in enumerate(folds):
        folder = run / "folds" / str(name)
        write_predictions(folder / "predictions.csv", part, classes)
        _curves(random, inner).to_csv(folder / "curves.csv", index=False)
        held_out = last(part)
        n, t, size = len(held_out), 8, 16
        frames = held_out["onset"].to_numpy()[:, None] + np.linspace(0, 40, t).astype(int)
        signed: dict[str, Any] = {"image_rms": image_rms * (1 + number / 10)} if image_rms else {}
        middle = np.linspace(-0.5, 0.5, size)
        blob = np.exp(-12 * (middle[:, None] ** 2 + (middle[None, :] - 0.1) ** 2))
        true = np.clip(0.5 + 0.4 * blob + random.normal(0, 0.06, (n, size, size)), 0, 1).astype(np.float32)
        np.savez_compressed(
            folder / "outputs.npz",
            **{name: held_out[name].to_numpy(dtype="U") for name in ("dataset", "subject", "clip", "target")},
            onset=held_out["onset"].to_numpy(),
            rank_scores=(2 * np.linspace(0, 1, t) + random.normal(0, 0.35, (n, t))).astype(np.float32),
            frames=frames,
            apex=np.where(random.random(n) < 0.2, np.nan, frames[:, 0] + random.uniform(12, 28, n)),
            true_dynamic_image=true,
            dynamic_image=((true + true.mean(0)) / 2).astype(np.float32),
            arp_of_input=np.clip(true + random.normal(0, 0.1, true.shape), 0, 1).astype(np.float32),
            mean_training_image=(0.5 + 0.4 * blob).astype(np.float32),
            similarities=np.where(anchors == name, np.nan, random.normal(size=(n, len(anchors)))),
            **signed,
            extras=np.array(as_text(extras_of(signed=image_rms is not None))),
            key_frames=random.integers(0, 256, (n, 3, size, size, *[3] * colour), dtype=np.uint8),
            key_frame_numbers=frames[:, [0, 4, 7]],
        )
        (folder / "fold.json").write_text(json.dumps({"fold": name, "seconds": 61.5}))
    pooled = pool([part for _, part in folds], last(table)[[*KEY, "target"]], classes, label_kind_of(table))
    write_predictions(run / "predictions.csv", pooled, classes)
    write_metrics(run / "metrics.json", summarise(pooled, classes, "synthetic_5c", ["024", "036"]))
    command = "python -m fdp_lightning +experiment=synthetic_loso seed=42"
    (run / "config.yaml").write_text(f"command: {command}\nseed: 42\n")
    versions = {
        "command": command, "git_revision": "0123abc",
        "python": "3.11.2", "fdp-lightning": "0.1.0", "torch": "2.15.0", "processor": "A Processor", "cores": "2",
        "started": "2026-01-02T03:04:05+00:00", "seconds": 412.5,
    }  # fmt: skip
    (run / "environment.json").write_text(json.dumps(versions))
    return run


def _curves(random: np.random.Generator, inner: bool) -> pd.DataFrame:
    epochs = 6
    decay = np.exp(-np.arange(epochs) / 2)
    begin_and_end = {"loss": (3.2, 0.6), "emotion_loss": (1.4, 0.2), "rank_loss": (0.6, 0.1)}
    begin_and_end |= {"dynamic_image_loss": (0.02, 0.004), "kendall_tau": (-0.95, 0.95)}
    columns = {f"train/{name}": a * decay + b for name, (a, b) in begin_and_end.items()}
    columns |= {"inner/loss": 2.9 * decay + 0.8, "inner/accuracy": 0.5 - 0.3 * decay} if inner else {}
    columns |= {"test/loss": 2.8 * decay + 0.9, "test/accuracy": 0.55 - 0.35 * decay}
    columns |= {"test/uf1": 0.45 - 0.3 * decay, "test/kendall_tau": 0.7 * (1 - decay)}
    noisy = {name: values + random.normal(0, 0.03, epochs) for name, values in columns.items()}
    return pd.DataFrame({"epoch": np.arange(epochs), **noisy})

"""Multi-label predictions and a run folder of them, filled with random numbers: nothing of it comes from a face."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from random_runs import extras_of

from fdp_lightning.evaluation.predictions import pool, write_predictions
from fdp_lightning.evaluation.summary import summarise, write_metrics
from fdp_lightning.extras import as_text
from fdp_lightning.labels import LabelKind

UNITS = ["AU1", "AU2", "AU4", "AU12"]


def joined(shown: np.ndarray, units: Sequence[str]) -> str:
    """The names of one clip's units."""
    return "+".join(name for name, there in zip(units, shown, strict=True) if there)


def make_unit_predictions(
    subjects: int = 6,
    clips: int = 10,
    units: Sequence[str] = tuple(UNITS),
    selections: Sequence[str] = ("last", "oracle"),
    skill: float = 1.5,
    seed: int = 0,
    share: float = 0.35,
) -> pd.DataFrame:
    """Random predictions that are right more often than not; `oracle` is a little better than `last`."""
    random = np.random.default_rng(seed)
    rows = []
    for subject in range(subjects):
        targets = random.random((clips, len(units))) < share
        targets[0] = False  # each subject has a clip that shows none
        for selection in selections:
            own = skill + 0.3 * (selection == "oracle")
            for clip, shown in enumerate(targets):
                logits = own * (2 * shown - 1) + random.normal(0, 1.5, len(units))
                probabilities = 1 / (1 + np.exp(-logits))
                name = f"{subject + 1:03d}"
                key = {"dataset": "synthetic", "subject": name, "clip": f"{name}_{clip + 1}", "onset": 100 * clip + 1}
                said = {"target": joined(shown, units), "prediction": joined(probabilities > 0.5, units)}
                said |= {f"prob_{unit}": p for unit, p in zip(units, probabilities, strict=True)}
                rows.append(key | said | {"selection": selection, "fold": name, "seed": 42, "multi_label": 1})
    return pd.DataFrame(rows)


def make_unit_run(run: Path, size: int = 16, **options: object) -> Path:
    """Write a whole run folder; returns it."""
    table = make_unit_predictions(**options)  # type: ignore[arg-type]
    units = [name.removeprefix("prob_") for name in table.columns if name.startswith("prob_")]
    random = np.random.default_rng(1)
    folds = []
    for name, part in table.groupby("fold"):
        folder = run / "folds" / str(name)
        write_predictions(folder / "predictions.csv", part, units)
        folds.append(part.reset_index(drop=True))
        last = part[part["selection"] == "last"]
        n, t = len(last), 8
        frames = last["onset"].to_numpy()[:, None] + np.linspace(0, 40, t).astype(int)
        np.savez_compressed(
            folder / "outputs.npz",
            **{name: last[name].to_numpy(dtype="U") for name in ("subject", "clip", "target")},
            onset=last["onset"].to_numpy(),
            rank_scores=(np.linspace(0, 1, t) + random.normal(0, 0.2, (n, t))).astype(np.float32),
            frames=frames,
            apex=frames[:, 3].astype(float),
            true_dynamic_image=random.random((n, size, size)).astype(np.float32),
            dynamic_image=random.random((n, size, size)).astype(np.float32),
            extras=np.array(as_text(extras_of(compared=False))),
        )
    expected = table[table["selection"] == "last"][["dataset", "subject", "clip", "onset", "target"]]
    pooled = pool(folds, expected, units, LabelKind.MULTI)
    write_predictions(run / "predictions.csv", pooled, units)
    write_metrics(run / "metrics.json", summarise(pooled, units, "synthetic_au", []))
    return run

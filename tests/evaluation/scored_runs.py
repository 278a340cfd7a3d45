"""Run folders that hold pooled predictions and scores and nothing else, for what reads several runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from random_runs import CLASSES, make_predictions

from fdp_lightning.evaluation.predictions import write_predictions
from fdp_lightning.evaluation.summary import summarise, write_metrics


def table_of(seed: int = 0, **options: Any) -> pd.DataFrame:
    """Random predictions of one seed; the clips and targets of all seeds are the same."""
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
    """Write predictions.csv and metrics.json; `more` goes into metrics.json."""
    frame = table_of(seed, classes=classes, **options) if table is None else table
    write_predictions(folder / "predictions.csv", frame, classes)
    write_metrics(folder / "metrics.json", summarise(frame, classes, protocol, []) | (more or {}))
    return folder

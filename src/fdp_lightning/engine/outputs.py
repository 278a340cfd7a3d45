"""The files of a finished fold: predictions.csv, curves.csv and outputs.npz.

There is also inner.csv if there are inner validation subjects, and baselines.csv if configured.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fdp_lightning.data.annotations.clips import apex_numbers
from fdp_lightning.evaluation import baselines
from fdp_lightning.evaluation.predictions import FLAG, PROBABILITY, above_threshold, write_predictions
from fdp_lightning.extras import as_text
from fdp_lightning.files import write_atomic
from fdp_lightning.labels import KEY, LabelKind
from fdp_lightning.models.linear_baseline import BASELINE_IMAGES, linear_probabilities

if TYPE_CHECKING:
    from fdp_lightning.data.loading.datamodule import FoldDataModule
    from fdp_lightning.engine.plan import FoldPlan
    from fdp_lightning.models.recognizer import Extra


INNER = "inner.csv"
"""Predictions for the inner validation subjects: never part of a test score, and all that scores a search."""


def write_outputs(
    folder: Path,
    plan: "FoldPlan",
    data: "FoldDataModule",
    probabilities: Mapping[str, np.ndarray | None],
    of_inner: Mapping[str, np.ndarray],
    extras: Sequence["Extra"],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write predictions and extras of the held-out clips, and separate files for inner validation clips and baselines.

    `probabilities` are those of the held-out clips by selection, (n, k), in the order of the clip table (None: it was
    not made); `of_inner` are those of the inner validation clips, if any. `arrays` holds, by name, the arrays of the
    `extras`, one row per held-out clip, and those that the objective keeps from the training clips.
    """
    classes = list(plan.config["protocol"]["classes"])
    tables = [_table(plan, data.test_clips, classes, name, p) for name, p in probabilities.items() if p is not None]
    write_predictions(folder / "predictions.csv", pd.concat(tables, ignore_index=True), classes)
    if of_inner:
        clips = plan.clips.iloc[list(plan.fold.inner_rows)].reset_index(drop=True)
        tables = [_table(plan, clips, classes, name, p) for name, p in of_inner.items()]
        write_predictions(folder / INNER, pd.concat(tables, ignore_index=True), classes)
    assert data.test_set is not None
    if plan.config["data"]["linear_baselines"]:
        baselines.write_baselines(folder / baselines.FILE, _baseline_predictions(plan, data, classes), classes)
    clips = data.test_clips
    stream = io.BytesIO()
    key_frames, key_frame_numbers = data.test_set.key_frames()
    kept: dict[str, Any] = {
        **{name: clips[name].to_numpy(dtype=np.str_) for name in ("dataset", "subject", "clip", "target")},
        "onset": clips["onset"].to_numpy(dtype=np.int64),
        "apex": clips["apex"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan),
        "frames": data.test_set.frame_numbers,
        "key_frames": key_frames,
        "key_frame_numbers": key_frame_numbers,
        **arrays,
        "extras": np.array(as_text(extras)),
    }
    np.savez_compressed(stream, **kept)
    write_atomic(folder / "outputs.npz", stream.getvalue())


def _baseline_predictions(plan: "FoldPlan", data: "FoldDataModule", classes: list[str]) -> pd.DataFrame:
    """Predict with the linear baselines; with linear_apex only if some clip of the protocol has an apex.

    They are trained on all training clips as the network gets them, without augmentation.
    """
    from fdp_lightning.training.module import clips_of  # Lightning, which a search does without

    assert data.test_set is not None
    training, held_out = (clips_of(part.all_frames()) for part in (data.train_set, data.test_set))
    tables = []
    for name, image_of in BASELINE_IMAGES.items():
        if name == "linear_apex" and np.isnan(apex_numbers(plan.clips)).all():
            continue
        probabilities = linear_probabilities(
            image_of(training).numpy(), training.target.numpy(), image_of(held_out).numpy(), len(classes)
        )
        tables.append(_table(plan, data.test_clips, classes, name, probabilities))
    return pd.concat(tables, ignore_index=True)


def _table(
    plan: "FoldPlan", clips: pd.DataFrame, classes: list[str], selection: str, probabilities: np.ndarray
) -> pd.DataFrame:
    multi = LabelKind.of_column(plan.config["protocol"]["column"]).is_multi
    best = probabilities.argmax(axis=1)
    return clips[[*KEY, "target"]].assign(
        prediction=above_threshold(probabilities, classes) if multi else [classes[i] for i in best],
        **{PROBABILITY + name: of_class for name, of_class in zip(classes, probabilities.T, strict=True)},
        **{"selection": selection, "fold": plan.fold.name, "seed": int(plan.config["seed"])},
        **({FLAG: 1} if multi else {}),
    )

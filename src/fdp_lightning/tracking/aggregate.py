"""Logging of a pooled run to W&B and TensorBoard; on W&B as an aggregate run in addition to those of the folds.

The aggregate run has the pooled scores in its summary; as tables and images the scores with their intervals, the
confusion matrix, all predictions and the recogniser's extras of each clip (if faces may not be uploaded, no images but
heat maps without the face); and the report page as an artifact.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.charts import pixels
from fdp_lightning.evaluation.folds import Outputs, finished_files, known_rows, mean_curve, read_outputs, rows_of
from fdp_lightning.evaluation.origin import read_json
from fdp_lightning.evaluation.predictions import Outcomes, label_kind_of, read_predictions
from fdp_lightning.evaluation.report_extras import class_curves, images_shown
from fdp_lightning.evaluation.runs import seed_scores
from fdp_lightning.extras import Extra, sections, slug
from fdp_lightning.files import scratch_folder, sha256, write_atomic
from fdp_lightning.labels import LabelKind
from fdp_lightning.processes import in_worker
from fdp_lightning.runs.pooling import POOLED, shows_faces, write_page
from fdp_lightning.tracking.loggers import LogOf, build_loggers, close_loggers, is_wandb, kept_id


def log_pooled(config: DictConfig, run: Path, metrics: dict[str, Any], again: bool) -> None:
    """Log pooled results to the configured loggers that compare runs; metrics.json serves as the CSV logger's.

    `metrics` is the content of metrics.json; results that have already been logged are logged again only if `again`.
    """
    for name, node in config.logger.items():
        if not (is_wandb(node) or str(node._target_).endswith("TensorBoardLogger")):
            continue
        kept = run / "log" / f"{name}.json"
        checksum = sha256(run / POOLED[0])
        with contextlib.suppress(UserError):  # a damaged file is written again
            if not again and read_json(kept).get("predictions") == checksum:
                continue
        of_one = config.copy()
        of_one.logger = {name: node}
        where = in_worker(_log, of_one, run, metrics, kept_id(kept))
        write_atomic(kept, json.dumps({"id": kept_id(kept), "predictions": checksum}) + "\n")
        print(f"{name:<12} {where}")


def upload_faces(config: DictConfig) -> bool:
    """Return True if face images may be uploaded: on request, or for a public dataset if the local page shows them."""
    asked = config.report.get("upload_faces")
    return bool(config.data.show_faces and shows_faces(config) if asked is None else asked)


def _log(config: DictConfig, run: Path, metrics: dict[str, Any], run_id: str) -> str:
    """Log in a separate process and return where the log is."""
    facts = {
        "made_with": {k: v for k, v in read_json(run / "environment.json").items() if k != "command"},
        "n_clips": metrics["n_clips"],
        "n_subjects": metrics["n_subjects"],
        "n_folds": len(finished_files(run, "fold.json")),
    }
    (logger,) = build_loggers(config, run, run / "log", LogOf("pooled", "aggregate", run_id, facts))
    (node,) = config.logger.values()
    scores = pooled_scalars(metrics)
    if not is_wandb(node):
        logger.log_metrics(scores, step=0)
        logger.finalize("success")
        return str(run / "log")
    success = False
    try:
        _log_to_wandb(logger.experiment, config, run, metrics, scores)
        where = f"offline; to upload: wandb sync {run}/wandb/offline-run-*" if node.offline else logger.experiment.url
        success = True
        return str(where)
    finally:
        close_loggers([logger], success)


def _log_to_wandb(
    wandb_run: Any, config: DictConfig, run: Path, metrics: dict[str, Any], scores: dict[str, float]
) -> None:
    import wandb

    table, classes = read_predictions(run / POOLED[0])
    wandb.Table.MAX_ROWS = max(wandb.Table.MAX_ROWS, len(table))  # W&B would truncate the table at 10 000 rows
    content: dict[str, Any] = {
        **scores,
        "scores": wandb.Table(dataframe=scores_table(metrics)),
        "predictions": wandb.Table(dataframe=table),
    }
    label_kind = label_kind_of(table)
    if not label_kind.is_multi:
        last = Outcomes.of(table[table["selection"] == "last"], classes)
        content["confusion"] = wandb.plot.confusion_matrix(
            y_true=last.targets.tolist(), preds=last.predictions.tolist(), class_names=classes, title="Confusion, last"
        )
    with_faces = upload_faces(config)
    content |= _extras(read_outputs(run), classes, label_kind, with_faces)
    wandb_run.log(content)
    about = "report page, scores and predictions"
    artifact = wandb.Artifact(f"report-{wandb_run.id}", type="report", description=about)
    with scratch_folder("fdp_lightning-page-") as folder:
        page = run / POOLED[2]
        if shows_faces(config) != with_faces:
            page = write_page(run, config, with_faces, seed_scores(run), folder / POOLED[2])
        for path in (run / POOLED[0], run / POOLED[1], page):
            artifact.add_file(str(path))  # copied immediately
        wandb_run.log_artifact(artifact)


def _extras(outputs: Outputs, classes: list[str], label_kind: LabelKind, with_faces: bool) -> dict[str, Any]:
    """Return the recogniser's extras: images by heading, class means of curves by name; scalars count as scores."""
    import wandb

    found: dict[str, Any] = {}
    for heading, extras in sections(outputs.extras).items():
        own = [extra for extra in extras if extra.of == "clip"]
        images = [extra for extra in own if extra.kind == "image"]
        if gallery := _gallery(outputs, images, classes, label_kind, with_faces):
            found[slug(heading)] = gallery
        for extra in own:
            if extra.kind != "curve":
                continue
            rows = {name: known_rows(outputs, extra, rows_of(outputs["target"], name, label_kind)) for name in classes}
            means = {name: mean_curve(*class_curves(outputs, extra, own)) for name, own in rows.items() if len(own)}
            if means:
                grid = np.linspace(0, 1, len(next(iter(means.values())))).tolist()
                values = [mean.tolist() for mean in means.values()]
                found[extra.name] = wandb.plot.line_series(grid, values, list(means), extra.title, "time in the clip")
    return found


def _gallery(
    outputs: Outputs, extras: list[Extra], classes: list[str], label_kind: LabelKind, with_faces: bool
) -> list[Any]:
    """Return the images of the first clips of every class, drawn as in the report, side by side."""
    import wandb

    drawn = []
    for row, name, images in images_shown(outputs, extras, classes, with_faces, label_kind):
        height = max(len(image) for _, image in images)
        in_colour = [np.broadcast_to(image.reshape(*image.shape[:2], -1), (*image.shape[:2], 3)) for _, image in images]
        same_height = [np.pad(pixels(image), ((0, height - len(image)), (0, 0), (0, 0))) for image in in_colour]
        titles = " | ".join(extra.title for extra, _ in images)
        drawn.append(wandb.Image(np.hstack(same_height), caption=f"{outputs['target'][row]}: {name}; {titles}"))
    return drawn


def pooled_scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of metrics.json, by name.

    The names are 'selection/score', with the ends of its interval in 'selection/score_low' and '…_high';
    'selection/f1/unit' for single action units; 'floors/baseline/score' for untrained and 'baselines/baseline/score'
    for trained baselines; 'optimism_gap/score'; 'datasets/dataset/score' for `last` on each dataset of a composite; and
    'extras/extra/score' for the recogniser's extras.
    """
    scores: dict[str, float] = {}
    for selection, row in metrics["selections"].items():
        scores |= _numbers(selection, row)
        for score, ends in row.get("ci95", {}).items():
            if isinstance(ends, list):
                scores[f"{selection}/{score}_low"], scores[f"{selection}/{score}_high"] = ends
    for group in ("floors", "baselines", "extras"):
        for name, row in metrics.get(group, {}).items():
            scores |= _numbers(f"{group}/{name}", row)
    for name, part in metrics.get("datasets", {}).items():
        scores |= _numbers(f"datasets/{name}", part["selections"]["last"])
    return scores | _numbers("optimism_gap", metrics.get("optimism_gap", {}))


def _numbers(name: str, row: dict[str, Any]) -> dict[str, float]:
    of_unit = {f"f1/{unit}": f1 for unit, f1 in row["f1"].items()} if isinstance(row.get("f1"), dict) else {}
    return {f"{name}/{key}": value for key, value in (row | of_unit).items() if isinstance(value, float)}


def scores_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return one row per selection and score: value, ends of its 95 % interval, and difference from `last`."""
    rows = []
    for selection, row in metrics["selections"].items():
        for score, ends in row["ci95"].items():
            if isinstance(ends, list) and isinstance(row.get(score), float):
                gap = row[score] - metrics["selections"]["last"][score]
                rows.append((selection, score, row[score], *ends, gap))
    return pd.DataFrame(rows, columns=["selection", "score", "value", "low", "high", "above_last"])

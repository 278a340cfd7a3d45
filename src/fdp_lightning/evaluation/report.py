"""report.html: one self-contained page for one run, made from the run's folder alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation import baselines, charts, metrics
from fdp_lightning.evaluation.counts import SCORE_NAMES, score_functions
from fdp_lightning.evaluation.folds import Curves, fold_curves, read_curves, read_outputs
from fdp_lightning.evaluation.learning import WHAT_TO_TRY, has_learned
from fdp_lightning.evaluation.multi_label import label_kind_of
from fdp_lightning.evaluation.origin import command_of, made_with, read_json, read_text, sentence
from fdp_lightning.evaluation.report_details import calibration, fold_charts, fold_rows, subject_rows
from fdp_lightning.evaluation.report_embedding import embedding
from fdp_lightning.evaluation.report_extras import sections_shown
from fdp_lightning.evaluation.report_mistakes import mistakes_shown
from fdp_lightning.evaluation.report_units import (
    UNIT_FLOOR_NAMES,
    UNIT_FLOOR_NOTES,
    UNIT_RULES,
    right_decisions,
    unit_rows,
)
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.saved_parts import with_links
from fdp_lightning.evaluation.templates import template
from fdp_lightning.evaluation.terminal import in_order, interval
from fdp_lightning.evaluation.trained import trained_facts
from fdp_lightning.files import write_atomic
from fdp_lightning.labels import SELECTIONS

FLOOR_NAMES = {"majority": "majority class", "chance": "chance"}
RULES = {
    "last": "a fixed budget: every fold is scored after its last epoch, and nothing is chosen on held-out subjects.",
    "inner": "the epoch that is best on inner validation subjects, taken from the training subjects; this whole run "
    "therefore trained on fewer subjects.",
    "oracle": "the epoch that is best on the held-out subject itself, read off the same training run. Most "
    "published code reports this; it cannot be compared with scores that were not chosen so. The optimism "
    "gap is oracle − last.",
    "majority": "answering with the most frequent class, whatever the clip.",
    "chance": "guessing every class with equal probability (expected scores).",
}
NO_FACES = (
    "Face images are off, because most datasets are licensed without the right to publish them. "
    "If yours allows it, or the page stays with you, switch them on with "
)


def build_report(
    run: Path,
    title: str,
    show_faces: bool,
    synthetic: bool,
    headline: str = "last",
    seeds: Mapping[str, Any] | None = None,
    page: Path | None = None,
) -> Path:
    """Write report.html into a run's folder.

    Args:
        run: the folder with metrics.json and predictions.csv. config.yaml, environment.json and the folds'
            curves.csv and outputs.npz are shown if they are there; a section whose file is missing names it.
        title: the page's headline.
        show_faces: True if images of faces may be on the page.
        synthetic: True to mark the page as made from synthetic data.
        headline: the selection that stands first among the scores; what follows them is of `last` always.
        seeds: the pooled scores of this run and its siblings of other seeds, `{"seeds": [0, 1], "selections":
            {"last": {"uf1": {"mean": …, "sd": …}}}, "left_out": {"seed-2": why}}`; None where there are no others.
        page: where the page goes; None: report.html in the run's folder.

    Returns:
        The page's path. The same files give the same bytes.

    Raises:
        UserError: metrics.json or predictions.csv is missing or damaged, or one is not of the other.
    """
    run = Path(run)
    finished = read_run(run)
    classes, last, label_kind = finished.classes, finished.parts["last"], finished.label_kind
    multi_label = label_kind.is_multi  # for the template
    summary = {**finished.metrics, **finished.computed}  # files of earlier versions lack newer scores
    score_names = {name: title for name, title in SCORE_NAMES.items() if name in summary["selections"]["last"]}
    floor_names = UNIT_FLOOR_NAMES if multi_label else FLOOR_NAMES
    curves, curves_note = read_curves(run)
    of_folds, _ = fold_curves(run)
    outputs = read_outputs(run)
    environment = read_json(run / "environment.json")
    made = made_with(run, environment)
    text = template("report.html.j2").render(
        title=title,
        place="/".join(run.absolute().parts[-3:]),
        synthetic=synthetic,
        metrics=summary,
        signs=finished.signs,
        learned=has_learned(finished.signs),
        what_to_try=WHAT_TO_TRY,
        multi_label=multi_label,
        score_names=score_names,
        floor_names=floor_names,
        floor_notes=UNIT_FLOOR_NOTES if multi_label else _floor_notes(summary),
        rules={name: RULES[name] for name in SELECTIONS} | UNIT_RULES if multi_label else RULES,
        baseline_names=baselines.BASELINES,
        baseline_rules=baselines.RULES,
        headline=headline,
        selections=in_order(summary["selections"], headline),
        interval=interval,
        overview=charts.scores_chart(
            summary,
            {name: SCORE_NAMES[name] for name in score_functions(label_kind)},
            {**floor_names, **baselines.BASELINES},
        ),
        confusion=[] if multi_label else _confusion(summary),
        per_class=unit_rows(summary) if multi_label else _per_class(summary),
        subjects=_subjects(last, classes, several=last["dataset"].nunique() > 1),
        subject_rows=[] if multi_label else subject_rows(last, classes),
        fold_rows=fold_rows(
            last, of_folds, {fold.name: fold.steps for fold in finished.trainings}, _right_shares(last, classes)
        ),
        fold_charts=fold_charts(of_folds),
        calibration={} if multi_label else calibration(last, classes),
        curves=_curves(curves),
        curves_note=curves_note,
        extras=sections_shown(outputs, classes, show_faces, label_kind),
        embedding={} if multi_label else embedding(outputs, classes),
        outputs_note=outputs.note,
        outputs_lacking="" if outputs.arrays else outputs.note,
        mistakes=mistakes_shown(run, last, classes, show_faces),
        seeds=seeds,
        show_faces=show_faces,
        no_faces=NO_FACES,
        config=read_text(run / "config.yaml"),
        environment=environment,
        made=made,
        made_sentence=sentence(made),
        model=trained_facts(summary),
        inf=float("inf"),
        command=environment.get("command") or command_of(run / "config.yaml"),
    )
    path = page or run / "report.html"
    write_atomic(path, with_links(text))
    return path


def _confusion(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    matrix = np.array(summary["selections"]["last"]["confusion"])
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return [
        {"name": name, "n": int(counts.sum()), "cells": list(zip(counts.tolist(), row.tolist(), strict=True))}
        for name, counts, row in zip(summary["classes"], matrix, shares, strict=True)
    ]


def _per_class(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    matrix = np.array(summary["selections"]["last"]["confusion"])
    columns = {
        "precision": metrics.precision(matrix),
        "recall": metrics.recall(matrix),
        "f1": metrics.f1(matrix),
    }
    counts = metrics.support(matrix)
    return [
        {
            "name": name,
            "n": int(counts[place]),
            **{key: float(values[place]) for key, values in columns.items()},
        }
        for place, name in enumerate(summary["classes"])
    ]


def _floor_notes(summary: Mapping[str, Any]) -> dict[str, str]:
    return {"majority": f"baseline: “{summary['floors']['majority']['class']}”", "chance": "baseline"}


def _subjects(last: pd.DataFrame, classes: Sequence[str], several: bool) -> list[dict[str, Any]]:
    right, each = (last["target"] == last["prediction"]), 1
    if label_kind_of(last).is_multi:
        counts, each = right_decisions(last, classes)
        right = pd.Series(counts, index=last.index)
    table = right.groupby([last["dataset"], last["subject"]]).agg(["sum", "size"]).reset_index()
    return [
        {
            "name": f"{row.dataset} {row.subject}" if several else row.subject,
            "right": int(row.right),
            "n": int(row.n) * each,
        }
        for row in table.rename(columns={"sum": "right", "size": "n"}).itertuples()
    ]


def _right_shares(last: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    if not label_kind_of(last).is_multi:
        return (last["target"] == last["prediction"]).astype(float)
    counts, each = right_decisions(last, classes)
    return pd.Series(counts / each, index=last.index)


def _curves(curves: Curves) -> list[tuple[str, list[str], Any]]:
    names = {quantity: quantity.replace("_", " ") for quantity in curves}
    return [
        (
            names[quantity],
            list(lines),
            charts.curves_chart(lines, f"{names[quantity]} over the epochs, mean over folds"),
        )
        for quantity, lines in curves.items()
    ]

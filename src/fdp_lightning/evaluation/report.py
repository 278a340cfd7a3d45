"""report.html: a self-contained page on one run, generated only from the run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.evaluation import baselines, charts, metrics
from fdp_lightning.evaluation.folds import by_quantity, fold_curves, read_outputs
from fdp_lightning.evaluation.learning import WHAT_TO_TRY, has_learned
from fdp_lightning.evaluation.metrics import SCORE_NAMES, score_functions
from fdp_lightning.evaluation.origin import made_with, read_json, sentence, trained_facts
from fdp_lightning.evaluation.pages import template, with_links
from fdp_lightning.evaluation.report_details import (
    calibration,
    embedding,
    fold_rows,
    mistakes_shown,
    subject_rows,
)
from fdp_lightning.evaluation.report_extras import sections_shown
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.terminal import in_order, interval
from fdp_lightning.files import write_atomic
from fdp_lightning.foreign import read_plain

BASELINE_NAMES = {"majority": "majority class", "chance": "chance"}
UNIT_BASELINE_NAMES = {"constant": "constant", "majority": "majority label", "chance": "chance"}


def build_report(
    run: Path,
    title: str,
    show_faces: bool,
    synthetic: bool,
    headline: str = "last",
    seeds: Mapping[str, Any] | None = None,
    page: Path | None = None,
) -> Path:
    """Write report.html for a run and return its path; the same files yield the same bytes.

    metrics.json and predictions.csv are required: UserError if they are missing, damaged or inconsistent. config.yaml,
    environment.json and the folds' curves.csv and outputs.npz are optional; a section names the file that it lacks.

    Args:
        run: folder of the run.
        title: main heading of the page.
        show_faces: True if images of faces may be on the page.
        synthetic: True to mark the page as made from synthetic data.
        headline: selection listed first among the scores; all further sections show `last`.
        seeds: result of `seed_scores`; None: no section on seeds.
        page: path of the page; None: report.html in the run's folder.
    """
    run = Path(run)
    finished = read_run(run)
    classes, last, label_kind = finished.classes, finished.parts["last"], finished.label_kind
    multi_label = label_kind.is_multi  # for the template
    summary = finished.metrics
    score_names = {name: title for name, title in SCORE_NAMES.items() if name in summary["selections"]["last"]}
    untrained_names = UNIT_BASELINE_NAMES if multi_label else BASELINE_NAMES
    of_folds, curves_note = fold_curves(run)
    outputs = read_outputs(run)
    config, environment = run / "config.yaml", read_json(run / "environment.json")
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
        untrained_names=untrained_names,
        baselines=baselines,
        headline=headline,
        selections=in_order(summary["selections"], headline),
        interval=interval,
        ranked_by=next(name for name in metrics.RANKED_BY if name in score_names),
        overview=charts.scores_chart(
            summary,
            {name: SCORE_NAMES[name] for name in score_functions(label_kind)},
            {**untrained_names, **baselines.BASELINES},
        ),
        per_class=_per_unit(summary) if multi_label else _per_class(summary),
        subjects=subject_rows(last, classes),
        fold_rows=fold_rows(last, classes, of_folds, {fold.name: fold.steps for fold in finished.trainings}),
        calibration={} if multi_label else calibration(last, classes),
        charts=charts,
        curves=by_quantity(of_folds),
        curves_note=f"{len(of_folds)} folds. {curves_note}".strip() if of_folds else curves_note,
        extras=sections_shown(outputs, classes, show_faces, label_kind),
        embedding={} if multi_label else embedding(outputs, classes),
        outputs=outputs,
        mistakes=mistakes_shown(run, last, classes, show_faces),
        seeds=seeds,
        show_faces=show_faces,
        config=read_plain(config).decode("utf-8", errors="replace") if config.exists() else "",
        environment=environment,
        made=made,
        made_sentence=sentence(made),
        model=trained_facts(summary),
        inf=float("inf"),
        command=environment.get("command"),
    )
    path = page or run / "report.html"
    write_atomic(path, with_links(text))
    return path


def _per_class(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    matrix = np.array(summary["selections"]["last"]["confusion"])
    columns = (score(matrix) for score in (metrics.support, metrics.precision, metrics.recall, metrics.f1))
    keys = ("name", "n", "precision", "recall", "f1")
    return [dict(zip(keys, row, strict=True)) for row in zip(summary["classes"], *columns, strict=True)]


def _per_unit(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return counts and scores of each action unit in selection `last`, with the F1 of the constant baseline."""
    last, constant = summary["selections"]["last"], summary["floors"]["constant"]["f1"]
    rows = []
    for name in summary["classes"]:
        matrix = np.array(last["confusion"][name])
        (tn, fp), (fn, tp) = matrix.tolist()
        scores = {"precision": metrics.precision, "recall": metrics.recall, "f1": metrics.f1}
        rows.append(
            {"name": name, "n": fn + tp, "tp": tp, "fp": fp, "fn": fn, "tn": tn, "interval": last["ci95"]["f1"][name]}
            | {"constant": constant[name], "auc": last["unit_auc"].get(name)}
            | {key: float(score(matrix)[1]) for key, score in scores.items()}
        )
    return rows

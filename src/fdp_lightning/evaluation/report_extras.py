"""The report's sections on a recogniser's extras for each clip, drawn by kind: images, curves and scalars."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fdp_lightning.evaluation import charts
from fdp_lightning.evaluation.extra_scores import qualities, quality_table, references, scalar_mean
from fdp_lightning.evaluation.folds import (
    FACE,
    Outputs,
    apex_position,
    curve_positions,
    known_rows,
    mean_curve,
    mean_tau,
    rows_of,
    standardised,
)
from fdp_lightning.evaluation.report_details import clip_name
from fdp_lightning.extras import Extra, notes, number_format, same, sections, slug
from fdp_lightning.labels import KEY, LabelKind

CURVES_PER_CLASS = 3
IMAGES_PER_CLASS = 2

Qualities = Mapping[str, Mapping[str, np.ndarray]]


def sections_shown(
    outputs: Outputs, classes: Sequence[str], show_faces: bool, label_kind: LabelKind = LabelKind.SINGLE
) -> list[dict[str, Any]]:
    """Describe one section for each heading among the recogniser's extras.

    Each has `id`, `heading` and `note`; `curves`, each with `title`, `standardised`, `rises` and a panel per class;
    `numbers`, with `titles`, `format` and a row per class, which counts in `n` the clips that have them; `qualities`,
    tables of `quality_table`; and `has_images`, with a `gallery` of some clips: without faces, only of maps, which are
    otherwise drawn over faces.
    """
    values = {name: qualities(outputs, name) for name in references(outputs.extras)}
    of_image = {key: each for one in values.values() for key, each in one.items()}
    found = []
    for heading, extras in sections(outputs.extras).items():
        own = [extra for extra in extras if extra.of == "clip"]
        images = [extra for extra in extras if extra.kind == "image"]
        found.append(
            {
                "id": slug(heading),
                "heading": heading,
                "note": notes(extras),
                "curves": [curve_shown(outputs, e, classes, label_kind) for e in own if e.kind == "curve"],
                "numbers": _numbers(outputs, [e for e in own if e.kind == "scalar"], classes, label_kind),
                "qualities": [quality_table(outputs, e.name, values[e.name]) for e in images if e.name in values],
                "has_images": bool(images),
                "gallery": gallery(outputs, images, classes, of_image, show_faces, label_kind),
            }
        )
    return found


def class_curves(
    outputs: Outputs, extra: Extra, rows: Sequence[int] | np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return places in 0..1 and values of the curves of some clips, as they are drawn."""
    curves = [np.asarray(outputs[extra.name][row], np.float64) for row in rows]
    places = [curve_positions(outputs["frames"][row], len(curve)) for row, curve in zip(rows, curves, strict=True)]
    return places, [standardised(curve) for curve in curves] if extra.standardised else curves


def curve_shown(outputs: Outputs, extra: Extra, classes: Sequence[str], label_kind: LabelKind) -> dict[str, Any]:
    """Draw a curve in one panel for each class that has clips: their mean, and the first clips by key."""
    panels: list[dict[str, Any]] = []
    for name in classes:
        rows = known_rows(outputs, extra, rows_of(outputs["target"], name, label_kind))
        if not len(rows):
            continue
        places, curves = class_curves(outputs, extra, rows)
        apex = [apex_position(outputs["frames"][row], float(outputs["apex"][row])) for row in rows]
        clips = list(zip(places, curves, apex, strict=True))[:CURVES_PER_CLASS]
        mean, tau = mean_curve(places, curves), mean_tau(curves) if extra.rises else float("nan")
        panels.append({"name": name, "n": len(rows), "tau": tau, "mean": mean, "clips": clips})
    limits = _limits([values for panel in panels for _, values, _ in panel["clips"]], extra.standardised)
    quantity = f"{extra.title}, standardised" if extra.standardised else extra.title
    for panel in panels:
        label = f"{extra.title} against time, class {panel['name']}"
        panel["chart"] = charts.clips_chart(panel.pop("mean"), panel.pop("clips"), limits, quantity, label)
    return {"title": extra.title, "standardised": extra.standardised, "rises": extra.rises, "panels": panels}


def _limits(curves: Sequence[np.ndarray], symmetric: bool) -> tuple[float, float]:
    values = np.concatenate(curves) if curves else np.zeros(1)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if symmetric:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _numbers(
    outputs: Outputs, extras: Sequence[Extra], classes: Sequence[str], label_kind: LabelKind
) -> dict[str, Any]:
    rows = {name: rows_of(outputs["target"], name, label_kind) for name in classes}
    everyone = np.arange(len(outputs["clip"]))
    of_class = {name: own for name, own in rows.items() if len(own)} | {"": everyone}
    # A clip may lack them: classical recognisers produce heat maps for only a few clips.
    known = [np.isfinite(outputs[extra.name].astype(np.float64)) for extra in extras]
    with_some = np.any(known, axis=0) if known else np.zeros(len(everyone), bool)
    table: list[dict[str, Any]] = []
    for name, own in of_class.items():
        numbers = [scalar_mean(outputs, extra.name, own) for extra in extras]
        table.append({"name": name, "n": int(with_some[own].sum()), "of": len(own), "means": numbers})
    means = [number["mean"] for row in table for number in row["means"] if number["mean"] is not None]
    return {"titles": [extra.title for extra in extras], "format": number_format(means), "rows": table}


def gallery(
    outputs: Outputs,
    extras: Sequence[Extra],
    classes: Sequence[str],
    values: Qualities,
    show_faces: bool,
    label_kind: LabelKind,
) -> list[dict[str, Any]]:
    """Return the images of `images_shown` as data URIs, with their `values` from `extra_scores.qualities`."""
    return [
        {
            "class": str(outputs["target"][row]),
            "clip": name,
            "images": [
                {
                    "name": extra.title,
                    "uri": charts.image_uri(image),
                    **{q: float(of[row]) for q, of in values.get(extra.name, {}).items() if not np.isnan(of[row])},
                }
                for extra, image in images
            ],
        }
        for row, name, images in images_shown(outputs, extras, classes, show_faces, label_kind)
    ]


def images_shown(
    outputs: Outputs, extras: Sequence[Extra], classes: Sequence[str], show_faces: bool, label_kind: LabelKind
) -> Iterator[tuple[int, str, list[tuple[Extra, np.ndarray]]]]:
    """Yield row, name and images of the first clips, by key, of every class, if they have images."""
    several = len(np.unique(outputs["dataset"])) > 1
    rows = [int(row) for name in classes for row in rows_of(outputs["target"], name, label_kind)[:IMAGES_PER_CLASS]]
    for row in dict.fromkeys(rows):  # a clip with several labels only once
        if images := images_of(outputs, extras, row, show_faces):
            yield row, clip_name({part: outputs[part][row] for part in KEY}, several), images


def images_of(outputs: Outputs, extras: Sequence[Extra], row: int, show_faces: bool) -> list[tuple[Extra, np.ndarray]]:
    """Return the images of a clip as they are drawn: on one scale over all folds, without duplicates and unknown ones.

    If no face may be shown, only maps drawn over faces remain, in colour and without the face.
    """
    found = []
    for extra in (extra for extra in extras if show_faces or extra.over_face):
        image = outputs[extra.name][outputs["fold"][row] if extra.of == "training" else row]
        # An image that equals its reference in every clip is already shown.
        if extra.reference in outputs.arrays and same(outputs.of(extra), outputs[extra.reference]):
            continue
        if extra.neutral is not None and extra.scale:
            own, common = outputs[extra.scale][outputs["fold"][row]], outputs[extra.scale].mean()
            image = np.float32(extra.neutral) + (image - np.float32(extra.neutral)) * np.float32(own / common)
        if np.isfinite(image).all():
            if extra.over_face:
                image = charts.over_face(image, outputs[FACE][row] if show_faces else None, least=160)
            found.append((extra, image))
    return found

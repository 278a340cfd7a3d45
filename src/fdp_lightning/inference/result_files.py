"""Files of task=predict: predict.json, predictions.csv, and a folder of images for each clip."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.charts import png
from fdp_lightning.evaluation.tables.words import csv_text
from fdp_lightning.files import atomic_folder, write_atomic
from fdp_lightning.inference.explanation import displayed_image
from fdp_lightning.inference.figures import overlay, overview, timeline
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import Scan, Window
from fdp_lightning.models.attribution import HEAT

RESULT = "predict.json"
"""Written last, so a folder with it contains complete results. JSON schema: docs/prediction.schema.json."""

TABLE = "predictions.csv"


@contextmanager
def result_folder(output: Path, source: str, model: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a folder for results, which replaces `output` if the block succeeds and is removed otherwise.

    `output` must be new or empty, or contain results of the same model for the same input (both named in its `RESULT`),
    which are replaced; otherwise UserError.
    """
    _require_replaceable(output, source, model)
    place = output.resolve()  # the target of a link, which is kept
    missing = [parent for parent in place.parents if not parent.exists()]
    try:
        with atomic_folder(place, lambda _: False) as folder:
            yield folder
            _require_replaceable(output, source, model)  # another command may have written there meanwhile
            if place.exists():
                shutil.rmtree(place)
    except BaseException:
        for parent in missing:  # a failed prediction leaves no empty folders
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _require_replaceable(output: Path, source: str, model: Mapping[str, Any]) -> None:
    """Raise UserError if a folder contains anything but results of this model for this input."""
    if not (output / RESULT).is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UserError(f"{output} exists but holds no results of task=predict. Choose another predict.output")
        return
    try:
        facts = json.loads((output / RESULT).read_text(encoding="utf-8"))
        name, sha256 = facts["model"]["name"], facts["model"].get("sha256")
        if (given := facts.get("input", source)) != source:
            found = f"another input, {given}"
        elif name != model["name"]:
            found = f"another model, {name}"
        elif sha256 != model["sha256"]:
            found = f"another model of the name {name}: SHA-256 {sha256}, not {model['sha256']}"
        else:
            return
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        found = f"an unknown input and model, for its {RESULT} cannot be read"
    raise UserError(
        f"{output} contains results of {found}. They are not replaced: choose another folder, for example "
        f"predict.output={output}-2, or remove this one"
    )


def write_prediction(folder: Path, prediction: Prediction, model: Model) -> None:
    """Write the images of a clip: overview, overlay, and those among its extras."""
    for extra, _ in prediction.of_kind("image"):
        write_atomic(folder / f"{extra.name}.png", png(displayed_image(prediction, extra)))
    about = model.facts["name"], model.facts["synthetic"]
    write_atomic(folder / "overview.png", overview(prediction, *about))
    write_atomic(folder / "overlay.webp", overlay(prediction, *about, prediction.extras.get(HEAT)))


def write_scan(folder: Path, scan: Scan, model: Model) -> None:
    """Write the timeline of a scan as table and figure, and the images of the window with the most motion."""
    write_atomic(folder / "timeline.csv", _timeline_table(scan.windows, model.classes))
    figure = timeline(scan, model.classes, model.facts["name"], model.facts["synthetic"])
    write_atomic(folder / "timeline.png", figure)
    write_prediction(folder, scan.strongest, model)


def predictions_table(facts: Mapping[str, Any]) -> str:
    """Return predictions.csv from the content of predict.json; for a scan, the window with the most motion."""
    classes = facts["model"]["classes"]
    columns = ["frames", "start_s", "end_s", "motion", "face_confidence", "warnings", "error"]
    rows = [["clip", "kind", "class", *(f"prob_{name}" for name in classes), *columns]]
    for result in facts["clips"]:
        shown, is_scan = result.get("most_motion", result), "scan" in result
        confidence, seconds = shown["face"]["confidence"], shown["seconds"] or [None]
        row = [result["clip"], "scan" if is_scan else "clip", shown["class"]]
        row += [f"{shown['probabilities'][name]:.6f}" for name in classes]
        row += [result["length"], *("" if time is None else f"{time:.4f}" for time in (seconds[0], seconds[-1]))]
        row += [f"{shown['motion']:.6f}", "" if confidence is None else f"{confidence:.4f}"]
        rows.append([*row, " ".join(result["warnings"]), ""])
    for failure in facts["failed"]:
        empty = [""] * (len(columns) - 1 + len(classes))
        rows.append([failure["clip"], "failed", "", *empty, failure["error"]])
    return csv_text(rows)


def _timeline_table(windows: Sequence[Window], classes: Sequence[str]) -> str:
    """Return timeline.csv: a row per window; the class and all columns after it are empty if no face was found."""
    columns = ["start_s", "end_s", "first_frame", "last_frame", "class", *(f"prob_{name}" for name in classes)]
    rows: list[list[Any]] = [[*columns, "motion", "left", "top", "right", "bottom"]]
    for window in windows:
        row = [f"{window.start:.4f}", f"{window.end:.4f}", window.first, window.last]
        if window.probabilities is None or window.motion is None or window.face is None:
            rows.append([*row, *[""] * (len(classes) + 6)])
            continue
        values = [f"{window.probabilities[name]:.6f}" for name in classes]
        edges = [f"{edge:.1f}" for edge in window.face.box]
        rows.append([*row, window.label, *values, f"{window.motion:.6f}", *edges])
    return csv_text(rows)

"""`task=predict`: predictions of a trained model for your own videos."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fdp_lightning.console.progress import meter
from fdp_lightning.data.input_video.source import InputVideo, input_videos
from fdp_lightning.data.synthetic.film import draw_film
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.inference.figures import FALLIBLE, SYNTHETIC
from fdp_lightning.inference.model import Model, load_model
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.result_files import (
    RESULT,
    TABLE,
    predictions_table,
    result_folder,
    write_prediction,
    write_scan,
)
from fdp_lightning.inference.scan import Scan, ScanSettings
from fdp_lightning.runs.environment import environment

log = logging.getLogger("fdp_lightning")

EXAMPLE = "synthetic"  # input that is drawn on the fly; write ./synthetic for a folder of this name


def predict(config: DictConfig) -> None:
    """Predict every clip of `predict.input`, write predict.json, predictions.csv and images, and print a table.

    UserError for an invalid model or input; if only some clips cannot be predicted, the others are written first.
    """
    options = config.predict
    windows = ScanSettings(options.window, options.step, options.longest_clip)
    model = load_model(options.checkpoint, options.device)
    drawn = options.input == EXAMPLE
    source = Path(options.input)
    output = Path(options.output or Path("predictions") / (source.stem if source.is_file() else source.resolve().name))
    input_name, about = EXAMPLE if drawn else str(source.resolve()), _about(model)
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with result_folder(output, input_name, about) as folder, meter(f"Predicting {source.name}", "clips") as progress:
        if drawn:
            source = folder / "synthetic.mp4"
            draw_film(source, "surprise")
        clips = input_videos(source, options.fps, options.bits)
        for done, video in enumerate(clips, start=1):
            try:
                results.append(_one(model, video, options.mode, options.explain, windows, folder / video.name))
            except UserError as error:
                failed.append({"clip": video.name, "error": str(error)})
                if len(clips) == 1:
                    raise
            progress(done, len(clips))
        if not results:
            raise UserError(f"none of the {len(clips)} clips can be predicted:\n  " + _list(failed))
        facts = {
            "input": input_name,
            "model": about,
            "notice": FALLIBLE + (f" {SYNTHETIC}" if model.facts["synthetic"] else ""),
            "clips": results,
            "failed": failed,
            "made_with": environment(),
        }
        write_atomic(folder / TABLE, predictions_table(facts))
        write_atomic(folder / RESULT, json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    show_results(results, model.facts["name"])
    print(f"{facts['notice']}\n{output / RESULT}")
    if failed:
        raise UserError(f"{len(failed)} of {len(clips)} clips could not be predicted:\n  " + _list(failed))


def _one(
    model: Model, video: InputVideo, mode: str, explain: bool, windows: ScanSettings, folder: Path
) -> dict[str, Any]:
    if mode == "clip":
        result: Prediction | Scan = model.predict(video)
    else:
        result = (model.scan if mode == "scan" else model.look)(video, windows=windows)
    if explain:
        result = model.explained(result)
    for warning in result.warnings:
        log.warning("%s: %s", video.name, warning)
    if isinstance(result, Scan):
        write_scan(folder, result, model)
    else:
        write_prediction(folder, result, model)
    return result.facts()


def _about(model: Model) -> dict[str, Any]:
    """Return the entry `model` of predict.json, with the checksum of its file or of a checkpoint's tensors."""
    facts = model.facts
    about = {name: facts[name] for name in ("name", "synthetic", "classes", "multi_label", "training", "scores")}
    if "weights" in facts:
        return {**about, "sha256": facts["weights"]["sha256"]}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return {**about, "sha256": digest.hexdigest()}


def _list(failed: list[dict[str, str]]) -> str:
    return "\n  ".join(one["error"] if one["clip"] in one["error"] else ": ".join(one.values()) for one in failed)


def show_results(results: list[dict[str, Any]], model: str) -> None:
    """Print a table with one row per clip; for a scan, the window with the most motion."""
    table = Table(title=model, title_justify="left", box=None, pad_edge=False)
    for column in ("clip", "class", "probability", "face on frame", "warnings"):
        table.add_column(column)
    for result in results:
        shown = result.get("most_motion", result)
        highest = max(shown["probabilities"].values())
        what = f"scan: {result['windows']} windows" if "scan" in result else shown["class"] or "no action unit"
        probability = "" if "scan" in result else f"{highest:.2f}"
        face = "" if shown["face"]["confidence"] is None else str(shown["face"]["found_on_frame"])
        table.add_row(result["clip"], what, probability, face, str(len(result["warnings"]) or ""))
    Console(markup=False).print(table)

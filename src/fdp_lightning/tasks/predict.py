"""`task=predict`: what a trained model says of somebody's own footage."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fdp_lightning.console.progress import meter
from fdp_lightning.data.faces.prepare_clip import DEVICES
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.runs.environment import environment

log = logging.getLogger("fdp_lightning")

MODES = ("auto", "clip", "scan")
EXAMPLE = "synthetic"
"""The input that is drawn for the occasion; a folder of one's own that is called so is ./synthetic."""


def predict(config: DictConfig) -> None:
    """Predict every clip of `predict.input`, write predict.json, predictions.csv and pictures, and print a table.

    Raises:
        UserError: of the options, the model or the footage; of several clips those that can be predicted are written
            all the same.
    """
    options = config.predict
    if options.input is None:
        raise UserError("predict.input is missing: a video file, a folder of frames, a folder of such, or 'synthetic'")
    if options.mode not in MODES:
        raise UserError(f"predict.mode is '{options.mode}'; expected one of {', '.join(MODES)}")
    if options.fps is not None and not options.fps > 0:
        raise UserError(f"predict.fps is {options.fps}; expected the frames per second, a number above 0")
    if options.device not in DEVICES:
        raise UserError(f"predict.device is '{options.device}'; expected one of {', '.join(DEVICES)}")
    # torch and FFmpeg: only now that there is something to do.
    from fdp_lightning.data.input_video.source import footages
    from fdp_lightning.inference.example import draw_example
    from fdp_lightning.inference.figures import FALLIBLE, SYNTHETIC
    from fdp_lightning.inference.model import load_model
    from fdp_lightning.inference.result_files import RESULT, TABLE, predictions_table, result_folder
    from fdp_lightning.inference.scan import ScanSettings

    windows = ScanSettings(options.window, options.step, options.longest_clip)
    model = load_model(options.checkpoint, options.device)
    drawn = options.input == EXAMPLE
    source = Path(options.input)
    output = Path(options.output or Path("predictions") / (source.stem if source.is_file() else source.resolve().name))
    named, about = EXAMPLE if drawn else str(source.resolve()), _about(model)
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with result_folder(output, named, about) as folder, meter(f"Predicting {source.name}", "clips") as progress:
        clips = footages(draw_example(folder) if drawn else source, options.fps)
        for done, footage in enumerate(clips, start=1):
            try:
                results.append(_one(model, footage, options.mode, windows, folder / footage.name))
            except UserError as error:
                failed.append({"clip": footage.name, "error": str(error)})
                if len(clips) == 1:
                    raise
            progress(done, len(clips))
        if not results:
            raise UserError(f"none of the {len(clips)} clips can be predicted:\n  " + _list(failed))
        facts = {
            "input": named,
            "model": about,
            "notice": FALLIBLE + (f" {SYNTHETIC}" if model.facts["synthetic"] else ""),
            "clips": results,
            "failed": failed,
            "made_with": environment(),
        }
        write_atomic(folder / TABLE, predictions_table(facts))
        write_atomic(folder / RESULT, json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    Console().print(_table(results, model.facts["name"]))
    print(f"{facts['notice']}\n{output / RESULT}")
    if failed:
        raise UserError(f"{len(failed)} of {len(clips)} clips could not be predicted:\n  " + _list(failed))


def _one(model: Any, footage: Any, mode: str, windows: Any, folder: Path) -> dict[str, Any]:
    from fdp_lightning.inference.result_files import write_prediction, write_scan
    from fdp_lightning.inference.scan import Scan

    if mode == "clip":
        result = model.predict(footage)
    else:
        result = (model.scan if mode == "scan" else model.look)(footage, windows=windows)
    for warning in result.warnings:
        log.warning("%s: %s", footage.name, warning)
    if isinstance(result, Scan):
        write_scan(folder, result, model)
    else:
        write_prediction(folder, result, model)
    return result.facts()


def _about(model: Any) -> dict[str, Any]:
    """What predict.json says of the model; the checksum is of a model's file, or of a checkpoint's tensors."""
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


def _table(results: list[dict[str, Any]], model: str) -> Table:
    """A row per clip; of a scan the window in which most moved."""
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
    return table

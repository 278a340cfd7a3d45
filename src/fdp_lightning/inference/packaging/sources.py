"""Sources of models: a model folder, a checkpoint of a finished fold, or the bundled model."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdp_lightning.data.faces.alignment import TEMPLATE
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import FIT
from fdp_lightning.foreign import require_plain
from fdp_lightning.inference.packaging.model_file import EXPECTED, FACTS, MOST_WEIGHTS, WEIGHTS, read_model
from fdp_lightning.inference.packaging.scores import loso_scores
from fdp_lightning.runs.seal import sealed

SHIPPED = Path(__file__).with_name("synthetic")
"""The bundled model, trained by `+experiment=synthetic_loso task=fit`."""

SYNTHETIC = "synthetic"
"""Name of the bundled model wherever a model is expected; write ./synthetic for a folder of this name."""

_CHECKPOINT = Path("checkpoints/last.ckpt")


def read_source(path: Path | str, licence: str | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the facts and the network's tensors of a model.

    `path` is a model folder or a file in it, a finished fold, its checkpoint, or `SYNTHETIC`. `licence` replaces that
    of the file; for a checkpoint see `facts_of`. UserError if there is no model, or it is damaged, edited, or of
    another version.
    """
    place = SHIPPED if path == SYNTHETIC else Path(path)
    if place.is_dir() and (place / _CHECKPOINT).is_file():
        place = place / _CHECKPOINT
    if place.name in (FACTS, WEIGHTS):
        place = place.parent
    if place.is_dir():
        facts, state = read_model(place)
        return {**facts, "licence": licence or facts["licence"]}, state
    if not place.exists():
        raise UserError(f"{place}: there is no such file or folder. {EXPECTED}, or its checkpoints/last.ckpt")
    checkpoint = read_checkpoint(place)
    made = checkpoint["fdp_lightning"]
    try:
        # …/<run>/folds/<fold>/checkpoints/last.ckpt, or <run>/fit/folds/all/… of a fit, from any working folder
        whole = place.resolve() if ".." in place.parts else place.absolute()
        if whole.parts[-4:-2] == ("folds", made["fold"]):
            run = whole.parents[3]
            scores = loso_scores(run.parent if (run / FIT).is_file() else run, made["fingerprint"])
        else:
            scores = None, "The checkpoint was not in its run folder when this file was written."
        facts = facts_of(checkpoint, licence, *scores)
        return facts, network_of(checkpoint["state_dict"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{place} is not a checkpoint of this version of fdp_lightning ({error!r:.200}). Run its fold again. "
            f"{EXPECTED}"
        ) from error


def folder_of_source(path: Path | str) -> Path:
    """Return the folder of a model, fold or file, into which files made from this source are written."""
    place = Path("." if path == SYNTHETIC else path)
    if place.is_dir():
        return place
    folder = place.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a fold's checkpoint without running pickled code; for a sealed fold the checksum is verified.

    UserError if it is not a checkpoint, or it has been changed.
    """
    fold = path.absolute().parent.parent
    if (fold / "fold.json").is_file() and path.absolute() == fold / _CHECKPOINT:
        sealed(fold)
    require_plain(path, MOST_WEIGHTS)
    try:
        checkpoint: Any = torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # of pickle, zip or torch, which recommends reading it without this protection
        raise UserError(
            f"{path} cannot be read as a checkpoint: it is damaged, or contains more than tensors and plain values. "
            f"{EXPECTED}"
        ) from error
    made = checkpoint.get("fdp_lightning") if isinstance(checkpoint, dict) else None
    if not isinstance(made, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise UserError(f"{path} is not a checkpoint of fdp_lightning: it does not state how it was made. {EXPECTED}")
    return checkpoint  # type: ignore[no-any-return]


_NO_LICENCE = (
    "None is granted here. The weights were derived from {}; its licence agreement states whether, with whom and for "
    "what purpose they may be shared."
)
_OBJECTIVE = "objective."


def facts_of(
    checkpoint: Mapping[str, Any], licence: str | None, scores: Mapping[str, Any] | None, no_scores: str
) -> dict[str, Any]:
    """Return the facts of model.json (see README.md here) of the checkpoint of a finished fold or fit.

    Without a `licence`, the licence is a statement that holds whatever the owners' terms are. `scores`, or the reason
    for missing ones, come from `loso_scores`. UserError if the model cannot predict a single clip.
    """
    made, state = checkpoint["fdp_lightning"], checkpoint["state_dict"]
    config = made["config"]
    data, protocol = config["data"], config["protocol"]
    taken = config.get("input") or {"kind": "frames"}  # old checkpoints have no other input
    if data["normalisation"] != "training":
        raise UserError(
            f"data.normalisation={data['normalisation']}: each set of clips is normalised separately, so no single "
            "clip can be predicted. Expected a model trained with data.normalisation=training"
        )
    if taken["kind"] == "maps":
        raise UserError(
            "input=maps: the recogniser was trained on precomputed third-party maps, which cannot be computed from a "
            "video. Expected a model with input=apex_flow, which computes its flow itself"
        )
    synthetic = data["generate"] is not None
    is_fit = not made["subjects"]["test"]
    model = made.get("model") or config["model"].get("name") or "a model"  # old checkpoints contain no name
    return {
        "name": f"{model} on {protocol['name']}, " + ("all subjects" if is_fit else f"without {made['fold']}"),
        "synthetic": synthetic,
        "licence": licence or ("Apache-2.0" if synthetic else _NO_LICENCE.format(data["name"])),
        "classes": list(made["classes"]),
        "multi_label": made["multi_label"],
        "input": {
            "frames": data["sampling"]["frames"],
            "channels": 3 if data["faces"]["colour"] == "rgb" else 1,
            "size": data["faces"]["size"],
            "values": "0 to 1, not normalised",
        },
        "normalisation": {"mean": made["mean"], "std": made["std"]},
        "alignment": {
            **{name: value for name, value in data["faces"].items() if name != "bits"},  # those of one dataset's frames
            "template": TEMPLATE.tolist(),
        },
        "sampling": data["sampling"],
        "fitted": {
            name.removeprefix(_OBJECTIVE): float(value)
            for name, value in state.items()
            if name.startswith(_OBJECTIVE) and value.ndim == 0
        },
        **({"taken": {**taken, "divisors": made["divisors"]}} if taken["kind"] != "frames" else {}),
        "configuration": {
            "model": _without_places(config["model"]),
            "data": {name: data[name] for name in ("name", "batch_size", "augmentation")},
            "protocol": {name: protocol[name] for name in ("name", "dataset", "column", "split")},
            **{name: config[name] for name in ("trainer", "compute", "seed")},
        },
        "training": {
            "task": "fit" if is_fit else "fold",
            "fold": made["fold"],
            "dataset": data["name"],
            "protocol": protocol["name"],
            "subjects": made["subjects"]["train"],
            "held_out": made["subjects"]["test"],
            "clips": made["clips"],
            "class_counts": dict(zip(made["classes"], made["class_counts"], strict=True)),
            "model": model,
            **({"parameters": made["parameters"]} if "parameters" in made else {}),
            "epochs": checkpoint["epoch"],
            "steps": checkpoint["global_step"],
            "seed": config["seed"],
            "fingerprint": made["fingerprint"],
            "made_with": made["made_with"],
            "exported": date.today().isoformat(),
        },
        "scores": None if scores is None else dict(scores),
        **({"no_scores": no_scores} if scores is None else {}),
    }


def network_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}


def _without_places(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the network with only the file name of its initial weights."""
    named = dict(model)
    if isinstance(model.get("pretrained"), str):
        named["pretrained"] = Path(model["pretrained"]).name
    if "backbone" in model:
        named["backbone"] = _without_places(model["backbone"])
    return named

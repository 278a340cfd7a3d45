"""The facts of a model file from the checkpoint of a training, without any paths of the machine."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from torch import Tensor

from fdp_lightning.data.faces.alignment import TEMPLATE
from fdp_lightning.errors import UserError

UNNAMED = "a model"
"""Name of a model whose checkpoint does not contain one, because it was made before models had names."""

_NO_LICENCE = (
    "None is granted here. The weights were made from {}; its licence agreement says whether, with whom and for what "
    "they may be shared."
)
_OBJECTIVE = "objective."


def facts_of(
    checkpoint: Mapping[str, Any], licence: str | None, scores: Mapping[str, Any] | None, no_scores: str
) -> dict[str, Any]:
    """Return the facts of model.json (see README.md here).

    Args:
        checkpoint: checkpoint of a finished fold or fit.
        licence: licence of the model file; None: a statement that holds whatever the owners' terms are.
        scores: scores returned by `loso_scores`.
        no_scores: reason for missing scores, returned by `loso_scores`.

    Raises:
        UserError: the model cannot predict a single clip.
    """
    made, state = checkpoint["fdp_lightning"], checkpoint["state_dict"]
    config = made["config"]
    data, protocol = config["data"], config["protocol"]
    taken = config.get("input") or {"kind": "frames"}  # old checkpoints have no other input
    if data["normalisation"] != "training":
        raise UserError(
            f"data.normalisation={data['normalisation']}: each set of clips is normalised by itself, so no single clip "
            "can be predicted. Expected a model trained with data.normalisation=training"
        )
    if taken["kind"] == "maps":
        raise UserError(
            "input=maps: the recogniser was trained on maps that others computed, and no video becomes such maps. "
            "Expected a model of input=apex_flow, which computes its flow itself"
        )
    synthetic = data["generate"] is not None
    is_fit = not made["subjects"]["test"]
    model = made.get("model") or config["model"].get("name") or UNNAMED
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
    """Return the network's tensors in the state dict of a training."""
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}


def _without_places(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the network without the path of its initial weights."""
    named = dict(model)
    if isinstance(model.get("pretrained"), str):
        named["pretrained"] = Path(model["pretrained"]).name
    if "backbone" in model:
        named["backbone"] = _without_places(model["backbone"])
    return named

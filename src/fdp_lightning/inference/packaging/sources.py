"""Sources of models: a model folder, a finished fold, or this package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import FIT
from fdp_lightning.foreign import require_plain
from fdp_lightning.inference.packaging.model_file import EXPECTED, FACTS, MOST_WEIGHTS, WEIGHTS, read_model
from fdp_lightning.inference.packaging.provenance import facts_of, network_of
from fdp_lightning.inference.packaging.scores import loso_scores
from fdp_lightning.runs.seal import sealed

SHIPPED = Path(__file__).with_name("synthetic")
"""The model included in this package, trained by `+experiment=synthetic_loso task=fit`."""

SYNTHETIC = "synthetic"
"""Name of the included model wherever a model is expected; a folder with this name is given as ./synthetic."""

_CHECKPOINT = Path("checkpoints/last.ckpt")


def read_source(path: Path | str, licence: str | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the facts and the network's tensors of a model.

    Args:
        path: model folder or a file in it, finished fold, its checkpoint, or `SYNTHETIC`.
        licence: licence of the model; None: as stated in its file; for a checkpoint see `facts_of`.

    Raises:
        UserError: there is no model, or it is damaged, edited, or of another version.
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
    try:
        facts = facts_of(checkpoint, licence, *scores_beside(place, checkpoint))
        return facts, network_of(checkpoint["state_dict"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{place} is no checkpoint of this version of fdp_lightning ({error!r:.200}). {EXPECTED}"
        ) from error


def beside(path: Path | str) -> Path:
    """Return the folder of a model or fold, or that of a file: the place of what is made of a source."""
    place = Path("." if path == SYNTHETIC else path)
    if path == SYNTHETIC or place.is_dir():
        return place
    return place.parents[1] if place.parent.name == "checkpoints" else place.parent


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a fold's checkpoint without running pickled code; for a sealed fold the checksum is verified.

    Raises:
        UserError: it is not a checkpoint, or it has been changed.
    """
    fold = path.parents[1] if len(path.parents) > 1 else path.parent
    if (fold / "fold.json").is_file() and path == fold / _CHECKPOINT:
        sealed(fold)
    require_plain(path, MOST_WEIGHTS)
    try:
        checkpoint: Any = torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # of pickle, zip or torch, which advises to read it without this safety
        raise UserError(
            f"{path} cannot be read as a checkpoint: damaged, or more than tensors and plain values. {EXPECTED}"
        ) from error
    made = checkpoint.get("fdp_lightning") if isinstance(checkpoint, dict) else None
    if not isinstance(made, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise UserError(f"{path} is no checkpoint of fdp_lightning: it does not state how it was made. {EXPECTED}")
    if lacking := sorted({"config", "classes", "class_counts", "fingerprint", "mean", "std"} - set(made)):
        raise UserError(
            f"{path} is of another version of fdp_lightning: it does not contain {', '.join(lacking)}. "
            "Run its fold again"
        )
    return checkpoint  # type: ignore[no-any-return]


def scores_beside(path: Path, checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the pooled scores of a checkpoint's run, if they have its fingerprint; else None, and the reason.

    Args:
        path: …/<run>/folds/<fold>/checkpoints/last.ckpt, or <run>/fit/folds/all/… for a fit.
        checkpoint: content of the checkpoint.
    """
    if path.parts[-4:-2] != ("folds", checkpoint["fdp_lightning"]["fold"]):
        return None, "The checkpoint was not in its run folder when this file was written."
    run = path.parents[3]
    return loso_scores(run.parent if (run / FIT).is_file() else run, checkpoint["fdp_lightning"]["fingerprint"])

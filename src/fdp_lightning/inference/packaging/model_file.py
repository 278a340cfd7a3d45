"""A trained model as a folder: model.safetensors, model.json, and its card, README.md.

Nothing in it is executed: weights are safetensors, and only classes of `fdp_lightning.models` are built from its
configuration. Checksums detect a damaged or edited file; they are not a signature.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fdp_lightning.errors import UserError
from fdp_lightning.files import checksummed, write_atomic
from fdp_lightning.foreign import read_plain
from fdp_lightning.inference.packaging.card import model_card
from fdp_lightning.inference.packaging.schema import check_facts
from fdp_lightning.inference.packaging.scores import check_scores

log = logging.getLogger("fdp_lightning")

FORMAT = 3  # increased when the file's format changes, so that older versions of this package refuse it and say so

WEIGHTS, FACTS, CARD = "model.safetensors", "model.json", "README.md"


def write_model(folder: Path, facts: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Write a model folder, or replace an older one; it is complete once model.json, the last file, is written.

    `facts` are the content of model.json without `format`, `weights` and checksums, `state` the network's tensors.
    """
    data = save({name: value.contiguous() for name, value in state.items()})
    weights = {
        "file": WEIGHTS,
        "sha256": hashlib.sha256(data).hexdigest(),
        "tensors": len(state),
        "numbers": sum(value.numel() for value in state.values()),
    }
    whole = {"format": FORMAT, **facts, "weights": weights}
    card = model_card(whole).encode()
    whole["card"] = hashlib.sha256(card).hexdigest()
    check_facts(whole, str(folder / FACTS))  # a file that could not be read is not written
    (folder / FACTS).unlink(missing_ok=True)
    write_atomic(folder / WEIGHTS, data)
    write_atomic(folder / CARD, card)
    write_atomic(folder / FACTS, checksummed(whole))


def read_model(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the facts and the network's weights of a model folder.

    UserError if a file is missing, damaged, edited, or of another version.
    """
    facts = read_facts(folder)
    card, path = folder / CARD, folder / WEIGHTS
    if card.exists() and hashlib.sha256(read_plain(card)).hexdigest() != facts["card"]:
        log.warning("%s is not the card that was written with the model; only %s is checked", card, FACTS)
    try:
        data = read_plain(path, MOST_WEIGHTS)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); a model is {FACTS} and {WEIGHTS}") from error
    if hashlib.sha256(data).hexdigest() != facts["weights"].get("sha256"):
        raise UserError(f"{path} has changed since it was written (checksum differs). Copy the model again.")
    try:
        state = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from error
    numbers = len(state), sum(value.numel() for value in state.values())
    if numbers != (facts["weights"]["tensors"], facts["weights"]["numbers"]):
        raise UserError(f"{path} holds {numbers[0]} tensors of {numbers[1]} numbers, but {FACTS} states others")
    return facts, state


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the content of a model folder's model.json; UserError if it is missing, changed, or of another version."""
    path = folder / FACTS
    try:
        text = read_plain(path).decode("utf-8")
        facts: dict[str, Any] = json.loads(text)
        form = facts["format"]
        facts.pop("checksum", None)
        written = checksummed(facts)  # ValueError for NaN, which is not JSON
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a model: {FACTS} is missing. {EXPECTED}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as the description of a model ({error!r}). {EXPECTED}") from error
    if form != FORMAT:
        raise UserError(
            f"{path} is of format {form!r}; this version of fdp_lightning reads format {FORMAT}. Use the version that "
            "wrote it, or write it again from its checkpoint with this one: task=export"
        )
    if written != text:
        raise UserError(f"{path} has changed since it was written (checksum differs). Copy the model again.")
    check_facts(facts, str(path))
    check_scores(facts, str(path))
    return facts


MOST_WEIGHTS = 1 << 33  # size limit of a weight file, bytes

EXPECTED = "Expected a folder that task=fit or task=export wrote, or a finished fold of a run"

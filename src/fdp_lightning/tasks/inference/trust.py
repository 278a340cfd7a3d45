"""What of a model file may be built: it comes from elsewhere, and names classes and arguments."""

import math
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fdp_lightning.errors import UserError

_CLASS = re.compile(r"(fdp_lightning\.models(?:\.[a-z_]+)+)\.([A-Z]\w*)")
_FETCHING = ("checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments of `timm.create_model` that read files or ask the network."""


def trusted(model: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The configuration of a network, to be built without running, reading or fetching anything but our own classes.

    Args:
        model: `configuration.model` of a model file or checkpoint.
        source: its name, for messages.

    Returns:
        The same, not to start from any other weights.

    Raises:
        UserError: it names something else than a class of `fdp_lightning.models`, or asks for files.
    """
    for where, node in _parts(model):
        if "_target_" in node and where not in _BUILT:
            raise UserError(
                f"{source} names a class at configuration.model.{where}; expected one in the place of a part alone: "
                f"{', '.join(part for part in _BUILT if part)}"
            )
    for key, value in _entries(model):
        if key == "_target_" and not _is_ours(value):
            raise UserError(
                f"{source} names {value!r} as a part of the network; only classes of fdp_lightning.models are built "
                "from a file. A model of one's own class is used from Python, by its own code."
            )
        if isinstance(value, str) and "${" in value:
            raise UserError(f"{source} holds the interpolation {value!r}; expected plain values")
        if key == "options" and isinstance(value, Mapping) and (asked := sorted(set(_FETCHING) & set(value))):
            raise UserError(f"{source} asks timm for files ({', '.join(asked)}); its weights lie in the model file")
    backbone = dict(model["backbone"])
    if "pretrained" in backbone:
        backbone["pretrained"] = False
    return {**model, "backbone": backbone}


_BUILT = ("", "backbone", "scorer", "mer_head", "dic_head", "objective")
"""Where a configuration of a network names classes: `instantiate` would build any other place too."""


def plain(facts: Mapping[str, Any], source: str) -> None:
    """Refuse facts that are handed on to the network, unless they are plain values.

    Args:
        facts: of a model file or checkpoint.
        source: its name, for messages.

    Raises:
        UserError: mean or deviation is no finite number, or a fact about frames is a mapping or an interpolation.
    """
    for name in ("mean", "std"):
        value = facts["normalisation"][name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{source}: normalisation.{name} is {value!r}; expected a finite number")
    for part in ("alignment", "sampling"):
        for key, value in facts[part].items():
            if key == "template":  # read as an array of numbers
                continue
            if isinstance(value, Mapping | list | tuple) or (isinstance(value, str) and "${" in value):
                raise UserError(f"{source}: {part}.{key} is {value!r}; expected a number, a word, true, false or null")


def _parts(node: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All mappings within a configuration, each with its path."""
    if isinstance(node, Mapping):
        yield where, node
    entries = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in entries:
        yield from _parts(value, f"{where}.{key}" if where else str(key))


def _entries(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield str(key), value
            yield from _entries(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield "", value
            yield from _entries(value)


def _is_ours(target: Any) -> bool:
    """Whether this is a class defined in one of our modules, and no name that a module of ours happens to import."""
    match = _CLASS.fullmatch(target) if isinstance(target, str) else None
    try:
        if match is None or find_spec(match[1]) is None:
            return False
    except ModuleNotFoundError:  # of a module that is no package
        return False
    found = vars(import_module(match[1])).get(match[2])
    return isinstance(found, type) and found.__module__ == match[1]

"""Run folders, the configurations recorded in them, and the names of trained models.

`runs/<experiment>/<variant>/seed-<s>/` depends only on the command, so the same command finds its own folds. Changes
that affect results but not the path (an edited YAML or source file) change the fingerprint; folds with another
fingerprint are moved aside (seal.py), never mixed in and never deleted.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.foreign import read_yaml

_NOT_IN_NAME = re.compile(
    r"^(experiment|study|space|debug|task|seed|fold|runs?|data\.(root|store|workers|loader_workers|show_faces|adapter\.labels)|logger.*|"
    r"hydra[./].*|(report|compare|tune|benchmark|fit|export|predict|demo)\..*|"
    r"loso\.(workers|checkpoint_seconds|quick_model))$"
)
_LONGEST_NAME, _MOST_BYTES = 120, 240  # characters and bytes of a variant's name: file systems allow 255 bytes


def run_folder(config: DictConfig) -> Path:
    """Return the folder of this command's run; `run=<path>` overrides it."""
    if config.run is not None:
        return Path(config.run)
    hydra = HydraConfig.get()
    return folder_of(config, hydra.runtime.choices, hydra.overrides.task)


def folder_of(
    config: DictConfig, choices: Mapping[str, str | None], overrides: Iterable[str], search: str = ""
) -> Path:
    """Return the run folder of a command, from its overrides and the options that Hydra chose for each group.

    `search` is the name of a search, if the folder belongs to one.
    """
    experiment = experiment_name(config, choices)
    variant = variant_name(overrides)
    if search:
        variant = search if variant == "default" else f"{search}__{variant}"
    if choices.get("debug") not in (None, "true"):
        variant = f"debug-{choices['debug']}__{variant}"
    return Path(str(config.runs)) / experiment / variant / f"seed-{config.seed}"


def experiment_name(config: DictConfig, choices: Mapping[str, str | None] = MappingProxyType({})) -> str:
    """Return the experiment of a command or else its protocol, prefixed with the dataset unless this names it."""
    data, protocol = str(config.data.name), str(config.protocol.name)
    plain = protocol if f"{protocol}_".startswith(f"{data}_") else f"{data}_{protocol}"
    return choices.get("experiment") or plain


def variant_name(overrides: Iterable[str]) -> str:
    """Return the overrides that distinguish this run from its experiment, joined to a folder name."""
    given = dict(override.lstrip("+~").partition("=")[::2] for override in overrides)  # of a repeated key the last
    # Without an experiment, dataset and protocol name the parent folder.
    left_out = () if "experiment" in given else ("data", "protocol")
    parts = [f"{key}-{value}" for key, value in given.items() if key not in left_out and not _NOT_IN_NAME.match(key)]
    # No character that needs quoting on Hydra's command line: the path is an argument of task=report.
    name = re.sub(r"[^\w.+-]", "_", "__".join(sorted(parts))) or "default"
    kept = name[:_LONGEST_NAME]
    if len(kept.encode()) > _MOST_BYTES:  # a character may take several
        kept = kept.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return name if kept == name else f"{kept}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def recorded_config(run: Path) -> DictConfig:
    """Read the recorded configuration of a run as data, without resolving or building anything.

    UserError if it is missing, not a mapping of plain values, or lacks entries that a report needs. Entries that may be
    null become null if an older version did not write them.
    """
    path = run / "config.yaml"
    again = "Repeat the run's command to write it again."
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. {again}") from error
    for key, kinds in _READ.items():  # sections come before their entries
        section, _, name = key.rpartition(".")
        value = (content[section] if section else content).setdefault(name, None)
        if not isinstance(value, kinds):
            raise UserError(f"{path}: {key} is {value!r:.80}; the file was altered. {again}")
    if not all(isinstance(name, str) for name in content["protocol"]["classes"]):
        raise UserError(f"{path}: protocol.classes holds names that are not text. {again}")
    return OmegaConf.create(content)


_READ: Mapping[str, Any] = {
    "seed": int, "data": dict, "data.name": str, "data.generate": dict | None, "data.show_faces": bool,
    "data.normalisation": str, "protocol": dict, "protocol.name": str, "protocol.column": str,
    "protocol.classes": dict | list, "model": dict, "trainer": dict, "logger": dict | None, "report": dict,
    "report.title": str | None, "report.headline": str | None, "report.show_faces": bool | None,
    "report.upload_faces": bool | None, "selection": dict, "selection.inner_subjects": int,
}  # fmt: skip
"""Entries of a run's configuration that reports read, with their types."""


_NAMED_AT_MOST = 3
_MISSING: Any = object()


def model_name(config: DictConfig) -> str:
    """Return `fdp_tiny`, or `fdp_tiny with pooling=mean` if overrides or an experiment changed the option's values.

    Only changes to the network, its losses and its training are named; the budget is reported separately.
    """
    model: Any = OmegaConf.to_container(config.model, resolve=True)
    name = str(model.get("name", "unnamed"))
    try:
        plain = _plain(name)
    except (HydraException, OmegaConfBaseException):  # a user's own model, without a file in conf/model
        return name
    changes = list(_changes(plain, model))
    if not changes:
        return name
    more = [f"{len(changes) - _NAMED_AT_MOST} more"] if len(changes) > _NAMED_AT_MOST else []
    return f"{name} with {', '.join([*changes[:_NAMED_AT_MOST], *more])}"


@cache
def _plain(name: str) -> Mapping[str, Any]:
    plain: Any = OmegaConf.to_container(configuration(f"model={name}").model, resolve=True)
    return plain  # type: ignore[no-any-return]


def _changes(plain: Mapping[str, Any], model: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield `key=value` for each difference; for a component of another class only the class, without its options."""
    for key in dict.fromkeys([*plain, *model]):
        before, now = plain.get(key, _MISSING), model.get(key, _MISSING)
        name = f"{path}{key}"
        if before == now or name in ("name", "optimizer.steps"):
            continue
        if now is _MISSING:
            yield f"no {name}"
        elif isinstance(now, Mapping) and isinstance(before, Mapping):
            if now.get("_target_") != before.get("_target_"):
                yield f"{name}={_class(now)}"
            else:
                yield from _changes(before, now, f"{name}.")
        else:
            yield f"{name}={_class(now) if isinstance(now, Mapping) else now}"


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", "other")).rsplit(".", 1)[-1]

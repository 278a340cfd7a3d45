"""Where a run lives, and how its own finished folds are known again.

`runs/<experiment>/<variant>/seed-<s>/` follows from the command alone, so the same command finds its own folds. What
changes a result but not the path (a YAML file or the source was edited) shows in the fingerprint; folds of another
fingerprint are moved aside, never mixed in and never deleted.
"""

import ast
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.clips import KEY
from fdp_lightning.errors import UserError
from fdp_lightning.files import sha256, write_atomic

_NOT_IN_NAME = re.compile(
    r"^(experiment|study|space|debug|task|seed|fold|runs?|data\.(root|store|workers)|data|protocol|logger.*|"
    r"hydra[./].*|(report|compare|tune|benchmark|fit|export|predict|demo)\..*|"
    r"loso\.(workers|checkpoint_seconds|engine|stack))$"
)
_DATA = ("sampling", "augmentation", "normalisation", "batch_size", "linear_baselines")
"""The options of a dataset that decide what a fold writes and are not in the name of its store."""
_PACKAGE = Path(__file__).resolve().parents[1]
_LONGEST_NAME = 120


def run_folder(config: DictConfig) -> Path:
    """The folder of this command's run; `run=<path>` overrides it."""
    if config.run is not None:
        return Path(config.run)
    hydra = HydraConfig.get()
    return folder_of(config, hydra.runtime.choices, hydra.overrides.task)


def folder_of(
    config: DictConfig, choices: Mapping[str, str | None], overrides: Iterable[str], search: str = ""
) -> Path:
    """The folder of the run of a command.

    Args:
        config: of the command.
        choices: group → its option, as Hydra resolved them.
        overrides: of the command.
        search: the name of a search, whose folder this is to be.
    """
    experiment = experiment_name(config, choices)
    variant = variant_name(overrides)
    if search:
        variant = search if variant == "default" else f"{search}__{variant}"
    if choices.get("debug") not in (None, "true"):
        variant = f"debug-{choices['debug']}__{variant}"
    return Path(str(config.runs)) / experiment / variant / f"seed-{config.seed}"


def experiment_name(config: DictConfig, choices: Mapping[str, str | None] = MappingProxyType({})) -> str:
    """The experiment of a command; without one its protocol, with the dataset where the protocol does not say it."""
    data, protocol = str(config.data.name), str(config.protocol.name)
    plain = protocol if f"{protocol}_".startswith(f"{data}_") else f"{data}_{protocol}"
    return choices.get("experiment") or plain


def variant_name(overrides: Iterable[str]) -> str:
    """The overrides that make this run differ from its experiment, as one folder name."""
    given = dict(override.lstrip("+~").partition("=")[::2] for override in overrides)  # of a key given twice the last
    parts = [f"{key}-{value}" for key, value in given.items() if not _NOT_IN_NAME.match(key)]
    # No character that Hydra's command line would want quoted: the path is an argument of task=report.
    name = re.sub(r"[^\w.+-]", "_", "__".join(sorted(parts))) or "default"
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def fingerprint(config: DictConfig, store: Path, clips: pd.DataFrame) -> str:
    """Twelve hexadecimal digits over all that decides the predictions: settings, clips, source code.

    Args:
        config: the configuration.
        store: the clip store; its name stands for its frames.
        clips: the protocol's clip table, which a corrected or edited annotation changes.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    data = {k: v for k, v in plain["data"].items() if k in _DATA}
    decisive = {
        "seed": plain["seed"],
        "data": data,
        "protocol": {k: v for k, v in plain["protocol"].items() if k not in ("expected", "source", "strict")},
        "model": {k: v for k, v in plain["model"].items() if k != "name"},
        "trainer": plain["trainer"],
        "compute": plain["compute"],
        "cpu_threads": plain["loso"]["cpu_threads"],
        "selection": plain["selection"],
        "store": store.name,
        "clips": clips[[*KEY, "apex", "split", "target"]].to_csv(index=False),
        "weights": _start_weights(plain["model"]["backbone"].get("pretrained")),
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    digest.update(_source().encode())
    return digest.hexdigest()[:12]


def _start_weights(pretrained: object) -> str:
    """The checksum of a file of weights to start from; another file may come to lie under its name."""
    return sha256(Path(pretrained)) if isinstance(pretrained, str) and Path(pretrained).is_file() else ""


@cache
def _source() -> str:
    """The program of the rooms that make predictions, as a checksum; comments and formatting do not count."""
    digest = hashlib.sha256()
    for room in ("models", "training", "data"):
        for source in sorted((_PACKAGE / room).rglob("*.py")):
            if "synthetic" not in source.parts:
                digest.update(ast.dump(ast.parse(source.read_text())).encode())
    return digest.hexdigest()


def seal(fold: Path, facts: dict[str, Any]) -> None:
    """Write fold.json, the mark of a finished fold, with the checksums of its files."""
    files = sorted(p for p in fold.rglob("*") if p.is_file() and p.name not in ("fold.json", "log.txt"))
    checksums = {str(p.relative_to(fold)): sha256(p) for p in files if "log" not in p.relative_to(fold).parts[:-1]}
    write_atomic(fold / "fold.json", json.dumps({**facts, "checksums": checksums}, indent=1))


def finished(fold: Path, expected_fingerprint: str) -> tuple[bool, str]:
    """Whether a fold can be used as it is, and if not, why ('' when there is none yet)."""
    if not fold.exists():
        return False, ""
    try:
        facts = sealed(fold)
    except UserError as error:
        return False, str(error).split("\n")[0]
    if facts["fingerprint"] != expected_fingerprint:
        return False, "it was made with other settings, clips or source code"
    return True, ""


def sealed(fold: Path) -> dict[str, Any]:
    """The facts of a finished fold, if all its files are as they were written.

    Raises:
        UserError: naming what is missing or changed.
    """
    cure = "Give the command of the run again (task=loso): finished folds are kept, this one is made anew."
    try:
        facts: dict[str, Any] = json.loads((fold / "fold.json").read_text())
        for name, checksum in facts["checksums"].items():
            if sha256(fold / name) != checksum:
                raise UserError(f"{fold / name} is not what was written (checksum differs)\n  {cure}")
        if not {"fingerprint", "subjects"} <= set(facts):
            raise KeyError("subjects")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{fold} is not whole ({error!r})\n  {cure}") from error
    return facts


def move_aside(run: Path, fold: Path) -> Path:
    """Move a fold that cannot be used out of the way, keeping it."""
    place = run / "superseded"
    place.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in place.glob(f"{fold.name}-*")) + 1
    return Path(shutil.move(fold, place / f"{fold.name}-{number}"))

"""The origin of a run, read from its folder: when, how long, on which machine, from which source."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from fdp_lightning import foreign
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.folds import fold_facts


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run; {} if the file is not there.

    Raises:
        UserError: it is something else.
    """
    try:
        content = foreign.read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: expected a JSON object")
    except FileNotFoundError:
        return {}
    except UserError as error:
        raise UserError(f"{error}. The run's command writes it again (task=loso)") from error
    return content


def read_text(path: Path) -> str:
    """Read a file of a run; '' if it is not there."""
    return foreign.read_plain(path).decode("utf-8", errors="replace") if path.exists() else ""


def command_of(path: Path) -> str:
    """Return the entry `command` of the configuration, or nothing."""
    try:
        return str(foreign.read_yaml(path).get("command") or "")
    except (UserError, FileNotFoundError):  # the page shows the text either way
        return ""


def made_with(run: Path, environment: Mapping[str, Any]) -> dict[str, str]:
    """Say in a few facts when, how long and on what a run was made; what is not known is left out.

    `environment` is of environment.json; the folds' fold.json hold their `seconds`.
    """
    known: dict[str, str] = {}
    if started := str(environment.get("started") or ""):
        known["started"] = _moment(started)
    if isinstance(seconds := environment.get("seconds"), int | float):
        known["duration"] = duration(seconds)
    found = (facts.get("seconds") for facts in fold_facts(run).values())
    if folds := [seconds for seconds in found if isinstance(seconds, int | float)]:
        count = "1 fold" if len(folds) == 1 else f"{len(folds)} folds"
        known["folds"] = f"{count}, {duration(sum(folds))} in all, median {duration(median(folds))}"
    machine = [str(environment[key]) for key in ("gpus", "processor") if environment.get(key)]
    if cores := environment.get("cores"):
        machine.append(f"{cores} cores")
    if machine:
        known["hardware"] = ", ".join(machine)
    names = {"fdp-lightning": "fdp_lightning", "torch": "torch", "python": "Python"}
    if versions := [f"{name} {environment[key]}" for key, name in names.items() if environment.get(key)]:
        known["versions"] = ", ".join(versions)
    if revision := environment.get("git_revision"):
        known["git revision"] = str(revision)
    return known


def sentence(made: Mapping[str, str]) -> str:
    """Join the facts of `made_with` that belong at the head of a page; '' if there are none."""
    words = {"started": " ", "duration": " in ", "hardware": " on ", "versions": ", with "}
    words["git revision"] = ", git revision "
    told = "".join(f"{word}{made[name]}" for name, word in words.items() if name in made)
    return f"Made{told}." if told else ""


def duration(seconds: float) -> str:
    """Write a time as '4.2 s', '3 min 20 s' or '2 h 05 min'."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()

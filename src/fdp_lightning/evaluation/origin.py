"""Origin of a run: what was trained, when, for how long, on which machine and from which source code."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from fdp_lightning import foreign
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.folds import fold_facts


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run; {} if the file is missing, UserError if it holds anything else."""
    try:
        content = foreign.read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: expected a JSON object")
    except FileNotFoundError:
        return {}
    except UserError as error:
        raise UserError(f"{error}. Repeat the run's command (task=loso) to write it again") from error
    return content


def made_with(run: Path, environment: Mapping[str, Any]) -> dict[str, str]:
    """Return facts on when, for how long and on what a run was made; facts that its files lack are omitted."""
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
    text = "".join(f"{word}{made[name]}" for name, word in words.items() if name in made)
    return f"Created{text}." if text else ""


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


def trained(folds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries of metrics.json that describe the model, from the facts of the folds (fold.json).

    These are `model`, `parameters` and `steps` per fold ([fewest, most] if folds differ), or only `model` for a
    recogniser that is not a network. Empty if a fold lacks one of them, or if the folds trained different models.
    """
    listed = list(folds)
    kinds = {(fold.get("model"), fold.get("parameters")) for fold in listed}
    steps = {fold.get("steps") for fold in listed}
    model, parameters = kinds.pop() if len(kinds) == 1 else (None, None)
    if model is not None and parameters is None and steps == {None}:  # not a network
        return {"model": model}
    if None in (model, parameters, *steps):
        return {}
    few, many = min(steps), max(steps)  # type: ignore[type-var]
    return {"model": model, "parameters": parameters, "steps": few if few == many else [few, many]}


def mixed_versions(folds: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence in a list if folds differ in their version of torch or kind of device, else an empty list."""
    found = Counter(", ".join(str(fold[key]) for key in ("torch", "device") if fold.get(key)) for fold in folds)
    if len(found) < 2:
        return []
    parts = (f"{count} with torch {made or 'of an unrecorded version'}" for made, count in found.items())
    return [f"The folds were trained in different environments: {'; '.join(parts)}."]


def trained_line(facts: Mapping[str, str]) -> str:
    """Return `fdp_tiny, 90 123 parameters, 112 steps per fold` from `trained_facts`; '' if there are none."""
    return ", ".join(fact if name == "model" else f"{fact} {name}" for name, fact in facts.items())


def trained_facts(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return `model`, `parameters` and `steps per fold` as text, without those that metrics.json lacks."""
    model, parameters, steps = (metrics.get(name) for name in ("model", "parameters", "steps"))
    facts = {
        "model": model,
        "parameters": None if parameters is None else thousands(parameters),
        "steps per fold": None if steps is None else span(steps),
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def span(steps: int | Sequence[int]) -> str:
    """Format numbers of steps as `500`, or `56–63` if folds differ."""
    listed = [steps] if isinstance(steps, int) else list(steps)
    low, high = min(listed), max(listed)
    return f"{low}" if low == high else f"{low}–{high}"


def thousands(number: int) -> str:
    """Format a number as `38 056 000`."""
    return f"{number:,}".replace(",", " ")

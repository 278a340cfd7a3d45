"""The trained model: its name, parameters and steps of a fold, from fold.json and metrics.json."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

KEYS = ("model", "parameters", "steps")


def trained(folds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries of metrics.json on the model, from the facts of the folds (fold.json).

    Returns:
        `model`, `parameters` and `steps` (of one fold; the fewest and the most, [n, m], where folds differ), or `model`
        alone, of a recogniser that is no network; nothing where a fold does not say it, or folds are of several.
    """
    facts = [{key: fold.get(key) for key in KEYS} for fold in folds]
    if facts and all(fact["parameters"] is None and fact["steps"] is None for fact in facts):
        names = {str(fact["model"]) for fact in facts if fact["model"]}
        return {"model": names.pop()} if len(names) == 1 else {}  # no network
    if not facts or any(value is None for fact in facts for value in fact.values()):
        return {}
    if len({(fact["model"], fact["parameters"]) for fact in facts}) > 1:
        return {}
    steps = sorted({int(fact["steps"]) for fact in facts})  # type: ignore[arg-type]
    return {**facts[0], "steps": steps[0] if len(steps) == 1 else [steps[0], steps[-1]]}


def mixed_versions(folds: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence where folds were trained with different versions of torch or on different kinds of device."""
    found: dict[str, int] = {}
    for fold in folds:
        made = ", ".join(str(fold[key]) for key in ("torch", "device") if fold.get(key))
        found[made] = found.get(made, 0) + 1
    if len(found) < 2:
        return []
    parts = "; ".join(
        f"{folds} with torch {made or 'of a version that was not noted'}" for made, folds in found.items()
    )
    return [f"The folds were not all trained alike: {parts}."]


def trained_line(facts: Mapping[str, str]) -> str:
    """Return `fdp_tiny, 90 123 parameters, 112 steps a fold` from `trained_facts`; '' where there are none."""
    if "parameters" not in facts:
        return facts.get("model", "")
    return f"{facts['model']}, {facts['parameters']} parameters, {facts['steps a fold']} steps a fold"


def trained_facts(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return `model`, `parameters` and `steps a fold` to show; nothing where metrics.json lacks them."""
    if metrics.get("model") is not None and not {"parameters", "steps"} & set(metrics):
        return {"model": str(metrics["model"])}
    if any(metrics.get(key) is None for key in KEYS):
        return {}
    parameters, steps = thousands(metrics["parameters"]), span(metrics["steps"])
    return {"model": str(metrics["model"]), "parameters": parameters, "steps a fold": steps}


def span(steps: int | Sequence[int]) -> str:
    """Return `500`, or `56–63` of several."""
    listed = [steps] if isinstance(steps, int) else list(steps)
    low, high = min(listed), max(listed)
    return f"{low}" if low == high else f"{low}–{high}"


def thousands(number: int) -> str:
    """Return `38 056 000`."""
    return f"{number:,}".replace(",", " ")

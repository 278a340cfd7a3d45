"""The trained model: its name, parameters and steps of a fold, from fold.json and metrics.json."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

KEYS = ("model", "parameters", "steps")


def trained(folds: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries of metrics.json on the model, from the facts of the folds (fold.json).

    Returns:
        `model`, `parameters` and `steps` (of one fold; the fewest and the most, [n, m], where folds differ), or `model`
        alone, of a recogniser that is no network; nothing where a fold does not say it, or folds are of several.
    """
    listed = list(folds)
    kinds = {(fold.get("model"), fold.get("parameters")) for fold in listed}
    steps = {fold.get("steps") for fold in listed}
    model, parameters = kinds.pop() if len(kinds) == 1 else (None, None)
    if model is not None and parameters is None and steps == {None}:  # no network
        return {"model": model}
    if model is None or parameters is None or None in steps:
        return {}
    few, many = min(steps), max(steps)  # type: ignore[type-var]
    return {"model": model, "parameters": parameters, "steps": few if few == many else [few, many]}


def mixed_versions(folds: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence where folds were trained with different versions of torch or on different kinds of device."""
    found = Counter(", ".join(str(fold[key]) for key in ("torch", "device") if fold.get(key)) for fold in folds)
    if len(found) < 2:
        return []
    parts = (f"{count} with torch {made or 'of a version that was not noted'}" for made, count in found.items())
    return [f"The folds were not all trained alike: {'; '.join(parts)}."]


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

"""The runs of a multirun: every variant of a study at every point of the swept grid, and the folder of their table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from fdp_lightning.runs.folder import experiment_name, variant_name

_SAME_VARIANT = re.compile(r"^(seed|fold|hydra)([./].*)?$")


@dataclass(frozen=True)
class VariantRun:
    """One run of a sweep.

    Attributes:
        variant: row of the table; jobs that differ only in seed or fold share it.
        overrides: overrides as on the command line.
        point: overrides that distinguish it from the other jobs of its variant: `seed=1`.
    """

    variant: str
    overrides: tuple[str, ...]
    point: str


def variant_runs(given: Sequence[Override], variants: Mapping[str, list[str]]) -> list[VariantRun]:
    """Return every variant of a study, by name its overrides, at every point of the grid of values that are given.

    Without a study the swept values alone define the variants.
    """
    varying = {override.get_key_element() for override in given if override.is_sweep_override()}
    jobs = []
    for point in _grid(given):
        values = [override for override in point if override.partition("=")[0] in varying]
        shared = [value for value in values if _SAME_VARIANT.match(value.lstrip("+").partition("=")[0])]
        named = [value for value in values if value not in shared]
        for name, own in (variants or {"": []}).items():
            label = " ".join(([name] if name else []) + named) or "default"
            jobs.append(VariantRun(label, (*own, *point), " ".join(shared)))
    return jobs


def sweep_folder(config: DictConfig, given: Sequence[Override]) -> Path:
    """Return the folder of a sweep's table; like a run folder, it depends on the command alone."""
    choices = config.hydra.runtime.choices
    experiment = experiment_name(config, choices)
    name = variant_name([override.input_line or "" for override in given])
    return Path(config.hydra.sweep.dir).joinpath(*filter(None, (choices.get("study"), experiment, name)))


def _grid(given: Sequence[Override]) -> list[tuple[str, ...]]:
    """Return every combination of the given values, in the order of Hydra's basic sweeper (the last key is fastest).

    The last value of a repeated key counts.

    Raises:
        HydraException: a sweep has no list of values, such as interval(0, 1).
    """
    of_keys: dict[str, list[str]] = {}
    for override in given:
        key = override.get_key_element()
        if not override.is_sweep_override():
            of_keys[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            of_keys[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise HydraException(f"{override.input_line}: a sweep goes through values; expected {key}=a,b or range(…)")
    return list(product(*of_keys.values()))

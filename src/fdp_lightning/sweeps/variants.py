"""A multirun: every variant of a study at every point of the swept grid, and one table of their runs at the end."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from omegaconf import DictConfig

from fdp_lightning.errors import UserError, first_line
from fdp_lightning.evaluation.runs import Run, is_finished, read_run
from fdp_lightning.evaluation.tables.comparison import Variant, variant_tables
from fdp_lightning.evaluation.tables.render import print_tables, write_variants
from fdp_lightning.runs.environment import command
from fdp_lightning.runs.folder import experiment_name, variant_name
from fdp_lightning.sweeps.launchers.jobs import outcome

_SAME_VARIANT = re.compile(r"^(seed|fold|hydra)([./].*)?$")


@dataclass(frozen=True)
class VariantRun:
    """One run of a sweep.

    Jobs that differ only in seed or fold share a `variant`, the row of the table; `point` holds the overrides that
    distinguish a job from the others of its variant, such as `seed=1`.
    """

    variant: str
    overrides: tuple[str, ...]
    point: str


def variant_runs(given: Sequence[Override], variants: Mapping[str, list[str]]) -> list[VariantRun]:
    """Return every variant of a study (name → overrides) at every point of the grid of given values.

    Without a study, only the swept values define the variants.
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
    """Return the folder of a sweep's table; like a run folder, it depends only on the command."""
    choices = config.hydra.runtime.choices
    experiment = experiment_name(config, choices)
    name = variant_name([override.input_line or "" for override in given])
    return Path(config.hydra.sweep.dir).joinpath(*filter(None, (choices.get("study"), experiment, name)))


def _grid(given: Sequence[Override]) -> list[tuple[str, ...]]:
    """Return every combination of the given values, in the order of Hydra's basic sweeper (last key fastest).

    The last value of a repeated key counts. A sweep without discrete values, such as interval(0, 1), raises
    HydraException.
    """
    of_keys: dict[str, list[str]] = {}
    for override in given:
        key = override.get_key_element()
        if not override.is_sweep_override():
            of_keys[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            of_keys[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise HydraException(
                f"{override.input_line}: a sweep needs discrete values; expected {key}=a,b or range(…)"
            )
    return list(product(*of_keys.values()))


class SweepError(Exception):
    """Raised when jobs of a sweep failed; the results of the others are kept."""


def finish_sweep(folder: Path, jobs: Sequence[VariantRun], returns: Sequence[JobReturn | Exception]) -> None:
    """Print the table of a sweep's runs, write it to the folder, then raise the errors of failed jobs.

    `returns` has, for each job, what the launcher returned, whose value is the run folder, or its exception. If all
    errors are the user's mistakes, UserError; otherwise SweepError, raised from the first other exception.
    """
    for stale in folder.glob("variants.*"):  # from an earlier sweep; they must not remain if every job fails
        stale.unlink()
    results = [each if isinstance(each, Exception) else outcome(each) for each in returns]
    if any(isinstance(result, str) for result in results):
        write_table(folder, jobs, results)
    errors = {i: result for i, result in enumerate(results) if isinstance(result, Exception)}
    if not errors:
        return
    if len(jobs) == 1:
        raise errors[0]
    lines = "\n  ".join(f"{' '.join(jobs[i].overrides)}: {first_line(error)}" for i, error in errors.items())
    summary = f"{len(errors)} of {len(jobs)} jobs failed; the same command runs only these again:\n  {lines}"
    others = [error for error in errors.values() if not isinstance(error, UserError)]
    if not others:
        mistakes = dict.fromkeys(str(error) for error in errors.values())
        raise UserError(next(iter(mistakes)) if len(mistakes) == 1 and len(errors) == len(jobs) else summary)
    raise SweepError(summary) from others[0]


def write_table(folder: Path, jobs: Sequence[VariantRun], results: Sequence[str | Exception | None]) -> None:
    """Print the table of a sweep and write variants.html, .csv, .md and .tex, which also list missing runs.

    `results` has the run folder of each job, the exception with which it failed, or None for a task without a run.
    """
    missing: dict[str, list[str]] = {job.variant: [] for job in jobs}
    found: dict[str, dict[Path, Run]] = {job.variant: {} for job in jobs}
    waiting: dict[Path, str] = {}
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, Exception):
            missing[job.variant].append(f"{job.point}: {first_line(result)}".removeprefix(": "))
        elif result is None:
            continue
        elif not is_finished(run := Path(result)):
            waiting[run] = job.variant
        elif run not in found[job.variant]:
            try:
                found[job.variant][run] = read_run(run)
            except UserError as error:
                missing[job.variant].append(first_line(error))
    for run, variant in waiting.items():
        missing[variant].append(f"{run}: folds are missing, no pooled scores")
    variants = [Variant(name, tuple(own.values())) for name, own in found.items() if own]
    if variants:
        tables = variant_tables(variants, missing)
        print_tables(tables)
        print("\n".join(map(str, write_variants(folder, tables, " · ".join(folder.parts[-3:]), command()))))

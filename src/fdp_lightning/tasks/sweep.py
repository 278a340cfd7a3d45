"""The end of a multirun: one table over its variants, and what kept a job from being finished."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from fdp_lightning.errors import UserError
from fdp_lightning.tasks.run_folder import experiment_name, variant_name

log = logging.getLogger("fdp_lightning")

_SAME_VARIANT = re.compile(r"^(seed|fold|hydra)([./].*)?$")


class SweepError(Exception):
    """Jobs of a sweep that failed; the others are kept."""


@dataclass(frozen=True)
class VariantRun:
    """One run of a sweep.

    Attributes:
        variant: its row of the table; jobs that differ in seed or fold alone share it.
        overrides: as on the command line.
        point: those that tell it from the other jobs of its variant: `seed=1`.
    """

    variant: str
    overrides: tuple[str, ...]
    point: str


def variant_runs(
    given: Sequence[Override], grid: Sequence[Sequence[str]], variants: Mapping[str, list[str]]
) -> list[VariantRun]:
    """Every variant of a study at every point of the grid of swept values.

    Args:
        given: the overrides of the command.
        grid: those of each job, in the order of Hydra's basic sweeper.
        variants: of the study, name → its own overrides; empty: the swept values alone tell variants apart.
    """
    varying = {override.get_key_element() for override in given if override.is_sweep_override()}
    jobs = []
    for point in grid:
        values = [override for override in point if override.partition("=")[0] in varying]
        shared = [value for value in values if _SAME_VARIANT.match(value.lstrip("+").partition("=")[0])]
        named = [value for value in values if value not in shared]
        for name, own in (variants or {"": []}).items():
            label = " ".join(([name] if name else []) + named) or "default"
            jobs.append(VariantRun(label, (*own, *point), " ".join(shared)))
    return jobs


def sweep_folder(config: DictConfig, given: Sequence[Override]) -> Path:
    """Where the table of a sweep goes: like a run folder, it follows from the command alone."""
    choices = config.hydra.runtime.choices
    experiment = experiment_name(config, choices)
    name = variant_name([override.input_line or "" for override in given])
    return Path(config.hydra.sweep.dir).joinpath(*filter(None, (choices.get("study"), experiment, name)))


def finish_sweep(folder: Path, jobs: Sequence[VariantRun], returns: Sequence[JobReturn | Exception]) -> None:
    """Print and write the table over the runs of a sweep, then raise what kept jobs from being finished.

    Args:
        folder: of the table.
        jobs: of the sweep.
        returns: of each job what the launcher gave back, its value the run folder; or what broke the launcher.

    Raises:
        UserError: mistakes of the user's are all that kept jobs from being finished.
        SweepError: from the first other exception.
    """
    from fdp_lightning.tasks.sweep_table import write_table

    for stale in folder.glob("variants.*"):  # of an earlier sweep; if every job fails now, none may stand for them
        stale.unlink()
    errors = {i: error for i, each in enumerate(returns) if (error := _error(each)) is not None}
    folders = [None if i in errors else each._return_value for i, each in enumerate(returns)]  # type: ignore[union-attr]
    if any(folders):
        reasons = {i: _first_line(error) for i, error in errors.items()}
        write_table(folder, jobs, [place and Path(place) for place in folders], reasons)
    if not errors:
        return
    lines = "\n  ".join(f"{' '.join(jobs[i].overrides)}: {_first_line(error)}" for i, error in errors.items())
    if len(jobs) == 1:
        raise next(iter(errors.values()))
    summary = f"{len(errors)} of {len(jobs)} jobs failed; the same command runs these again and no others:\n  {lines}"
    others = [error for error in errors.values() if not isinstance(error, UserError)]
    if not others:
        mistakes = dict.fromkeys(str(error) for error in errors.values())
        raise UserError(next(iter(mistakes)) if len(mistakes) == 1 and len(errors) == len(jobs) else summary)
    raise SweepError(summary) from others[0]


def _error(returned: JobReturn | Exception) -> Exception | None:
    if isinstance(returned, Exception):
        return returned
    if returned.status == JobStatus.COMPLETED:
        return None
    found = returned._return_value
    return found if isinstance(found, Exception) else RuntimeError(f"the job ended without a result ({found!r})")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

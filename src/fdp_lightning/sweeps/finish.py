"""End of a multirun: one table over its variants, and the errors of its failed jobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from fdp_lightning.errors import UserError, first_line
from fdp_lightning.evaluation.runs import Run, is_finished, read_run
from fdp_lightning.evaluation.tables.comparison import Table, Variant, variant_tables
from fdp_lightning.evaluation.tables.render import print_tables, write_variants
from fdp_lightning.runs.environment import command
from fdp_lightning.sweeps.launchers.jobs import outcome
from fdp_lightning.sweeps.variants import VariantRun


class SweepError(Exception):
    """Jobs of a sweep failed; the others' results are kept."""


def finish_sweep(folder: Path, jobs: Sequence[VariantRun], returns: Sequence[JobReturn | Exception]) -> None:
    """Print the table over the runs of a sweep, write it to the folder, then raise the errors of failed jobs.

    `returns` has of each job what the launcher returned, whose value is the run folder, or its exception.

    Raises:
        UserError: jobs failed by user mistakes alone.
        SweepError: jobs failed otherwise; raised from the first such exception.
    """
    for stale in folder.glob("variants.*"):  # of an earlier sweep; they must not remain if every job fails
        stale.unlink()
    errors = {i: error for i, each in enumerate(returns) if (error := _error(each)) is not None}
    folders = [None if i in errors else outcome(each) for i, each in enumerate(returns)]  # type: ignore[arg-type]
    if any(folders):
        reasons = {i: _first_line(error) for i, error in errors.items()}
        write_table(folder, jobs, [place and Path(place) for place in folders], reasons)
    if not errors:
        return
    lines = "\n  ".join(f"{' '.join(jobs[i].overrides)}: {_first_line(error)}" for i, error in errors.items())
    if len(jobs) == 1:
        raise next(iter(errors.values()))
    summary = f"{len(errors)} of {len(jobs)} jobs failed; the same command runs only these again:\n  {lines}"
    others = [error for error in errors.values() if not isinstance(error, UserError)]
    if not others:
        mistakes = dict.fromkeys(str(error) for error in errors.values())
        raise UserError(next(iter(mistakes)) if len(mistakes) == 1 and len(errors) == len(jobs) else summary)
    raise SweepError(summary) from others[0]


def write_table(
    folder: Path, jobs: Sequence[VariantRun], runs: Sequence[Path | None], failed: Mapping[int, str]
) -> list[Table]:
    """Print the table of a sweep and write variants.html, .csv, .md and .tex; runs without pooled scores are missing.

    `runs` has the run folder of each job, None if it failed; `failed` by the number of a job why it did.
    """
    missing: dict[str, list[str]] = {job.variant: [] for job in jobs}
    found: dict[str, dict[Path, Run]] = {job.variant: {} for job in jobs}
    waiting: dict[Path, str] = {}
    for number, (job, run) in enumerate(zip(jobs, runs, strict=True)):
        if run is None:
            missing[job.variant].append(f"{job.point}: {failed[number]}".removeprefix(": "))
        elif not is_finished(run):
            waiting[run] = job.variant
        elif run not in found[job.variant]:
            try:
                found[job.variant][run] = read_run(run)
            except UserError as error:
                missing[job.variant].append(first_line(error))
    for run, variant in waiting.items():
        missing[variant].append(f"{run}: folds are missing, no pooled scores")
    variants = [Variant(name, tuple(own.values())) for name, own in found.items() if own]
    if not variants:
        return []
    tables = variant_tables(variants, missing)
    print_tables(tables)
    print("\n".join(map(str, write_variants(folder, tables, " · ".join(folder.parts[-3:]), command()))))
    return tables


def _error(returned: JobReturn | Exception) -> Exception | None:
    if isinstance(returned, Exception):
        return returned
    if returned.status == JobStatus.COMPLETED:
        return None
    found = outcome(returned)
    return found if isinstance(found, Exception) else RuntimeError(f"the job ended without a result ({found!r})")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

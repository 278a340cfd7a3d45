"""The table over the runs of a sweep, printed and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import Run, is_finished, read_run
from fdp_lightning.evaluation.tables.comparison import Table, Variant, variant_tables
from fdp_lightning.evaluation.tables.render import print_tables, write_variants
from fdp_lightning.runs.environment import command
from fdp_lightning.sweeps.variants import VariantRun


def write_table(
    folder: Path, jobs: Sequence[VariantRun], runs: Sequence[Path | None], failed: Mapping[int, str]
) -> list[Table]:
    """Print and write the table of a sweep; runs without pooled scores are named as missing.

    Args:
        folder: folder of variants.html, .csv, .md and .tex.
        jobs: jobs of the sweep.
        runs: run folder of each job, None if it failed.
        failed: number of a job → reason of its failure.
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
                missing[job.variant].append(str(error).splitlines()[0])
    for run, variant in waiting.items():
        missing[variant].append(f"{run}: folds are missing, no pooled scores")
    variants = [Variant(name, tuple(own.values())) for name, own in found.items() if own]
    if not variants:
        return []
    tables = variant_tables(variants, missing)
    print_tables(tables)
    print("\n".join(map(str, write_variants(folder, tables, " · ".join(folder.parts[-3:]), command()))))
    return tables

"""`task=compare runs=[a,b,…]`: runs next to published numbers, with paired tests, in four formats."""

from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from fdp_lightning.config import EXPERIMENTS
from fdp_lightning.errors import UserError, visible
from fdp_lightning.evaluation.published import read_published
from fdp_lightning.evaluation.runs import find_runs, is_finished, read_run
from fdp_lightning.evaluation.tables.comparison import Table, Variant, compare
from fdp_lightning.evaluation.tables.render import print_tables, write_comparison


def compare_runs(config: DictConfig) -> list[Table]:
    """Write compare.html, compare.csv and compare.tex, and print the same tables.

    UserError if a path contains no run, a run is unfinished or damaged, or the published numbers cannot be read.
    """
    places = [Path(str(place)) for place in (config.runs if isinstance(config.runs, ListConfig) else [config.runs])]
    baseline = [] if config.compare.baseline is None else [Path(str(config.compare.baseline))]
    if baseline and len(_groups(baseline[0], {})) > 1:
        raise UserError(
            f"compare.baseline={baseline[0]}: expected one run folder, or one variant's folder (with seed-* in it); "
            "found several variants"
        )
    variants, left_out = read_variants([*baseline, *places])  # the others are tested against the first
    published = config.compare.published
    if published is not None:
        published = read_published(EXPERIMENTS / "published.csv" if published == "shipped" else Path(str(published)))
    tables = compare(variants, published or [])
    written = write_comparison(Path(config.compare.output), tables, left_out)
    print_tables(tables, left_out)
    print("\n".join(map(str, written)))
    return tables


def read_variants(places: Iterable[Path]) -> tuple[list[Variant], dict[str, str]]:
    """Read the runs in some folders.

    Each of `places` is a run folder, which becomes one row, or a folder that contains run folders, in which the seeds
    of a variant (`<variant>/seed-*`) form one row. Returns the variants in the order of their folders, without
    duplicates, named by the end of their paths, and the run folders left out, each with the reason. UserError if a
    folder does not exist, contains no run or is an unfinished one, a run is damaged, or two runs of a variant have the
    same seed.
    """
    groups: dict[tuple[Path, ...], tuple[Path, ...]] = {}
    left_out: dict[str, str] = {}
    for place in places:
        for group in _groups(place, left_out):
            groups.setdefault(tuple(folder.resolve() for folder in group), group)
    variants = []
    for folders, name in zip(groups.values(), _names(list(groups)), strict=True):
        runs = tuple(map(read_run, folders))
        seeds = [run.seed for run in runs]
        if doubled := [str(run.folder) for run in runs if seeds.count(run.seed) > 1]:
            raise UserError(
                f"{', '.join(doubled)}: these have the same seed, so they are not two seeds of one variant. "
                "Remove the copy, or name each run folder: runs=[a,b]"
            )
        variants.append(Variant(name, runs))
    return variants, left_out


def _groups(place: Path, left_out: dict[str, str]) -> list[tuple[Path, ...]]:
    """Return the run folders in a folder, grouped by variant; adds those left out, and why, to `left_out`."""
    if not place.is_dir():
        raise UserError(f"{place}: expected a run folder or a folder of runs; it does not exist. See runs=[a,b,…]")
    found = list(find_runs(place))
    if found == [place]:
        return [(place,)]  # reading it reports what an unfinished run lacks
    by_variant: dict[Path, list[Path]] = {}
    for folder in found:
        if any(part.startswith("debug-") for part in folder.relative_to(place).parts):
            left_out[str(folder)] = "a debug run (debug=…)"  # it is compared if its own folder is given
        elif not is_finished(folder):
            left_out[str(folder)] = "no pooled scores yet"
        else:
            by_variant.setdefault(folder.parent if folder.name.startswith("seed-") else folder, []).append(folder)
    if not by_variant:
        state = ", ".join(f"{folder}: {left_out[str(folder)]}" for folder in found[:4]) or "none"
        raise UserError(
            f"{place}: expected runs with pooled scores (metrics.json) in this folder; found {state}. Run the "
            "command of an unfinished run again, or task=report run=<run folder> to pool its folds."
        )
    return [tuple(folders) for folders in by_variant.values()]


def _names(groups: list[tuple[Path, ...]]) -> list[str]:
    """Return the part of each path below runs/, or the whole paths if two of these would be the same."""
    paths = [group[0] if len(group) == 1 else group[0].parent for group in groups]
    short = [
        visible("/".join(path.absolute().parts[-(3 if len(group) == 1 else 2) :]))
        for path, group in zip(paths, groups, strict=True)
    ]
    return short if len(set(short)) == len(short) else [visible(str(path)) for path in paths]

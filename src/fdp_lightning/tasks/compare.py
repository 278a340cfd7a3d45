"""`task=compare runs=[a,b,…]`: runs beside published numbers, with paired tests, in four forms."""

from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from fdp_lightning.config import EXPERIMENTS
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.published import read_published
from fdp_lightning.evaluation.runs import Run, find_runs, is_finished, read_run
from fdp_lightning.evaluation.tables.comparison import Table, Variant, compare
from fdp_lightning.evaluation.tables.render import print_tables, write_comparison


def compare_runs(config: DictConfig) -> list[Table]:
    """`task=compare`: write compare.html, compare.csv and compare.tex, and print the same tables.

    Raises:
        UserError: a place holds no run, a run is not finished or damaged, or the published numbers cannot be read.
    """
    places = [Path(str(place)) for place in (config.runs if isinstance(config.runs, ListConfig) else [config.runs])]
    baseline = [] if config.compare.baseline is None else [Path(str(config.compare.baseline))]
    if baseline and len(_groups(baseline[0], {})) > 1:
        raise UserError(
            f"compare.baseline={baseline[0]}: expected one run folder, or one variant's folder (which holds seed-*); "
            "several variants lie below it"
        )
    variants, left_out = read_variants([*baseline, *places])  # the first is what the others are tested against
    published = _published(config.compare.published)
    tables = compare(variants, read_published(published) if published else [])
    written = write_comparison(Path(config.compare.output), tables, left_out)
    print_tables(tables, left_out)
    print("\n".join(map(str, written)))
    return tables


def read_variants(places: Iterable[Path]) -> tuple[list[Variant], dict[str, str]]:
    """Read the runs at or below some folders.

    Args:
        places: run folders, each a row of its own; or folders above runs, below which the seeds of a variant
            (`<variant>/seed-*`) are one row.

    Returns:
        The variants in the order of their places, none twice, named by the end of their paths; and of the run folders
        found below a place those that are not among them, each with the reason.

    Raises:
        UserError: a place is missing, is an unfinished run or holds none; a run is damaged; or two seeds of a variant
            are the same.
    """
    groups: dict[tuple[Path, ...], tuple[Path, ...]] = {}
    left_out: dict[str, str] = {}
    for place in places:
        for group in _groups(place, left_out):
            groups.setdefault(tuple(folder.resolve() for folder in group), group)
    read: dict[Path, Run] = {}
    variants = []
    for (places_of, folders), name in zip(groups.items(), _names(list(groups)), strict=True):
        for known, folder in zip(places_of, folders, strict=True):
            if known not in read:
                read[known] = read_run(folder)
        runs = tuple(read[known] for known in places_of)
        seeds = [run.seed for run in runs]
        if doubled := [str(run.folder) for run in runs if seeds.count(run.seed) > 1]:
            raise UserError(
                f"{', '.join(doubled)}: predictions of the same seed, so they are no two seeds of one variant. Remove "
                "the copy, or name the run folders one by one: runs=[a,b]"
            )
        variants.append(Variant(name, runs))
    return variants, left_out


def _groups(place: Path, left_out: dict[str, str]) -> list[tuple[Path, ...]]:
    """The run folders at or below a place, seeds of a variant together; those left out are added with why."""
    if not place.is_dir():
        raise UserError(f"{place}: expected a folder with runs, or one run's folder; there is none. See runs=[a,b,…]")
    found = list(find_runs(place))
    if found == [place]:
        return [(place,)]  # reading it says what an unfinished one lacks
    waiting = {str(folder): "no pooled scores yet" for folder in found if not is_finished(folder)}
    waiting |= {str(folder): "a trial (debug=…)" for folder in found if _is_trial(folder.relative_to(place))}
    left_out |= waiting
    by_variant: dict[Path, list[Path]] = {}
    for folder in (folder for folder in found if str(folder) not in waiting):
        by_variant.setdefault(folder.parent if folder.name.startswith("seed-") else folder, []).append(folder)
    if not by_variant:
        state = ", ".join(f"{folder}: {why}" for folder, why in list(waiting.items())[:4]) or "none"
        raise UserError(
            f"{place}: expected runs with pooled scores (metrics.json) at or below this folder; found {state}. Give a "
            "run's command again to finish it, or task=report run=<run folder> to pool its folds."
        )
    return [tuple(folders) for folders in by_variant.values()]


def _is_trial(below: Path) -> bool:
    """Whether a run was made to see that everything fits together (debug=smoke); named alone it is compared too."""
    return any(part.startswith("debug-") for part in below.parts)


def _names(groups: list[tuple[Path, ...]]) -> list[str]:
    """As many last parts of each path as a run folder has below runs/, or all where two would be called alike."""
    paths = [group[0] if len(group) == 1 else group[0].parent for group in groups]
    short = [
        "/".join(path.absolute().parts[-(3 if len(group) == 1 else 2) :])
        for path, group in zip(paths, groups, strict=True)
    ]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _published(setting: object) -> Path | None:
    """The file of `compare.published`: the one that comes with the program, the user's, or none."""
    if setting is None:
        return None
    return EXPERIMENTS / "published.csv" if setting == "shipped" else Path(str(setting))

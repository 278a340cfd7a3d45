"""Pooling the folds of a run: predictions.csv, metrics.json and report.html."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from omegaconf import DictConfig
from rich.console import Console

from fdp_lightning import foreign
from fdp_lightning.data.protocols.leak_guard import LeakError, check_subjects
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation import baselines
from fdp_lightning.evaluation.extra_scores import extra_scores, extras_note
from fdp_lightning.evaluation.learning import learning_signs, read_trainings
from fdp_lightning.evaluation.origin import mixed_versions, read_json, trained
from fdp_lightning.evaluation.predictions import pool, read_predictions, write_predictions
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import seed_scores
from fdp_lightning.evaluation.summary import summarise, write_metrics
from fdp_lightning.evaluation.terminal import learning_note, seeds_table, terminal_table
from fdp_lightning.labels import KEY, SELECTIONS, LabelKind, owners_of
from fdp_lightning.runs.seal import sealed

EXPECTED = "expected.json"
"""Written by `loso` before the first fold: clips that the pooled table must contain; clips and subjects left out."""

POOLED = ("predictions.csv", "metrics.json", "report.html")
"""Files that pooling writes, in this order; if the folds have baselines, also their table (baselines.FILE)."""

_FACTS = ("split", "skipped_folds", "untested", "left_out", "caveats")

log = logging.getLogger("fdp_lightning")


def headline(config: DictConfig) -> str:
    """Return the selection that comes first in table and report; it affects neither predictions nor scores."""
    name: str = config.report.get("headline") or "last"
    if name not in SELECTIONS:
        raise UserError(f"report.headline is '{name}'; expected one of {', '.join(SELECTIONS)}")
    if name == "inner" and not config.selection.inner_subjects:
        raise UserError("report.headline=inner needs inner validation subjects: for example selection.inner_subjects=3")
    return name


def pool_run(run: Path, config: DictConfig) -> dict[str, object]:
    """Pool the finished folds of a run: write predictions.csv, metrics.json and report.html, and print the table.

    Returns the content of metrics.json. UserError if a clip is missing or duplicated, or the folds differ in settings,
    clips or source code.
    """
    headline(config)
    remove_pooled(run)  # no old scores may remain if pooling fails
    plan = read_expected(run)
    folders = fold_folders(run)
    refuse_mixture(run, folders)
    made = [read_json(folder / "fold.json") for folder in folders]  # read_fold below checks them
    plan["caveats"] = [*plan.get("caveats", ()), *mixed_versions(made)]
    frames = [read_fold(folder) for folder in folders]
    of_baselines = [folder / baselines.FILE for folder in folders if (folder / baselines.FILE).is_file()]
    return pool_frames(run, config, frames, plan, trained(made), [*map(baselines.read_baselines, of_baselines)])


def refuse_mixture(run: Path, folders: Sequence[Path]) -> None:
    """Raise UserError for folds with different fingerprints; it lists the folds of each and the command to run."""
    by_fingerprint: dict[str, list[str]] = {}
    for folder in folders:
        if mark := read_json(folder / "fold.json").get("fingerprint"):  # `read_fold` reports a missing one
            by_fingerprint.setdefault(str(mark), []).append(folder.name)
    if len(by_fingerprint) < 2:
        return
    rarest_last = sorted(by_fingerprint.items(), key=lambda one: -len(one[1]))
    parts = "\n  ".join(f"{mark}: {', '.join(names)}" for mark, names in rarest_last)
    command = read_json(run / "environment.json").get("command") or "the command of the run, with task=loso"
    raise UserError(
        f"the folds in {run} have {len(by_fingerprint)} different settings, clips or versions of the source "
        f"code and cannot be pooled (fingerprint: folds):\n  {parts}\n  This command keeps the folds that match it and "
        f"runs the others again: {command}"
    )


def read_expected(run: Path) -> dict[str, Any]:
    """Read expected.json; UserError if it was altered."""
    plan = foreign.read_json(run / EXPECTED)
    kinds: Mapping[str, Any] = {
        "clips": list, "split": str, "skipped_folds": list, "caveats": list, "untested": list, "left_out": dict,
    }  # fmt: skip
    known = plan if isinstance(plan, dict) else {}
    texts = [known.get(name, ()) for name in ("skipped_folds", "caveats", "untested")]
    if (
        any(not isinstance(known.get(name, kind()), kind) for name, kind in kinds.items())
        or not known.get("clips")
        or not all(map(_is_clip, known["clips"]))
        or len({tuple(clip[part] for part in KEY) for clip in known["clips"]}) < len(known["clips"])
        or not all(isinstance(text, str) for listed in texts for text in listed)
        or not all(isinstance(clips, list) for clips in known.get("left_out", {}).values())
    ):
        raise UserError(f"{run / EXPECTED} was altered. Repeat the run's command (task=loso) to write it again")
    return known


def _is_clip(clip: object) -> bool:
    columns = dict.fromkeys([*KEY, "target"], str) | {"onset": int}
    return isinstance(clip, dict) and {name: type(value) for name, value in clip.items()} == columns


def remove_pooled(run: Path) -> None:
    for stale in (*POOLED, baselines.FILE):
        (run / stale).unlink(missing_ok=True)


def pool_frames(
    run: Path,
    config: DictConfig,
    frames: Sequence[pd.DataFrame],
    plan: Mapping[str, Any],
    model: Mapping[str, Any] = MappingProxyType({}),
    of_baselines: Sequence[pd.DataFrame] = (),
) -> dict[str, object]:
    """Pool predictions, write a run's files, print its table, and return the content of metrics.json.

    UserError if a clip is missing or duplicated.

    Args:
        run: folder to write to.
        config: configuration of the run.
        frames: predictions of each fold.
        plan: result of `read_expected`.
        model: result of `origin.trained`.
        of_baselines: predictions of the baselines, one table for every fold; empty if the run has no baselines.
    """
    first = headline(config)
    expected = pd.DataFrame(plan["clips"])
    classes = list(config.protocol.classes)
    label_kind = LabelKind.of_column(config.protocol.column)
    pooled = pool(frames, expected, classes, label_kind)
    write_predictions(run / "predictions.csv", pooled, classes)
    lacking = {name: plan[name] for name in _FACTS if name in plan}
    metrics = {**model, **summarise(pooled, classes, config.protocol.name, **lacking)}
    last = pooled[pooled["selection"] == "last"]
    signs = learning_signs(last, classes, metrics["selections"]["last"], metrics["floors"], read_trainings(run))
    if extras := extra_scores(run):
        metrics["extras"] = extras
    metrics["learning"] = [sign.plain() for sign in signs]
    if of_baselines:
        table = pool(of_baselines, expected, classes, label_kind, list(baselines.BASELINES))
        baselines.write_baselines(run / baselines.FILE, table, classes)
        metrics["baselines"] = baselines.score_baselines(table, last, classes)
    write_metrics(run / "metrics.json", metrics)
    seeds = seed_scores(run)
    page = write_page(run, config, shows_faces(config), seeds)
    screen = Console(markup=False)  # names of classes and runs may contain brackets
    screen.print(terminal_table(metrics, first))
    if extras:
        screen.print(extras_note(extras))
    if signs:
        screen.print(learning_note(signs))
    if seeds:
        screen.print(seeds_table(seeds))
    print(f"predictions  {run / 'predictions.csv'}\nscores       {run / 'metrics.json'}\nreport       {page}")
    return metrics


def shows_faces(config: DictConfig) -> bool:
    """Return True if the run's own page shows faces."""
    asked = config.report.show_faces
    return bool(config.data.show_faces if asked is None else asked)


def write_page(
    run: Path, config: DictConfig, show_faces: bool, seeds: Mapping[str, Any] | None, page: Path | None = None
) -> Path:
    """Write the page of a pooled run, with its `seed_scores`, to `page` or, by default, its report.html."""
    return build_report(
        run,
        title=config.report.title or " · ".join(run.absolute().parts[-3:]),
        show_faces=show_faces,
        synthetic=config.data.generate is not None,
        headline=headline(config),
        seeds=seeds,
        page=page,
    )


def fold_folders(run: Path) -> list[Path]:
    """Return the folders of a run's folds, finished or damaged."""
    return sorted((run / "folds").glob("[!.]*/"))


def read_fold(folder: Path, name: str = "predictions.csv", side: str = "test") -> pd.DataFrame:
    """Return the predictions of a finished fold on its test subjects or, by `side`, its inner validation subjects.

    UserError if the fold was altered, its sets of subjects overlap, or the table has predictions on other subjects.
    """
    facts = sealed(folder)
    table = read_predictions(folder / name)[0]
    try:
        check_subjects(folder.name, facts["subjects"])
        if unknown := sorted(set(owners_of(table)) - set(facts["subjects"][side])):
            held_out = "it did not hold out" if side == "test" else "are not its inner validation subjects"
            raise LeakError(f"fold {folder.name} predicts subjects that {held_out}: {', '.join(unknown)} ({name})")
    except LeakError as error:
        raise UserError(
            f"{error}\n  Remove {folder} and repeat the run's command (task=loso), which trains this fold again."
        ) from error
    return table

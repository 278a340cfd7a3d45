"""The plan of each fold of a run: train on all subjects but one, predict the one."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.protocols.leak_guard import check_fold
from fdp_lightning.data.protocols.splits import Fold, everybody, set_aside
from fdp_lightning.engine.dataset import ReadyData
from fdp_lightning.runs.fingerprint import fingerprint
from fdp_lightning.runs.folder import model_name
from fdp_lightning.runs.seal import finished, move_aside
from fdp_lightning.seeds import derived_seed

log = logging.getLogger("fdp_lightning")


class Checked(NamedTuple):
    """Facts of a run that need the built network and optimizer."""

    parameters: int
    """Parameters of the network."""
    step: str
    """Clips and devices of a step, and the end of a training, in words."""


@dataclass(frozen=True)
class FoldPlan:
    """All that a process needs to run one fold, as plain data.

    `config` is resolved. `run` is the run folder, or of a fit its own folder in the run folder. `fold` is the split
    with the inner validation subjects, and `fingerprint` is of everything that decides the predictions.
    """

    config: dict[str, Any]
    run: Path
    store: Path
    clips: pd.DataFrame
    fold: Fold
    fingerprint: str
    model: str

    @property
    def is_fit(self) -> bool:
        """True if it trains on all subjects and tests nobody (`task=fit`)."""
        return not self.fold.test_rows

    @property
    def home(self) -> Path:
        """Run folder of the configuration; a fit lies in it, apart from the folds that are pooled."""
        return self.run.parent if self.is_fit else self.run

    @property
    def folder(self) -> Path:
        """Folder of the finished fold."""
        return self.run / "folds" / self.fold.name

    @property
    def unfinished(self) -> Path:
        """Folder of the checkpoints to resume from until the fold is finished."""
        return self.run / "unfinished" / self.fold.name

    @property
    def is_done(self) -> bool:
        """True if the fold is finished, intact, and of these settings, clips and source."""
        return finished(self.folder, self.fingerprint, checkpoints=self.is_fit)[0]


def plan_fold(config: DictConfig, data: ReadyData, split: Fold, run: Path) -> FoldPlan:
    """Plan one fold of a run.

    Raises:
        LeakError: its sides share a subject or a clip.
        UserError: there are fewer training subjects than inner validation subjects.
    """
    seed = derived_seed(config.seed, split.name)
    fold = set_aside(split, data.clips, config.selection.inner_subjects, seed)
    check_fold(fold, data.clips)
    return _plan(config, data, fold, run)


def plan_fit(config: DictConfig, data: ReadyData, run: Path) -> FoldPlan:
    """Plan the training of a model on all subjects, without tested or inner validation subjects, in a folder `run`.

    Its fingerprint is that of the folds of the same configuration, whose score estimates its own.
    """
    return _plan(config, data, everybody(data.clips), run)


def _plan(config: DictConfig, data: ReadyData, fold: Fold, run: Path) -> FoldPlan:
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    mark = fingerprint(config, data.content)
    return FoldPlan(plain, run, data.store, data.clips, fold, mark, model_name(config))


def clear_the_way(plan: FoldPlan) -> bool:
    """Return True if the fold is finished; one that cannot be used is moved aside with a warning."""
    done, reason = finished(plan.folder, plan.fingerprint, checkpoints=plan.is_fit)
    if reason:
        kept = move_aside(plan.run, plan.folder)
        what = "the fit" if plan.is_fit else f"fold {plan.fold.name}"
        log.warning("%s is run again: %s. The old one is kept in %s", what, reason, kept)
    return done

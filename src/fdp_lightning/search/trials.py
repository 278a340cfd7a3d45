"""The trials of a search: each an ordinary run of all folds, and what a search keeps of it."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fdp_lightning.config import configuration, let_debug_speak_last
from fdp_lightning.data.protocols.leak_guard import LeakError, check_subjects
from fdp_lightning.engine.complete import complete
from fdp_lightning.engine.outputs import INNER
from fdp_lightning.engine.run import FoldsFailedError, open_run
from fdp_lightning.errors import DiskError, UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.evaluation.search import inner_interval, inner_score
from fdp_lightning.labels import owners_of
from fdp_lightning.runs.folder import folder_of
from fdp_lightning.runs.pooling import POOLED, read_fold
from fdp_lightning.runs.seal import sealed
from fdp_lightning.search.space import Value

log = logging.getLogger("fdp_lightning")


@dataclass(frozen=True)
class Trial:
    """One point of the space, trained.

    Attributes:
        number: 0 for the first.
        values: key → value.
        overrides: that give the same run again, without a search.
        folder: of its run; None where there is none.
        failure: why it was not finished; '' where it was.
        inner: fold → what it gave on the clips that the fold set aside; of a failed trial its finished folds.
        test: fold → what it gave on the held-out clips.
    """

    number: int
    values: dict[str, Value]
    overrides: list[str]
    folder: Path | None = None
    failure: str = ""
    inner: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    test: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def finished(self) -> bool:
        """Whether all of its folds are."""
        return not self.failure

    @cached_property
    def all_inner(self) -> pd.DataFrame:
        """What it gave on the clips set aside in all folds."""
        return pd.concat(self.inner.values(), ignore_index=True)

    def score(self, classes: Sequence[str], score: str) -> "Scored":
        """Its inner score over all folds, with the interval; not a number where it failed."""
        if not self.finished:
            return Scored(self, math.nan, None)
        inner = self.all_inner
        return Scored(self, inner_score(inner, classes, score), inner_interval(inner, classes, score))


@dataclass(frozen=True)
class Scored:
    """A trial with its inner score over all folds and the interval of it."""

    trial: Trial
    value: float
    interval: list[float] | None


def own_overrides() -> list[str]:
    """The overrides of the command that are not about the search itself."""
    given = HydraConfig.get().overrides.task
    keys = [override.lstrip("+~").partition("=")[0] for override in given]
    ours = [key in ("task", "space") or key == "tune" or key.startswith("tune.") for key in keys]
    return [override for override, about_search in zip(given, ours, strict=True) if not about_search]


def compose_trial(overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """The configuration of a trial and its run folder, as the command with these overrides has them.

    Raises:
        HydraException: a key or an option that there is not.
    """
    config = configuration(*overrides, hydra=True)
    choices: Mapping[str, str | None] = config.hydra.runtime.choices
    folder = folder_of(config, choices, config.hydra.overrides.task)
    debug = choices.get("debug")
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    let_debug_speak_last(config, debug)
    return config, folder


def run_trial(number: int, values: dict[str, Value], overrides: list[str]) -> Trial:
    """Train all folds of a point of the space that are not finished; what it cannot do is its result too."""
    folder, run, failure = None, None, ""
    try:
        config, folder = compose_trial(overrides)
        run = open_run(config, folder)
        if not (run.is_complete and all((folder / name).is_file() for name in POOLED)):
            complete(run)
    except DiskError:
        raise
    except (UserError, FoldsFailedError, HydraException, OmegaConfBaseException) as error:
        failure = _reason(error)
        log.warning("trial %d failed: %s", number, failure)
    trial = Trial(number, values, overrides, folder, failure)
    for plan in run.plans if run else []:
        if plan.is_done:
            trial.inner[plan.fold.name] = read_inner(plan.folder)
            trial.test[plan.fold.name] = read_fold(plan.folder)
    return trial


def read_inner(folder: Path) -> pd.DataFrame:
    """What a finished fold gave on the clips that it set aside; it reads no other prediction.

    Raises:
        UserError: the fold is not as it was written.
        LeakError: there are clips of other subjects than those set aside.
    """
    facts = sealed(folder)
    check_subjects(folder.name, facts["subjects"])
    table = read_predictions(folder / INNER)[0]
    if unknown := sorted(set(owners_of(table)) - set(facts["subjects"]["inner"])):
        raise LeakError(f"{folder / INNER} holds subjects that were not set aside: {', '.join(unknown)}")
    return table


def _reason(error: Exception) -> str:
    """What made a trial fail, on one line; of folds the log of the first, by name."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if isinstance(error, FoldsFailedError):
        return min((line for line in lines if line.startswith("fold ")), default=lines[0])  # whichever ended first
    return lines[0] if lines else type(error).__name__

"""Trials of a search, each an ordinary run of all folds."""

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

from fdp_lightning.config import apply_debug_last, configuration
from fdp_lightning.engine.outputs import INNER
from fdp_lightning.engine.run import FoldsFailedError, complete, open_run
from fdp_lightning.errors import DiskError, UserError
from fdp_lightning.evaluation.search import inner_interval, inner_score
from fdp_lightning.runs.folder import folder_of
from fdp_lightning.runs.pooling import POOLED, read_fold
from fdp_lightning.search.space import Value

log = logging.getLogger("fdp_lightning")


@dataclass(frozen=True)
class Trial:
    """A trained point of the space.

    Attributes:
        number: number of the trial, from 0.
        values: key → value.
        overrides: overrides that give the same run without a search.
        folder: run folder; None if there is none.
        failure: reason of a failure; '' for a finished trial.
        inner: fold → predictions on its inner validation clips; for a failed trial only its finished folds.
        test: fold → predictions on its held-out clips.
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
        """True if all of its folds are finished."""
        return not self.failure

    @cached_property
    def all_inner(self) -> pd.DataFrame:
        """Return its predictions on the inner validation clips of all folds."""
        return pd.concat(self.inner.values(), ignore_index=True)

    def score(self, classes: Sequence[str], score: str) -> "Scored":
        """Return its inner score over all folds with the interval; NaN if it failed."""
        if not self.finished:
            return Scored(self, math.nan, None)
        inner = self.all_inner
        return Scored(self, inner_score(inner, classes, score), inner_interval(inner, classes, score))


@dataclass(frozen=True)
class Scored:
    """A trial with its inner score over all folds and the score's interval."""

    trial: Trial
    value: float
    interval: list[float] | None


def own_overrides() -> list[str]:
    """Return the overrides of the command without those of the search itself."""
    given = HydraConfig.get().overrides.task
    keys = [override.lstrip("+~").partition("=")[0] for override in given]
    ours = [key in ("task", "space") or key == "tune" or key.startswith("tune.") for key in keys]
    return [override for override, about_search in zip(given, ours, strict=True) if not about_search]


def compose_trial(overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Return the configuration and the run folder of the command with these overrides.

    Raises:
        HydraException: a key or an option does not exist.
    """
    config = configuration(*overrides, hydra=True)
    choices: Mapping[str, str | None] = config.hydra.runtime.choices
    folder = folder_of(config, choices, config.hydra.overrides.task)
    debug = choices.get("debug")
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    apply_debug_last(config, debug)
    return config, folder


def run_trial(number: int, values: dict[str, Value], overrides: list[str]) -> Trial:
    """Train all unfinished folds of a point of the space; a failure is recorded in the trial."""
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
            trial.inner[plan.fold.name] = read_fold(plan.folder, INNER, "inner")
            trial.test[plan.fold.name] = read_fold(plan.folder)
    return trial


def _reason(error: Exception) -> str:
    """Return the cause of a trial's failure on one line; for folds, the log of the first by name."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    if isinstance(error, FoldsFailedError):
        return min((line for line in lines if line.startswith("fold ")), default=lines[0])  # by name, not by time
    return lines[0] if lines else type(error).__name__

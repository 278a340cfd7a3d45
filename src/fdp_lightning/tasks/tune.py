"""`task=tune`: a hyper-parameter search that never sees a score of the subjects under test.

Each trial is an ordinary leave-one-subject-out run with inner validation subjects in every fold
(`selection.inner_subjects`), in the run folder of the same command with the trial's overrides. A search has no state
other than these runs: if started again, it proposes the same points, finds their finished folds, and continues.

The performance of the search is estimated by the nested score (evaluation/search.py).
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.console.progress import clock
from fdp_lightning.engine.dataset import expected_clips
from fdp_lightning.engine.run import Run, open_run
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.search import check_objective, is_better_lower, nested_choice, nested_frames
from fdp_lightning.files import write_atomic
from fdp_lightning.labels import LabelKind
from fdp_lightning.runs.environment import environment
from fdp_lightning.runs.folder import folder_of
from fdp_lightning.runs.pooling import pool_frames, remove_pooled
from fdp_lightning.search.space import Space
from fdp_lightning.search.trials import (
    BEST,
    NESTED,
    Trial,
    compose_trial,
    own_overrides,
    print_trials,
    run_trial,
    write_best,
    write_nested,
    write_trials,
)
from fdp_lightning.tasks import check_config

log = logging.getLogger("fdp_lightning")

PROCEDURE = (
    "nested score of a search over {n} trials: each fold comes from the trial with the best {objective} on its inner "
    "validation subjects"
)
SEEN = (
    "tune.sampler=tpe proposed trials by the inner scores of all folds, and a subject under test in one fold may be an "
    "inner validation subject of another: the nested score is not independent; with tune.sampler=random it is"
)


class SearchFailedError(Exception):
    """Raised when a search has no score because its trials failed."""


def tune(config: DictConfig) -> Path:
    """Run the unfinished trials, then choose, pool and print; return the folder of the search and its score.

    Impossible options raise UserError before any training; SearchFailedError means that no trial finished.
    """
    start = time.monotonic()
    score, space = _checked(config)
    overrides = own_overrides()
    folder = _folder(config, overrides)
    base = open_run(config, folder)
    config = base.config
    remove_pooled(folder)  # the old score may be that of fewer trials
    for stale in (BEST, NESTED):
        (folder / stale).unlink(missing_ok=True)
    write_atomic(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    trials = _search(config, space, overrides, score, folder)
    classes = list(config.protocol.classes)
    print_trials(trials, score)
    if not any(trial.finished for trial in trials):
        raise SearchFailedError(f"all {len(trials)} trials failed; the first: {trials[0].failure}")
    write_best(folder / BEST, trials, classes, score)
    _pool_nested(config, base, trials, classes, score)
    facts = {**environment(), "seconds": round(time.monotonic() - start, 1)}
    write_atomic(folder / "environment.json", json.dumps(facts, indent=1) + "\n")
    print(f"trials       {folder / 'trials.csv'}\nbest         {folder / BEST}")
    log.info("done in %s", clock(time.monotonic() - start))
    return folder


def _checked(config: DictConfig) -> tuple[str, Space]:
    """Return the inner score and the space of a search, or raise UserError for impossible options."""
    options = config.tune
    score = check_objective(str(options.objective), LabelKind.of_column(config.protocol.column))
    space = Space.of(config)
    space.check_sampler(options.sampler)
    if config.selection.inner_subjects < 1:
        raise UserError(
            "task=tune scores its trials on inner validation subjects of each fold, never on those under test:\n"
            "  set selection.inner_subjects=3 (for example)"
        )
    if config.run is not None:
        raise UserError(f"run={config.run}: each trial has its own run folder; tune.folder is that of the search")
    if importlib.util.find_spec("optuna") is None:
        raise UserError("task=tune needs Optuna: pip install 'fdp-lightning[tune]'")
    space.distributions()
    for corner in space.corners():  # an unknown key or option is reported before any training
        check_config(compose_trial([*own_overrides(), *corner, "task=loso"])[0])
    return score, space


def _folder(config: DictConfig, overrides: list[str]) -> Path:
    """Return the folder of a search; like a run folder it follows from the command, without the number of trials."""
    if config.tune.folder is not None:
        return Path(config.tune.folder)
    plain: Any = OmegaConf.to_container(config.tune, resolve=True)
    defining = {name: plain[name] for name in ("sampler", "objective", "space")}
    digest = hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:8]
    choices = HydraConfig.get().runtime.choices
    return folder_of(config, choices, overrides, search=f"tune-{config.tune.sampler}-{digest}")


def _search(config: DictConfig, space: Space, overrides: list[str], score: str, folder: Path) -> list[Trial]:
    from optuna.trial import TrialState

    study = space.study(config.tune.sampler, config.seed, minimise=is_better_lower(score))
    classes = list(config.protocol.classes)
    count = config.tune.trials if config.tune.sampler != "grid" else min(config.tune.trials, space.size or 0)
    trials: list[Trial] = []
    for number in range(count):
        asked = study.ask(space.distributions())
        values = space.values(asked.params)
        point = space.overrides(values)
        log.info("trial %d (%d of %d): %s", number, number + 1, count, " ".join(point))
        with contextlib.redirect_stdout(io.StringIO()):  # its table has test scores, which must not guide a choice
            trial = run_trial(number, values, [*overrides, *point, "task=loso"], classes, score)
        trials.append(trial)
        if trial.finished:
            study.tell(asked, trial.value)
            log.info("trial %d (%d of %d): inner/%s %.3f", number, number + 1, count, score, trial.value)
        else:
            study.tell(asked, state=TrialState.FAIL)
        write_trials(folder / "trials.csv", trials, score)
    return trials


def _pool_nested(config: DictConfig, base: Run, trials: list[Trial], classes: list[str], score: str) -> None:
    """Pool the test predictions of each fold's best trial on the fold's inner validation subjects."""
    names = [plan.fold.name for plan in base.plans]
    inner = {name: {trial.number: trial.inner[name] for trial in trials if name in trial.inner} for name in names}
    test = {name: {trial.number: trial.test[name] for trial in trials if name in trial.test} for name in names}
    choice = nested_choice(inner, classes, score)
    write_nested(base.folder / NESTED, choice, trials, classes, score)
    plan = expected_clips(base.data, [plan.fold for plan in base.plans])
    notes = [PROCEDURE.format(n=len(trials), objective=f"inner/{score}")]
    plan["caveats"] = [*plan["caveats"], *notes, *([SEEN] if config.tune.sampler == "tpe" else [])]
    shown = OmegaConf.merge(config, {"report": {"headline": "last"}})
    assert isinstance(shown, DictConfig)
    pool_frames(base.folder, shown, nested_frames(choice, test), plan)
    shutil.rmtree(base.folder / "unfinished", ignore_errors=True)

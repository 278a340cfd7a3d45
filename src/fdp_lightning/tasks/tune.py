"""`task=tune`: a search over hyper-parameters that sees no score of the subjects under test.

Each trial is an ordinary leave-one-subject-out run with subjects set aside in every fold (`selection.inner_subjects`),
in the folder that the same command with its overrides would have. A search keeps no state but these runs: started
again, it proposes the same points, finds their finished folds, and goes on where it was stopped.

What it may say it is worth is the nested score (evaluation/search.py).
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
from fdp_lightning.evaluation.search import (
    check_objective,
    is_better_lower,
    nested_choice,
    nested_frames,
)
from fdp_lightning.files import write_atomic
from fdp_lightning.labels import LabelKind
from fdp_lightning.runs.environment import environment
from fdp_lightning.runs.folder import folder_of
from fdp_lightning.runs.pooling import pool_frames, remove_pooled
from fdp_lightning.search.files import BEST, NESTED, print_trials, write_best, write_nested, write_trials
from fdp_lightning.search.space import Space
from fdp_lightning.search.trials import Scored, Trial, compose_trial, own_overrides, run_trial
from fdp_lightning.tasks import check_config

log = logging.getLogger("fdp_lightning")

PROCEDURE = (
    "nested score of a search over {n} trials: the folds are of different trials, each of the one best by {objective} "
    "on the subjects that this fold set aside from its training subjects"
)
SEEN = (
    "tune.sampler=tpe proposed trials by the inner scores of all folds, for which subjects under test in one fold were "
    "set aside in another: the nested score is not wholly independent; tune.sampler=random keeps it so"
)


class SearchFailedError(Exception):
    """A search without a score: its trials failed."""


def tune(config: DictConfig) -> Path:
    """Run the trials that are not finished, then choose, pool and print.

    Returns:
        The folder of the search: the run folder of its nested score.

    Raises:
        UserError: impossible options, before any training.
        SearchFailedError: no trial was finished, or a fold that none finished.
    """
    start = time.monotonic()
    score, space = _checked(config)
    overrides = own_overrides()
    folder = _folder(config, overrides)
    base = open_run(config, folder)
    config = base.config
    remove_pooled(folder)  # of fewer trials, perhaps
    for stale in (BEST, NESTED):
        (folder / stale).unlink(missing_ok=True)
    write_atomic(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    scored = _search(config, space, overrides, score, folder)
    trials = [one.trial for one in scored]
    classes = list(config.protocol.classes)
    print_trials(scored, score)
    if not any(trial.finished for trial in trials):
        raise SearchFailedError(f"all {len(trials)} trials failed; the first: {trials[0].failure}")
    write_best(folder / BEST, scored, classes, score)
    _pool_nested(config, base, trials, classes, score)
    facts = {**environment(), "seconds": round(time.monotonic() - start, 1)}
    write_atomic(folder / "environment.json", json.dumps(facts, indent=1) + "\n")
    print(f"trials       {folder / 'trials.csv'}\nbest         {folder / BEST}")
    log.info("done in %s", clock(time.monotonic() - start))
    return folder


def _checked(config: DictConfig) -> tuple[str, Space]:
    """The inner score and the space of a search whose options are possible."""
    check_config(config)
    options = config.tune
    score = check_objective(str(options.objective), LabelKind.of_column(config.protocol.column))
    space = Space.of(config)
    space.check_sampler(options.sampler)
    if config.selection.inner_subjects < 1:
        raise UserError(
            "task=tune scores its trials on subjects that each fold sets aside from its training subjects, never on "
            "those under test:\n  set selection.inner_subjects=3, say"
        )
    if config.run is not None:
        raise UserError(f"run={config.run}: each trial has a run folder of its own; tune.folder is that of the search")
    if importlib.util.find_spec("optuna") is None:
        raise UserError("task=tune needs Optuna: pip install 'fdp-lightning[tune]'")
    space.distributions()
    for corner in space.corners():  # a key or an option that there is not shall not cost a training
        check_config(compose_trial([*own_overrides(), *corner, "task=loso"])[0])
    return score, space


def _folder(config: DictConfig, overrides: list[str]) -> Path:
    """Where a search lives; like a run folder it follows from the command, the number of trials left out."""
    if config.tune.folder is not None:
        return Path(config.tune.folder)
    plain: Any = OmegaConf.to_container(config.tune, resolve=True)
    defining = {name: plain[name] for name in ("sampler", "objective", "space")}
    digest = hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:8]
    choices = HydraConfig.get().runtime.choices
    return folder_of(config, choices, overrides, search=f"tune-{config.tune.sampler}-{digest}")


def _search(config: DictConfig, space: Space, overrides: list[str], score: str, folder: Path) -> list[Scored]:
    from optuna.trial import TrialState

    study = space.study(config.tune.sampler, config.seed, minimise=is_better_lower(score))
    classes = list(config.protocol.classes)
    count = config.tune.trials if config.tune.sampler != "grid" else min(config.tune.trials, space.size or 0)
    scored: list[Scored] = []
    for number in range(count):
        asked = study.ask(space.distributions())
        values = space.values(asked.params)
        point = space.overrides(values)
        log.info("trial %d (%d of %d): %s", number, number + 1, count, " ".join(point))
        with contextlib.redirect_stdout(io.StringIO()):  # a table of test scores that nobody is to choose by
            trial = run_trial(number, values, [*overrides, *point, "task=loso"])
        scored.append(trial.score(classes, score))
        if trial.finished:
            study.tell(asked, scored[-1].value)
            log.info("trial %d (%d of %d): inner/%s %.3f", number, number + 1, count, score, scored[-1].value)
        else:
            study.tell(asked, state=TrialState.FAIL)
        write_trials(folder / "trials.csv", scored, score)
    return scored


def _pool_nested(config: DictConfig, base: Run, trials: list[Trial], classes: list[str], score: str) -> None:
    """Pool each fold's test predictions of the trial that is best on the subjects this fold set aside."""
    names = [plan.fold.name for plan in base.plans]
    inner = {name: {trial.number: trial.inner[name] for trial in trials if name in trial.inner} for name in names}
    test = {name: {trial.number: trial.test[name] for trial in trials if name in trial.test} for name in names}
    choice = nested_choice(inner, classes, score)
    write_nested(base.folder / NESTED, choice, trials, classes, score)
    plan = expected_clips(base.data, [plan.fold for plan in base.plans])
    said = [PROCEDURE.format(n=len(trials), objective=f"inner/{score}")]
    plan["caveats"] = [*plan["caveats"], *said, *([SEEN] if config.tune.sampler == "tpe" else [])]
    shown = OmegaConf.merge(config, {"report": {"headline": "last"}})
    assert isinstance(shown, DictConfig)
    pool_frames(base.folder, shown, nested_frames(choice, test), plan)
    shutil.rmtree(base.folder / "unfinished", ignore_errors=True)

"""`task=fit`: one model of all subjects, to be used on other footage. Its score is that of the folds, `task=loso`."""

import logging
import shutil
import time
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig

from fdp_lightning.console.progress import clock
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.engine.run import Run, open_run, train
from fdp_lightning.errors import UserError
from fdp_lightning.runs.folder import run_folder
from fdp_lightning.tracking.loggers import is_wandb

log = logging.getLogger("fdp_lightning")

PLACE = "fit"
"""The folder of the training in the run folder, apart from the folds that are pooled."""

MODEL = "model"
"""The folder of the model file in the run folder."""

_WRITING_LOCK = ".writing.lock"


def fit(config: DictConfig) -> None:
    """Train on all clips of the protocol, nobody held out, unless that is done, and write the model.

    It has the settings of the folds of the same command, but `selection.inner_subjects` sets nobody aside.

    Raises:
        UserError: no single clip could be predicted by the model, or the labels are shuffled.
        FoldsFailedError: with the log of the training.
    """
    start = time.monotonic()
    _check(config)
    home = run_folder(config)
    config = _without_folds(config)
    run = open_run(config, home / PLACE, fit=True)
    (plan,) = run.plans
    _say_parts(run)
    with run.claim():
        trained = train(run, [plan])
    print(f"fit{'' if trained else ' is finished'}  {plan.folder}")
    shutil.rmtree(run.folder / "unfinished", ignore_errors=True)  # it is done: what is left is its lock
    if trained:
        _say_where_logged(config, home)
    with FileLock(run.folder / _WRITING_LOCK, mode=0o666):
        _write_model(plan, config.fit.licence)
    log.info("done in %s", clock(time.monotonic() - start))


def _write_model(plan: FoldPlan, licence: str | None) -> None:
    """The model folder, from the checkpoint: with the scores of the folds, if they have been run by now."""
    from fdp_lightning.inference.packaging.model_file import write_model
    from fdp_lightning.inference.packaging.sources import read_source

    folder = plan.home / MODEL
    facts, state = read_source(plan.folder, licence)
    write_model(folder, facts, state)
    print(f"model  {folder}")


def _check(config: DictConfig) -> None:
    if config.data.normalisation == "each_set":
        raise UserError(
            "data.normalisation=each_set normalises a set of clips by itself, so that no single clip can be predicted. "
            "task=fit expects data.normalisation=training"
        )
    if config.protocol.shuffled is not None:
        raise UserError(
            f"protocol.shuffled={config.protocol.shuffled}: the labels mean nothing, and neither would a model of them "
            "(task=fit). Expected protocol.shuffled=null"
        )


def _without_folds(config: DictConfig) -> DictConfig:
    """The same configuration, less what is about several folds; nothing of it is in the fingerprint."""
    config = config.copy()
    if inner := config.selection.inner_subjects:
        log.info("selection.inner_subjects=%d: a fit trains on all subjects and sets none aside", inner)
    return config


def _say_parts(run: Run) -> None:
    """A split that the owners publish has parts; a fit takes them all."""
    if run.data.protocol.split == "fixed":
        counts = run.data.clips["split"].replace("", "no part").value_counts()
        parts = ", ".join(f"{part} {clips}" for part, clips in counts.items())
        log.info("protocol.split=fixed: all parts are trained on (clips: %s)", parts)


def _say_where_logged(config: DictConfig, home: Path) -> None:
    for name, node in config.logger.items():
        if is_wandb(node) and node.offline:
            print(f"{name:<12} offline; to upload: wandb sync {home}/wandb/offline-run-*")

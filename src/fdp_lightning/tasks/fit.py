"""`task=fit`: one model, trained on all subjects, for new videos. Its score is that of the folds of `task=loso`."""

import logging
import shutil
import time

from filelock import FileLock
from omegaconf import DictConfig

from fdp_lightning.console.progress import clock
from fdp_lightning.engine.run import open_run, train
from fdp_lightning.errors import UserError
from fdp_lightning.runs.folder import run_folder
from fdp_lightning.tracking.loggers import is_wandb

log = logging.getLogger("fdp_lightning")

PLACE = "fit"  # subfolder of the run folder for this training, separate from the pooled folds

MODEL = "model"  # subfolder of the run folder for the model file


def fit(config: DictConfig) -> None:
    """Train on all clips of the protocol, with no subject held out, unless already done; write the model.

    The settings are those of the folds of the same command, without inner validation subjects. UserError if the model
    could not predict a single clip, or the labels are shuffled; FoldsFailedError names the log of a training that
    failed.
    """
    start = time.monotonic()
    _check(config)
    home = run_folder(config)
    if inner := config.selection.inner_subjects:
        log.info("selection.inner_subjects=%d: a fit trains on all subjects, without inner validation subjects", inner)
    run = open_run(config, home / PLACE, fit=True)
    (plan,) = run.plans
    if run.data.protocol.split == "fixed":
        counts = run.data.clips["split"].replace("", "no part").value_counts()
        parts = ", ".join(f"{part} {clips}" for part, clips in counts.items())
        log.info("protocol.split=fixed: a fit trains on all parts of the split (clips: %s)", parts)
    with run.claim():
        trained = train(run, [plan])
    print(f"fit{'' if trained else ' is finished'}  {plan.folder}")
    shutil.rmtree(run.folder / "unfinished", ignore_errors=True)  # only a lock is left in it
    if trained:
        for name, node in config.logger.items():
            if is_wandb(node) and node.offline:
                print(f"{name:<12} offline; to upload: wandb sync {home}/wandb/offline-run-*")
    from fdp_lightning.inference.packaging.model_file import write_model
    from fdp_lightning.inference.packaging.sources import read_source

    with FileLock(run.folder / ".writing.lock", mode=0o666):
        write_model(home / MODEL, *read_source(plan.folder, config.fit.licence))
    print(f"model  {home / MODEL}")
    log.info("done in %s", clock(time.monotonic() - start))


def _check(config: DictConfig) -> None:
    if config.data.normalisation == "each_set":
        raise UserError(
            "data.normalisation=each_set normalises each set of clips separately, so no single clip can be predicted. "
            "task=fit expects data.normalisation=training"
        )
    if config.protocol.shuffled is not None:
        raise UserError(
            f"protocol.shuffled={config.protocol.shuffled}: the labels mean nothing, and neither would a model trained "
            "on them (task=fit). Expected protocol.shuffled=null"
        )

"""`task=report run=…`: pool a finished run again, without training."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import require_plain_run
from fdp_lightning.runs.folder import recorded_config
from fdp_lightning.runs.pooling import EXPECTED, pool_run
from fdp_lightning.tracking.aggregate import log_pooled
from fdp_lightning.tracking.loggers import check_loggers, tags_of_run


def report(config: DictConfig) -> None:
    """Pool the folds of `run` again and rewrite report.html."""
    run = Path(config.run)
    if not (run / EXPECTED).is_file():
        raise UserError(f"{run} is not a run folder (it has no {EXPECTED}). Runs are in {config.runs}/")
    require_plain_run(run)
    of_run = config_of(run, config)
    check_loggers(of_run, tags_of_run(run))
    log_pooled(of_run, run, pool_run(run, of_run), again=True)


def config_of(run: Path, config: DictConfig) -> DictConfig:
    """Return the recorded configuration of a run, with the overrides of this command."""
    of_run = recorded_config(run)
    if config.report.show_faces is not None:
        of_run.report.show_faces = config.report.show_faces
    of_run.report.title = config.report.title or of_run.report.title
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    if any(override.startswith("report.headline=") for override in overrides):
        of_run.report.headline = config.report.headline
    # Taken from this command: earlier logging of a run is no permission to send it, or faces, somewhere now.
    of_run.report.upload_faces = config.report.upload_faces
    of_run.logger = config.logger
    return of_run

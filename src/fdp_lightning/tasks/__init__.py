"""The task layer: the only room that composes the others."""

from importlib import import_module
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning import interrupts
from fdp_lightning.config import TASKS, let_debug_speak_last
from fdp_lightning.console.mistakes import check_task
from fdp_lightning.console.option_values import check_values
from fdp_lightning.disk import disk_trouble
from fdp_lightning.errors import DiskError, UserError


def run_task(config: DictConfig) -> str | None:
    """Run `config.task`. Tasks are imported by need: a typing mistake must not wait for torch.

    Returns:
        The run folder, of a task that trains: a sweep makes its table of them.
    """
    check_config(config)
    let_debug_speak_last(config, HydraConfig.get().runtime.choices.get("debug"))
    module, function = TASKS[config.task].split(".")
    task = getattr(import_module(f"fdp_lightning.tasks.{module}"), function)
    interrupts.tidy_up_first()
    try:
        run = task(config)
    except UserError:
        raise
    except Exception as error:  # here and not for the command as a whole: one job of a sweep may have met a full disk
        if (words := disk_trouble(error)) is None:
            raise
        raise DiskError(f"task={config.task}: {words}") from error
    return str(run) if isinstance(run, Path) else None


def check_config(config: DictConfig) -> None:
    """Refuse what no command can mean, before anything is imported for it.

    Raises:
        UserError: of the task or of the values of options.
    """
    check_task(config.task, list(TASKS))
    _check_runs(config)
    check_values(config)


def _check_runs(config: DictConfig) -> None:
    """`runs` has no type in the schema, because one task takes a list."""
    runs = config.runs
    if OmegaConf.is_list(runs) and config.task != "compare":
        raise UserError(
            f"runs={list(runs)}: task={config.task} expects one folder, that above all run folders (runs=runs). "
            "A list is for task=compare."
        )
    if not runs or OmegaConf.is_dict(runs):
        raise UserError("runs: expected a folder (runs=runs), or a list of them for task=compare (runs=[a,b])")

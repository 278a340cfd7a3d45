"""Tasks: the top layer, which composes the others."""

import logging
import sys
from importlib import import_module
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning import interrupts
from fdp_lightning.config import TASKS, apply_debug_last
from fdp_lightning.console.arguments import check_task
from fdp_lightning.console.option_values import check_values
from fdp_lightning.errors import DiskError, UserError, disk_trouble

log = logging.getLogger("fdp_lightning")

TORCH_FIRST = ("predict", "export", "demo", "tune")  # tasks that load PyTorch before they print anything

_NEEDED = {
    "report": {"run": "the run folder, runs/<experiment>/<variant>/seed-<s>"},
    "predict": {"predict.input": "a video file, a folder of frames, a folder of these, or 'synthetic'"},
    "export": {"export.checkpoint": "a finished fold, runs/<experiment>/<variant>/seed-<s>/folds/<fold>, or a model"},
    "convert": {"convert.input": "a checkpoint", "convert.output": "a path for the converted one"},
}
"""Task → options without which it cannot start, and what is expected of them."""


def run_task(config: DictConfig) -> str | None:
    """Run `config.task`, importing only this task, so that a typing mistake is reported before torch is imported.

    Returns the run folder of a task that trains, from which a sweep builds its table; otherwise None.
    """
    check_config(config)
    apply_debug_last(config, HydraConfig.get().runtime.choices.get("debug"))
    module, function = TASKS[config.task].split(".")
    if config.task in TORCH_FIRST and "torch" not in sys.modules:  # takes seconds, the first time a minute
        log.info("task=%s: loading PyTorch", config.task)
    task = getattr(import_module(f"fdp_lightning.tasks.{module}"), function)
    interrupts.tidy_up_first()
    try:
        run = task(config)
    except UserError:
        raise
    except Exception as error:  # per task, not per command: a single job of a sweep may have met a full disk
        if (message := disk_trouble(error)) is None:
            raise
        raise DiskError(f"task={config.task}: {message}") from error
    return str(run) if isinstance(run, Path) else None


def check_config(config: DictConfig) -> None:
    """Raise UserError if the task or an option is invalid or missing, before anything is imported for it."""
    check_task(config.task)
    runs = config.runs  # has no type in the schema, because one task takes a list
    if OmegaConf.is_list(runs) and config.task != "compare":
        raise UserError(
            f"runs={list(runs)}: task={config.task} expects one folder that contains all run folders (runs=runs). "
            "Only task=compare takes a list."
        )
    if not runs or OmegaConf.is_dict(runs):
        raise UserError("runs: expected a folder (runs=runs), or a list of them for task=compare (runs=[a,b])")
    check_values(config)
    for key, expected in _NEEDED.get(config.task, {}).items():
        if OmegaConf.select(config, key) is None:
            raise UserError(f"task={config.task} needs {key}=…; expected {expected}")

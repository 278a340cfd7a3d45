"""The task layer: the only room that composes the others."""

from importlib import import_module
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.config import let_debug_speak_last
from fdp_lightning.errors import UserError

_TASKS = {
    "loso": "loso.loso",
    "fold": "loso.fold",
    "tune": "tune.tune",
    "fit": "fit.fit",
    "prepare": "prepare.prepare",
    "check_data": "check_data.check_data",
    "report": "report.report",
    "compare": "compare.compare_runs",
    "predict": "predict.predict",
    "demo": "demo.demo",
    "export": "export.export",
    "convert": "convert.convert",
    "benchmark": "benchmark.benchmark",
}
"""Task → its module in this room, and the function there."""


def run_task(config: DictConfig) -> str | None:
    """Run `config.task`. Tasks are imported by need: a typing mistake must not wait for torch.

    Returns:
        The run folder, of a task that trains: a sweep makes its table of them.
    """
    if config.task not in _TASKS:
        raise UserError(f"there is no task '{config.task}'. Tasks: {', '.join(_TASKS)}")
    _check_runs(config)
    let_debug_speak_last(config, HydraConfig.get().runtime.choices.get("debug"))
    module, function = _TASKS[config.task].split(".")
    run = getattr(import_module(f"fdp_lightning.tasks.{module}"), function)(config)
    return str(run) if isinstance(run, Path) else None


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

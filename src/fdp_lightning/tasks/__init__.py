"""The task layer: the only room that composes the others."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.config import let_debug_speak_last
from fdp_lightning.errors import UserError

_TASKS = ("loso", "fold", "prepare", "check_data", "report", "compare", "convert", "tune", "benchmark")


def run_task(config: DictConfig) -> str | None:
    """Run `config.task`. Tasks are imported by need: a typing mistake must not wait for torch.

    Returns:
        The run folder, of a task that trains: a sweep makes its table of them.
    """
    if config.task not in _TASKS:
        raise UserError(f"there is no task '{config.task}'. Tasks: {', '.join(_TASKS)}")
    _check_runs(config)
    let_debug_speak_last(config, HydraConfig.get().runtime.choices.get("debug"))
    if config.task == "loso":
        from fdp_lightning.tasks.loso import loso

        return str(loso(config))
    if config.task == "fold":
        from fdp_lightning.tasks.loso import fold

        return str(fold(config))
    if config.task == "tune":
        from fdp_lightning.tasks.tune import tune

        return str(tune(config))
    if config.task == "prepare":
        from fdp_lightning.tasks.prepare import prepare

        prepare(config)
    elif config.task == "check_data":
        from fdp_lightning.tasks.check_data import check_data

        check_data(config)
    elif config.task == "compare":
        from fdp_lightning.tasks.compare import compare_runs

        compare_runs(config)
    elif config.task == "benchmark":
        from fdp_lightning.tasks.benchmark import benchmark

        benchmark(config)
    elif config.task == "convert":
        from fdp_lightning.tasks.convert import convert

        convert(config)
    else:
        from fdp_lightning.tasks.report import report

        report(config)
    return None


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

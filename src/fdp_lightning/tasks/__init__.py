"""The task layer: the only room that composes the others."""

from omegaconf import DictConfig

from fdp_lightning.errors import UserError

_TASKS = ("loso", "fold", "prepare", "report")


def run_task(config: DictConfig) -> None:
    """Run `config.task`. Tasks are imported by need: a typing mistake must not wait for torch."""
    if config.task not in _TASKS:
        raise UserError(f"there is no task '{config.task}'. Tasks: {', '.join(_TASKS)}")
    if config.task == "loso":
        from fdp_lightning.tasks.loso import loso

        loso(config)
    elif config.task == "fold":
        from fdp_lightning.tasks.fold import fold

        fold(config)
    elif config.task == "prepare":
        from fdp_lightning.tasks.prepare import prepare

        prepare(config)
    else:
        from fdp_lightning.tasks.report import report

        report(config)

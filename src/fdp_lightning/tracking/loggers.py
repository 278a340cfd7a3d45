"""The loggers that the group `logger` chooses, one or several at once: the same numbers go to each.

Of W&B there is one run per process: each fold has one, and the pooled scores have another. A run is known by a random
id kept on the disk, so that what was cut off goes on in the same run, and equal commands of two users do not meet.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fdp_lightning.files import write_atomic
from fdp_lightning.instantiate import build
from fdp_lightning.runs.folder import experiment_name

# What a W&B run's configuration leaves out: where things lie on this machine, and tasks that are not this one.
_NOT_SHOWN = (
    "task", "fold", "run", "runs", "logger", "report", "compare", "convert", "check_data", "fit", "export", "predict",
    "demo",
)  # fmt: skip
_NOT_SHOWN_OF_DATA = ("root", "store", "workers", "loader_workers")
_LONGEST_VARIANT, _LONGEST_NAME = 80, 128  # characters; W&B's server is reported to refuse more than 128

WANDB_IMPORTS = ("wandb", "wandb.sdk.launch")
"""What a process that opens a W&B run imports; the second one late and slowly (0.6 s), as W&B begins a run."""


@dataclass(frozen=True)
class LogOf:
    """Whose log it is, for W&B.

    Attributes:
        name: of the process within its group: a fold's, 'fit' or 'pooled'.
        job_type: fold, fit or aggregate.
        id: of the W&B run.
        facts: to stand beside the configuration.
    """

    name: str
    job_type: str
    id: str
    facts: dict[str, Any]


def is_wandb(node: DictConfig) -> bool:
    """Whether a node of the group `logger` is W&B's."""
    return str(node._target_).endswith("WandbLogger")


def uses_wandb(config: DictConfig) -> bool:
    """Whether W&B is among the chosen loggers."""
    return any(is_wandb(node) for node in config.logger.values())


def build_loggers(config: DictConfig, run: Path, folder: Path, of: LogOf) -> list[Any]:
    """The Lightning loggers; that of W&B has opened its run.

    Args:
        config: the configuration.
        run: the run folder; W&B's files lie in its folder wandb.
        folder: where the files of the other loggers go.
        of: whose log it is.
    """
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    # Only the first process of a fold has loggers, and the processes of folds are numbered by us: that this one stands
    # where Slurm or torchrun counts further (SLURM_PROCID=1) must not silence it.
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    return [_wandb_logger(node, config, run, of) if is_wandb(node) else _in_folder(node, folder)
            for node in config.logger.values()]  # fmt: skip


def _in_folder(node: DictConfig, folder: Path) -> Any:
    # Straight into the folder: Lightning would add a name and a version number.
    return build(_extended(node, save_dir=str(folder), name="", version=""))


def _wandb_logger(node: DictConfig, config: DictConfig, run: Path, of: LogOf) -> Any:
    # What W&B uploads later lies with the run, not in the user's home.
    os.environ.setdefault("WANDB_DATA_DIR", str((run / "wandb").absolute()))
    os.environ.setdefault("WANDB_SILENT", "true")  # a fold has its log.txt, and one line is said of the pooled run
    about: dict[str, Any] = {"save_dir": str(run), "id": of.id, "job_type": of.job_type}
    if node.offline:
        os.environ["WANDB_ERROR_REPORTING"] = "false"  # else W&B's helper process tells its makers of errors
        about["mode"] = "offline"  # whatever the environment (WANDB_MODE) or W&B's own settings say
    import wandb

    wandb.setup()  # reads these variables: WandbLogger's own first words would still come too early
    experiment, variant = names_of(config, run)
    about["group"] = f"{experiment}/{shortened(variant, _LONGEST_VARIANT)}/seed-{config.seed}"
    about["name"] = shortened(f"{about['group']}/{of.name}", _LONGEST_NAME)
    about["settings"] = {"console": "off", **(node.get("settings") or {})}
    logger = build(_extended(node, **about))
    names = {"experiment": experiment, "variant": variant, "label": f"{experiment}/{variant}"}  # to group runs by
    logger.log_hyperparams({**shown(config), **names, **of.facts})
    return logger


def _extended(node: DictConfig, **values: Any) -> DictConfig:
    node = node.copy()
    OmegaConf.set_struct(node, False)
    node.update(values)
    return node


def names_of(config: DictConfig, run: Path) -> tuple[str, str]:
    """Experiment and variant: of the run folder's path, or, where `run=` says the folder, of data and protocol."""
    if config.get("run") is None:
        return run.absolute().parts[-3], run.absolute().parts[-2]
    return experiment_name(config), run.name


def shortened(text: str, limit: int) -> str:
    """Text of at most so many characters, still another for another text."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def shown(config: DictConfig) -> dict[str, Any]:
    """The configuration as a W&B run has it: nested, so that W&B can filter and group by data.batch_size."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in plain.items() if key not in _NOT_SHOWN}
    kept["data"] = {key: value for key, value in kept["data"].items() if key not in _NOT_SHOWN_OF_DATA}
    return kept


def new_id() -> str:
    """A random id of a W&B run."""
    return secrets.token_hex(8)


def kept_id(place: Path) -> str:
    """The id that this file holds; a new one, kept there, if there is none."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(place.read_text())["id"])
    fresh = new_id()
    write_atomic(place, json.dumps({"id": fresh}) + "\n")
    return fresh


def close_loggers(loggers: Iterable[Any], success: bool = True) -> None:
    """Let W&B write the rest of its run, forget it and end its helper process: a worker ends without its exit hooks,
    and a second run in one process would go on with the first.
    """
    for logger in loggers:
        if type(logger).__name__ == "WandbLogger":
            import wandb

            logger.experiment.finish(exit_code=0 if success else 1)
            wandb.teardown(exit_code=0 if success else 1)

"""Loggers, one or several, chosen by the group `logger`; all receive the same numbers, and all are checked early.

W&B has one run per process: one for each fold, and another for the pooled scores. A run is identified by a random id
stored on disk, so an interrupted fold resumes its run, and equal commands of two users do not collide.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.instantiate import build
from fdp_lightning.processes import in_worker
from fdp_lightning.runs.folder import experiment_name, recorded_config

# Left out of a W&B run's configuration: paths on this machine, and options of other tasks.
_NOT_SHOWN = (
    "task", "fold", "run", "runs", "logger", "report", "compare", "convert", "check_data", "fit", "export", "predict",
    "demo",
)  # fmt: skip
_NOT_SHOWN_OF_DATA = ("root", "store", "workers", "loader_workers")
_LONGEST_VARIANT, _LONGEST_NAME = 80, 128  # characters; W&B's server is reported to refuse more than 128

WANDB_IMPORTS = ("wandb", "wandb.sdk.launch")
"""Modules that a process with a W&B run imports; W&B itself imports the second, slowly (0.6 s), as the run starts."""


@dataclass(frozen=True)
class LogOf:
    """Identity of a log on W&B: its name within its group, and additional entries of the run's configuration."""

    name: str
    job_type: str
    id: str
    facts: dict[str, Any]


def is_wandb(node: DictConfig) -> bool:
    return str(node._target_).endswith("WandbLogger")


def uses_wandb(config: DictConfig) -> bool:
    return any(is_wandb(node) for node in config.logger.values())


def build_loggers(config: DictConfig, run: Path, folder: Path, of: LogOf) -> list[Any]:
    """Build the Lightning loggers and open W&B's run.

    W&B's files go to `wandb` in the run folder, those of the other loggers to `folder`.
    """
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    # Only the first process of a fold has loggers, and we number these processes ourselves: a rank set by Slurm or
    # torchrun (SLURM_PROCID=1) must not silence it.
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    # Directly in the folder: Lightning would add a name and a version number.
    place = {"save_dir": str(folder), "name": "", "version": ""}
    return [
        _wandb_logger(node, config, run, of) if is_wandb(node) else build(node, **place)
        for node in config.logger.values()
    ]


def _wandb_logger(node: DictConfig, config: DictConfig, run: Path, of: LogOf) -> Any:
    # Files to upload later stay with the run, not in the user's home folder.
    os.environ.setdefault("WANDB_DATA_DIR", str((run / "wandb").absolute()))
    os.environ.setdefault("WANDB_SILENT", "true")  # folds have log.txt; the pooled run prints one line
    if node.offline:
        os.environ["WANDB_ERROR_REPORTING"] = "false"  # otherwise W&B's helper process reports errors to W&B
    import wandb

    wandb.setup()  # reads these variables before WandbLogger prints anything
    experiment, variant = names_of(config, run)
    group = f"{experiment}/{shortened(variant, _LONGEST_VARIANT)}/seed-{config.seed}"
    logger = build(
        node,
        save_dir=str(run),
        id=of.id,
        job_type=of.job_type,
        group=group,
        name=shortened(f"{group}/{of.name}", _LONGEST_NAME),
        settings={"console": "off", **(node.get("settings") or {})},
        **({"mode": "offline"} if node.offline else {}),  # overrides the environment (WANDB_MODE) and W&B's settings
    )
    names = {"experiment": experiment, "variant": variant, "label": f"{experiment}/{variant}"}  # to group runs by
    logger.log_hyperparams({**shown(config), **names, **of.facts})
    return logger


def names_of(config: DictConfig, run: Path) -> tuple[str, str]:
    """Return experiment and variant from the run folder's path or, if `run=` sets it, from data and protocol."""
    if config.get("run") is None:
        return run.absolute().parts[-3], run.absolute().parts[-2]
    return experiment_name(config), run.absolute().name


def shortened(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` characters; different texts stay different."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def shown(config: DictConfig) -> dict[str, Any]:
    """Return the configuration for a W&B run, nested so that W&B can filter and group by data.batch_size."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in plain.items() if key not in _NOT_SHOWN}
    kept["data"] = {key: value for key, value in kept["data"].items() if key not in _NOT_SHOWN_OF_DATA}
    return kept


def kept_id(place: Path) -> str:
    """Return the id of a W&B run from this file, or a new random id after storing it there."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(place.read_text())["id"])
    fresh = secrets.token_hex(8)
    write_atomic(place, json.dumps({"id": fresh}) + "\n")
    return fresh


def close_loggers(loggers: Iterable[Any], success: bool = True) -> None:
    """Finish W&B's run and end its helper process.

    Workers end without exit hooks, and otherwise a second run in the same process would continue the first.
    """
    for logger in loggers:
        if type(logger).__name__ == "WandbLogger":
            import wandb

            logger.experiment.finish(exit_code=0 if success else 1)
            wandb.teardown(exit_code=0 if success else 1)


def check_loggers(config: DictConfig, tags: Sequence[str]) -> None:
    """Add `tags` to W&B's tags; UserError for a missing package, an unknown option, or W&B online without a login."""
    for name, node in config.logger.items():
        target = str(node._target_)
        if target.endswith("TensorBoardLogger") and not (find_spec("tensorboard") or find_spec("tensorboardX")):
            raise UserError(
                f"logger={name} needs the package tensorboard: pip install fdp-lightning[tensorboard], or choose "
                "logger=csv"
            )
        if is_wandb(node):
            if not isinstance(node.get("offline"), bool):
                raise UserError(f"logger.{name}.offline is {node.get('offline')!r}; expected true or false")
            if "mode" in node or "mode" in (node.get("settings") or {}):
                raise UserError(f"logger.{name} has no option mode; choose with logger.{name}.offline=true or false")
            OmegaConf.set_struct(node, False)
            node.tags = [*dict.fromkeys([*tags, *(node.get("tags") or [])])]
        if is_wandb(node) or set(node) - {"_target_"}:
            in_worker(try_logger, str(name), node)  # a worker has already imported Lightning and W&B


def tags_of(config: DictConfig) -> list[str]:
    """Return the W&B tags of a run: dataset, protocol, model, and 'real' or 'synthetic'."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return _tags(config, choices.get("model"))


def tags_of_run(run: Path) -> list[str]:
    """Return the tags of an existing run from its config.yaml, which records the model option only in W&B's tags."""
    of_run = recorded_config(run)
    nodes = [node for node in (of_run.logger or {}).values() if isinstance(node, DictConfig) and "_target_" in node]
    kept = [node.get("tags") or [] for node in nodes if is_wandb(node)]
    return [*dict.fromkeys([*_tags(of_run), *(str(tag) for tags in kept for tag in tags)])]


def _tags(config: DictConfig, model: str | None = None) -> list[str]:
    kind = "real" if config.data.generate is None else "synthetic"
    return [tag for tag in (config.data.name, config.protocol.name, model, kind) if tag]


def try_logger(name: str, node: DictConfig) -> None:
    """Build a logger as a fold would, without starting a run; raises UserError as `check_loggers` does."""
    if not is_wandb(node):
        build(node, save_dir=".", name="", version="")  # writes nothing
        return
    import inspect

    import wandb

    options = {key: value for key, value in node.items() if key not in ("_target_", "offline")}
    lightning = inspect.signature(type(build(node)).__init__).parameters
    unknown = set(map(str, options)) - set(lightning) - set(inspect.signature(wandb.init).parameters)
    if unknown:
        raise UserError(f"logger.{name} has no option {', '.join(sorted(unknown))}")
    plain = {"project": node.get("project"), "entity": node.get("entity"), "run_tags": tuple(node.tags)}
    try:
        wandb.Settings(**plain, **(node.get("settings") or {}))
    except (ValueError, wandb.errors.UsageError) as error:
        raise UserError(f"logger.{name}: W&B rejects the options: {error}") from error
    if not node.offline and os.environ.get("WANDB_MODE") not in ("offline", "dryrun", "disabled"):
        _check_account(name)


def _check_account(name: str) -> None:
    import wandb

    os.environ["WANDB_SILENT"] = "true"  # in this worker only
    cure = f"log in (wandb login, or WANDB_API_KEY), or log offline: logger.{name}.offline=true"
    try:
        logged_in = wandb.login(prompt=False, verify=True)
    except (wandb.errors.Error, OSError) as error:
        raise UserError(f"logger.{name}.offline=false: W&B rejected the login: {error}\n  {cure}") from error
    finally:
        wandb.teardown()
    if not logged_in:
        raise UserError(f"logger.{name}.offline=false needs a W&B account, but no key was found.\n  {cure}")

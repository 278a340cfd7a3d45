"""Refuse loggers that cannot work before any data is prepared and any fold is trained."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build
from fdp_lightning.processes import in_worker
from fdp_lightning.runs.folder import recorded_config
from fdp_lightning.tracking.loggers import is_wandb

_OFFLINE = ("offline", "dryrun", "disabled")


def check_loggers(config: DictConfig, tags: Sequence[str]) -> None:
    """Refuse impossible loggers, and add these to W&B's tags, which name what the run is.

    Raises:
        UserError: a package is missing, an option is unknown, or W&B is to be online and nobody is logged in.
    """
    for name, node in config.logger.items():
        target = str(node._target_)
        if target.endswith("TensorBoardLogger") and not (find_spec("tensorboard") or find_spec("tensorboardX")):
            raise UserError(
                f"logger={name} needs the package tensorboard: pip install fdp-lightning[tensorboard], or choose "
                "logger=csv"
            )
        if is_wandb(node):
            _check_offline(str(name), node)
            OmegaConf.set_struct(node, False)
            node.tags = [*dict.fromkeys([*tags, *(node.get("tags") or [])])]
        if is_wandb(node) or set(node) - {"_target_"}:
            in_worker(try_logger, str(name), node)  # Lightning and W&B are imported there already


def tags_of(config: DictConfig) -> list[str]:
    """W&B's tags of a run: dataset, protocol, model, whether it is synthetic, and debug-smoke if it is a trial."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    tags = _tags(config, choices.get("model"))
    if choices.get("debug") not in (None, "true"):
        tags.append(f"debug-{choices['debug']}")
    return tags


def tags_of_run(run: Path) -> list[str]:
    """The same of a run that lies there, by its config.yaml; which option its model was, only W&B's tags have kept."""
    of_run = recorded_config(run)
    nodes = [node for node in (of_run.logger or {}).values() if isinstance(node, DictConfig) and "_target_" in node]
    kept = [node.get("tags") or [] for node in nodes if is_wandb(node)]
    return [*dict.fromkeys([*_tags(of_run), *(str(tag) for tags in kept for tag in tags)])]


def _tags(config: DictConfig, model: str | None = None) -> list[str]:
    kind = "real" if config.data.generate is None else "synthetic"
    return [tag for tag in (config.data.name, config.protocol.name, model, kind) if tag]


def _check_offline(name: str, node: DictConfig) -> None:
    if not isinstance(node.get("offline"), bool):
        raise UserError(f"logger.{name}.offline is {node.get('offline')!r}; expected true or false")
    if "mode" in node or "mode" in (node.get("settings") or {}):
        raise UserError(f"logger.{name} has no option mode: logger.{name}.offline=true or false says where runs go")


def try_logger(name: str, node: DictConfig) -> None:
    """Make a logger as a fold would, short of opening its run.

    Raises:
        UserError: see `check_loggers`.
    """
    if not is_wandb(node):
        node = node.copy()
        OmegaConf.set_struct(node, False)
        node.update({"save_dir": ".", "name": "", "version": ""})
        build(node)  # writes nothing yet
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
        raise UserError(f"logger.{name}: W&B refuses it: {error}") from error
    if not node.offline and os.environ.get("WANDB_MODE") not in _OFFLINE:
        _check_account(name)


def _check_account(name: str) -> None:
    import wandb

    os.environ["WANDB_SILENT"] = "true"  # of this worker alone
    cure = f"log in (wandb login, or WANDB_API_KEY), or log offline: logger.{name}.offline=true"
    try:
        logged_in = wandb.login(prompt=False, verify=True)
    except (wandb.errors.Error, OSError) as error:
        raise UserError(f"logger.{name}.offline=false: W&B did not let us in: {error}\n  {cure}") from error
    finally:
        wandb.teardown()
    if not logged_in:
        raise UserError(f"logger.{name}.offline=false needs a W&B account, and no key is known.\n  {cure}")

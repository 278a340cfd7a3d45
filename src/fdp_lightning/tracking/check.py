"""Early check of the loggers, before any data is prepared or any fold is trained."""

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
from fdp_lightning.tracking.loggers import extended, is_wandb

_OFFLINE = ("offline", "dryrun", "disabled")


def check_loggers(config: DictConfig, tags: Sequence[str]) -> None:
    """Refuse loggers that cannot work, and add `tags` to W&B's tags.

    Raises:
        UserError: a package is missing, an option is unknown, or W&B is online and no user is logged in.
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
            in_worker(try_logger, str(name), node)  # a worker has already imported Lightning and W&B


def tags_of(config: DictConfig) -> list[str]:
    """Return W&B's tags of a run: dataset, protocol, model, and 'synthetic' and 'debug-smoke' if they apply."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    tags = _tags(config, choices.get("model"))
    if choices.get("debug") not in (None, "true"):
        tags.append(f"debug-{choices['debug']}")
    return tags


def tags_of_run(run: Path) -> list[str]:
    """Return the tags of an existing run by its config.yaml; its model's option is recorded only in W&B's tags."""
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
    """Build a logger as a fold would, without opening its run.

    Raises:
        UserError: see `check_loggers`.
    """
    if not is_wandb(node):
        build(extended(node, save_dir=".", name="", version=""))  # without writing anything
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
        raise UserError(f"logger.{name}: W&B refuses the options: {error}") from error
    if not node.offline and os.environ.get("WANDB_MODE") not in _OFFLINE:
        _check_account(name)


def _check_account(name: str) -> None:
    import wandb

    os.environ["WANDB_SILENT"] = "true"  # in this worker only
    cure = f"log in (wandb login, or WANDB_API_KEY), or log offline: logger.{name}.offline=true"
    try:
        logged_in = wandb.login(prompt=False, verify=True)
    except (wandb.errors.Error, OSError) as error:
        raise UserError(f"logger.{name}.offline=false: W&B refused the login: {error}\n  {cure}") from error
    finally:
        wandb.teardown()
    if not logged_in:
        raise UserError(f"logger.{name}.offline=false needs a W&B account, but no key was found.\n  {cure}")

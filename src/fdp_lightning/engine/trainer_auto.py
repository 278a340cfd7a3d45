"""`trainer=auto`: device and precision of a run, resolved once before anything is planned."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fdp_lightning.engine.ddp_processes import GPUS
from fdp_lightning.errors import UserError
from fdp_lightning.foreign import read_yaml
from fdp_lightning.processes import in_worker

log = logging.getLogger("fdp_lightning")

AUTO = "auto"

_DECIDED = ("accelerator", "precision", "deterministic")
"""Options of the trainer that may be `auto`."""


def settled(config: DictConfig, folders: Sequence[Path], pooled: bool) -> DictConfig:
    """Return the configuration with `auto` resolved: a GPU where PyTorch sees one, else the CPU.

    Bits differ between devices, so folds of both cannot be one run: a run with finished folds of this model continues
    as they were trained.

    Args:
        config: configuration of the command; returned as it is without `auto`.
        folders: run folders whose finished folds decide; the first that has some.
        pooled: True if the run has its scores, so that nothing is trained and no GPU is needed.

    Raises:
        UserError: finished folds were trained on a GPU, and there is none here.
    """
    asked = [name for name in _DECIDED if config.trainer.get(name) == AUTO]
    if not asked:
        return config
    begun = next(((folder, trainer) for folder in folders if (trainer := _begun(config, folder))), None)
    if begun is None:
        here = in_worker(gpu_precision) if config.trainer.accelerator in (AUTO, *GPUS) else None
        if config.trainer.accelerator in GPUS or here is not None:
            values = {"accelerator": "gpu", "precision": here or "bf16-mixed", "deterministic": False}
        else:
            values = {"accelerator": "cpu", "precision": "32-true", "deterministic": True}
    else:
        folder, values = begun
        if not pooled:
            _say_where_it_goes_on(folder, values)
    config = config.copy()
    config.trainer.update({name: values[name] for name in asked})
    return config


def gpu_precision() -> str | None:
    """Return the half precision that all GPUs of this machine support; None where PyTorch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    capabilities = [torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())]
    # NVIDIA's have bfloat16 from compute capability 8.0 (2020) on; older ones would only emulate it. ROCm numbers
    # its GPUs from 9.0 on.
    return "bf16-mixed" if all(capability >= (8, 0) for capability in capabilities) else "16-mixed"


def _begun(config: DictConfig, folder: Path) -> dict[str, Any] | None:
    """Return how the finished folds of a run folder were trained; None without any, or if of another model."""
    path = folder / "config.yaml"
    if not path.is_file() or not any(folder.glob("folds/*/fold.json")):
        return None
    then: Any = read_yaml(path)
    now: Any = OmegaConf.to_container(config, resolve=True)
    trainer = then.get("trainer") if isinstance(then, dict) else None
    if not isinstance(trainer, dict) or not set(_DECIDED) <= set(trainer) or then.get("model") != now["model"]:
        return None
    same = all(trainer.get(name) == value for name, value in now["trainer"].items() if value != AUTO)
    return {name: trainer[name] for name in _DECIDED} if same else None


def _say_where_it_goes_on(folder: Path, begun: dict[str, Any]) -> None:
    gpu_here = in_worker(gpu_precision) is not None
    if begun["accelerator"] in GPUS and not gpu_here:
        raise UserError(
            f"the finished folds in {folder} were trained on a GPU ({begun['precision']}), and PyTorch sees none on "
            "this machine: folds of both cannot be one run.\n  Resume it on a machine with a GPU, or start another run "
            "on the CPU: trainer=cpu"
        )
    if begun["accelerator"] == "cpu" and gpu_here:
        log.info("trainer=auto: the finished folds were trained on the CPU, so the others are too; trainer=gpu begins "
                 "another run on the GPU")  # fmt: skip

"""Devices of a run, and the processes of one fold: usually one, with `trainer.strategy=ddp` one per device.

Lightning's own launcher starts the other ranks by running the command line again, which inside a sweep runs the sweep
again. Here the ranks of a fold are started by the fold pool (under torchrun and srun: by multinode.py) and receive
their rank.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError
from fdp_lightning.foreign import read_yaml
from fdp_lightning.processes import in_worker

AUTO = "auto"
GPUS = ("gpu", "cuda")


@dataclass(frozen=True)
class Rank:
    """One process of a fold: its index, the rendezvous, and the accelerator's index on its machine (None: the CPU)."""

    number: int = 0
    of: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    device: int | None = None

    @property
    def first(self) -> bool:
        """True for the process that records and writes."""
        return self.number == 0


ALONE = Rank()  # rank of the only process of a fold


def ranks_of(trainer: DictConfig) -> int:
    """Return the number of processes per fold: devices times machines; UserError if the strategy does not fit them."""
    devices, nodes, strategy = trainer.get("devices", 1), trainer.get("num_nodes", 1), trainer.get("strategy", "auto")
    if devices * nodes > 1 and strategy != "ddp":
        name, value = ("devices", devices) if devices > 1 else ("num_nodes", nodes)
        raise UserError(f"trainer.{name}={value} needs trainer.strategy=ddp, found {strategy}")
    if devices * nodes == 1 and strategy == "ddp":
        raise UserError(
            "trainer.strategy=ddp distributes a fold over several devices: set trainer.devices to 2 or more"
        )
    return int(devices * nodes)


def check_devices(trainer: DictConfig) -> None:
    """Raise UserError for a precision or a number of processes that the CPU does not have."""
    if trainer.accelerator != "cpu":
        return
    if str(trainer.get("precision")) in ("16-mixed", "16"):
        raise UserError("trainer.precision=16-mixed needs a GPU (trainer=gpu_fp16); on the CPU there is bf16-mixed")
    cores = os.cpu_count() or 1
    if trainer.devices > max(2, cores):  # two are always allowed, to try out DDP
        raise UserError(
            f"trainer.devices is {trainer.devices}, but this machine has {cores} cores: expected at most one process "
            "per core"
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def trainer_options(options: dict[str, Any], rank: Rank) -> dict[str, Any]:
    """Return the options of the Trainer for one process of a fold."""
    from lightning.fabric.plugins.environments import LightningEnvironment

    class Assigned(LightningEnvironment):
        """Lightning's environment with the given rank, instead of that in the variables of Slurm or torchrun."""

        creates_processes_externally = True
        main_address = rank.host
        main_port = rank.port

        def local_rank(self) -> int:
            return 0

        def node_rank(self) -> int:
            return rank.number

    # To Lightning, each process is a machine with one device. So it makes no difference which machines the processes
    # run on, or whether each sees only its own GPU (Slurm's --gpus-per-task) or all of the machine's.
    placed: dict[str, Any] = {**options, "devices": 1, "num_nodes": rank.of}
    placed["use_distributed_sampler"] = False  # data.loading.batches.EpochBatches distributes the batches
    plugins: list[Any] = [Assigned()]  # for one process too: Lightning would use Slurm's variables
    if rank.device is not None:
        from torch.cuda import device_count

        placed["devices"] = [0 if device_count() == 1 else rank.device]
    if rank.of > 1 and options.get("sync_batchnorm") and options["accelerator"] not in GPUS:
        from fdp_lightning.training.batch_norm import SyncedBatchNorms

        plugins.append(SyncedBatchNorms())  # torch's own only supports GPUs
        placed["sync_batchnorm"] = False
    return {**placed, "plugins": plugins}


_DECIDED = ("accelerator", "precision", "deterministic")  # options of the trainer that may be `auto`


def settled(config: DictConfig, folders: Sequence[Path], pooled: bool) -> DictConfig:
    """Return the configuration with `auto` resolved: a GPU where PyTorch sees one, else the CPU.

    Results differ between devices in the last bits, so that a run must not mix them: it continues on the device that
    trained its finished folds of this model, which are in the first of `folders` that has any. UserError if that is a
    GPU, there is none here, and the run is not yet `pooled`.
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
        if not pooled and values["accelerator"] in GPUS and in_worker(gpu_precision) is None:
            raise UserError(
                f"the finished folds in {folder} were trained on a GPU ({values['precision']}), but PyTorch sees none "
                "on this machine: a run cannot mix both.\n  Resume it on a machine with a GPU, or start another run on "
                "the CPU: trainer=cpu"
            )
    config = config.copy()
    config.trainer.update({name: values[name] for name in asked})
    return config


def gpu_precision() -> str | None:
    """Return the half precision that all GPUs of this machine support; None where PyTorch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    capabilities = [torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())]
    # NVIDIA GPUs support bfloat16 from compute capability 8.0 (2020); older ones only emulate it. ROCm reports 9.0 or
    # more.
    return "bf16-mixed" if all(capability >= (8, 0) for capability in capabilities) else "16-mixed"


def _begun(config: DictConfig, folder: Path) -> dict[str, Any] | None:
    """Return how a run folder's finished folds were trained; None if there are none or they are of another model."""
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

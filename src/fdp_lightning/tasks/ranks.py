"""The processes of one fold: usually one, with `trainer.strategy=ddp` one per device.

Lightning's own launcher starts the other ranks by running the command line again, which inside a sweep runs the sweep
again. Here the ranks of a fold are started side by side by the fold pool and only told who they are.
"""

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fdp_lightning.errors import UserError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments import ClusterEnvironment

GPUS = ("gpu", "cuda")


@dataclass(frozen=True)
class Rank:
    """One process of a fold.

    Attributes:
        number: of this process, from 0.
        of: how many there are.
        port: on this machine, where they meet.
        devices: accelerators of the fold, one per process; empty on the CPU.
    """

    number: int = 0
    of: int = 1
    port: int = 0
    devices: tuple[int, ...] = ()

    @property
    def first(self) -> bool:
        """Whether this is the process that records and writes."""
        return self.number == 0


ALONE = Rank()
"""The one process of a fold that is trained by one."""


def ranks_of(trainer: DictConfig) -> int:
    """Processes per fold.

    Raises:
        UserError: devices and strategy do not go together.
    """
    devices, strategy = trainer.get("devices", 1), str(trainer.get("strategy", "auto"))
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise UserError(f"trainer.devices is {devices!r}; expected how many devices one fold uses, 1 or more")
    if trainer.get("num_nodes", 1) != 1:
        raise UserError("trainer.num_nodes: a fold runs on one machine; share folds out to machines with -m fold=…")
    if devices > 1 and strategy != "ddp":
        raise UserError(f"trainer.devices={devices} needs trainer.strategy=ddp, found {strategy}")
    if devices == 1 and strategy == "ddp":
        raise UserError("trainer.strategy=ddp shares a fold out to several devices: set trainer.devices to 2 or more")
    return devices


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def trainer_options(options: dict[str, Any], rank: Rank) -> dict[str, Any]:
    """The options of the Trainer in one process of a fold.

    Args:
        options: of the group `trainer`.
        rank: who this process is.
    """
    placed = {**options, "use_distributed_sampler": False}  # batches are shared out by data.batches.EpochBatches
    if rank.devices:
        placed["devices"] = list(rank.devices)
    if rank.of > 1:
        plugins: list[Any] = [_environment(rank)]
        if options.get("sync_batchnorm") and options["accelerator"] not in GPUS:
            from fdp_lightning.training.synced_batch_norm import SyncedBatchNorms

            plugins.append(SyncedBatchNorms())  # torch's own is for GPUs alone
            placed["sync_batchnorm"] = False
        placed["plugins"] = plugins
    return placed


def _environment(rank: Rank) -> "ClusterEnvironment":
    from lightning.fabric.plugins.environments import LightningEnvironment

    class Told(LightningEnvironment):
        """Lightning's environment, told everything instead of finding it in variables, Slurm's or torchrun's."""

        creates_processes_externally = True
        main_address = "127.0.0.1"
        main_port = rank.port

        def local_rank(self) -> int:
            return rank.number

    return Told()

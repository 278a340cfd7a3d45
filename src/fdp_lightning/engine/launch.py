"""Detection of torchrun and srun, which start a command once per device.

Nothing heavy is imported here, because every command uses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import DictConfig

from fdp_lightning.engine.devices import ranks_of
from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Launch:
    """One of several processes that run the same command, started `by` 'torchrun' or 'srun'.

    `number` is its index, from 0, among `of` processes (the first leads); `local` is its index on its machine, and that
    of its device; `host` and `port` are those of the rendezvous.
    """

    by: str
    number: int
    of: int
    local: int
    host: str
    port: int


def launch_of(variables: Mapping[str, str]) -> Launch | None:
    """Return the launch of this process; None if the command was started once, as in the batch step of sbatch."""
    if "TORCHELASTIC_RUN_ID" in variables:
        number, of, local, port = (int(variables[v]) for v in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"))
        return Launch("torchrun", number, of, local, variables["MASTER_ADDR"], port) if of > 1 else None
    if "SLURM_PROCID" not in variables or int(variables.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return None
    number, of, local = (int(variables[f"SLURM_{v}"]) for v in ("PROCID", "STEP_NUM_TASKS", "LOCALID"))
    host = variables.get("MASTER_ADDR")
    if not host:
        from lightning.fabric.plugins.environments import SLURMEnvironment  # slow, and only such a process needs it

        host = SLURMEnvironment.resolve_root_node_address(variables.get("SLURM_STEP_NODELIST", "localhost"))
    return Launch("srun", number, of, local, host, int(variables.get("MASTER_PORT") or _slurm_port(variables)))


def _slurm_port(variables: Mapping[str, str]) -> int:
    """Return a port from 15000 to 24999: the same for all processes of a step, another for the next step and job."""
    job, step = (int(variables.get(f"SLURM_{what}_ID", 0)) for what in ("JOB", "STEP"))
    return 15_000 + (10 * job + step) % 10_000


def check_launch(trainer: DictConfig, launch: Launch | None, led: bool) -> None:
    """Raise UserError unless as many processes were started as the options need; `led`: this process is the leader."""
    ranks, nodes = ranks_of(trainer), trainer.get("num_nodes", 1)
    if launch is None:
        if nodes > 1:
            raise UserError(
                f"trainer.num_nodes is {nodes}, but this command was started once, on one machine. Start it once per "
                "device, with the same arguments: torchrun --nnodes … --nproc-per-node … -m fdp_lightning …, or srun "
                "--nodes … --ntasks-per-node … python -m fdp_lightning ….\n  Or distribute the folds over the "
                "machines, with -m task=fold fold=…"
            )
        return
    if not led:
        raise UserError(
            f"{launch.by} has started {launch.of} processes, and another launcher between it and the folds would train "
            f"each fold {launch.of} times: use hydra/launcher=basic, or give the launcher one task per node"
        )
    if ranks != launch.of:
        raise UserError(
            f"{launch.by} has started this command {launch.of} times, but trainer.devices={trainer.devices} times "
            f"trainer.num_nodes={nodes} is {ranks}: expected {launch.of}, one process per device. Start it once if one "
            "process is enough; otherwise set trainer=ddp or trainer=ddp_cpu, trainer.devices and trainer.num_nodes"
        )

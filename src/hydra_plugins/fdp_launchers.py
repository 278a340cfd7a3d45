"""Launchers of `-m` that run jobs in parallel: joblib on this machine, submitit on Slurm, Ray on a cluster.

They replace Hydra's plugins of the same names, for what a long sweep needs: a lost job does not affect the others, each
job has its share of the machine, and its lines in the terminal are labelled.

Hydra looks for plugins in the package `hydra_plugins` and imports all of it at every start: keep this file light.
"""

from abc import abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError


class _ParallelLauncher(Launcher):
    """Base class of the launchers; each needs the optional dependencies `extra`.

    Args:
        options: entries of conf/hydra/launcher, without `_target_`.
    """

    extra = ""
    packages: tuple[str, ...] = ()

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = {
            key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in options.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what to launch.

        Raises:
            UserError: the extra is not installed, or an option is invalid.
        """
        from fdp_lightning.sweeps.launchers.jobs import Sweep

        if any(find_spec(package) is None for package in self.packages):
            chosen = config.hydra.runtime.choices["hydra/launcher"]
            raise UserError(
                f"hydra/launcher={chosen} needs packages that are not installed: "
                f"pip install 'fdp-lightning[{self.extra}]'"
            )
        self.sweep = Sweep(hydra_context, config, task_function)
        self.check()

    def check(self) -> None:
        """Raise UserError for invalid options, before any job is started."""

    @abstractmethod
    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]: ...


class JoblibJobs(_ParallelLauncher):
    """Launcher of jobs on this machine, each in a worker process of joblib (loky)."""

    extra, packages = "joblib", ("joblib",)

    def check(self) -> None:
        from fdp_lightning.sweeps.launchers.joblib_jobs import jobs_at_once

        jobs_at_once(self.options["n_jobs"], 1)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from fdp_lightning.sweeps.launchers.joblib_jobs import launch

        return launch(self.sweep, job_overrides, initial_job_idx, **self.options)


class SubmititJobs(_ParallelLauncher):
    """Launcher of jobs submitted by submitit, to Slurm or as detached processes of this machine.

    Args:
        cluster: 'slurm' or 'local'.
        options: options of submitit's executor.
    """

    extra, packages = "submitit", ("submitit",)

    def __init__(self, cluster: str, **options: Any) -> None:
        super().__init__(**options)
        self.cluster = cluster

    def check(self) -> None:
        from fdp_lightning.sweeps.launchers.submitit_jobs import check

        check(self.cluster)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from fdp_lightning.sweeps.launchers.submitit_jobs import launch

        return launch(self.sweep, job_overrides, initial_job_idx, self.cluster, self.options)


class RayJobs(_ParallelLauncher):
    """Launcher of jobs that Ray schedules, on this machine or on a cluster."""

    extra, packages = "ray", ("ray",)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from fdp_lightning.sweeps.launchers.ray_jobs import launch

        return launch(self.sweep, job_overrides, initial_job_idx, **self.options)

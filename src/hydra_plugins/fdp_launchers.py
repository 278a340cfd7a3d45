"""The launchers of `-m` that run jobs side by side: joblib on this machine, submitit on Slurm, Ray on a cluster.

They stand in the place of Hydra's plugins of the same names, for what a long sweep needs: a job that is lost costs no
other job, each has its share of the machine, and its lines in the terminal say whose they are.

Hydra takes plugins from the package `hydra_plugins` alone and imports all of it at every start: keep this file light.
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


class _SideBySide(Launcher):
    """A launcher that comes as an extra.

    Args:
        options: of conf/hydra/launcher, beside `_target_`.
    """

    extra = ""
    packages: tuple[str, ...] = ()

    def __init__(self, **options: Any) -> None:
        plain = {
            key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in options.items()
        }
        self.options: dict[str, Any] = plain

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what to launch.

        Raises:
            UserError: the extra is not installed, or the options cannot be.
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
        """Refuse options that cannot be, before anything is done."""

    @abstractmethod
    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]: ...


class JoblibJobs(_SideBySide):
    """Jobs side by side on this machine, each in a worker process of joblib's engine, loky."""

    extra, packages = "joblib", ("joblib",)

    def check(self) -> None:
        """Refuse what is no number of jobs."""
        from fdp_lightning.sweeps.launchers.joblib_jobs import jobs_at_once

        jobs_at_once(self.options["n_jobs"], 1)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; the result of each, in their order."""
        from fdp_lightning.sweeps.launchers.joblib_jobs import launch

        return launch(self.sweep, job_overrides, initial_job_idx, **self.options)


class SubmititJobs(_SideBySide):
    """Jobs that are submitted, by submitit: to Slurm, or as detached processes of this machine.

    Args:
        cluster: 'slurm' or 'local'.
        options: of submitit's executor.
    """

    extra, packages = "submitit", ("submitit",)

    def __init__(self, cluster: str, **options: Any) -> None:
        super().__init__(**options)
        self.cluster = cluster

    def check(self) -> None:
        """Refuse Slurm where there is none."""
        from fdp_lightning.sweeps.launchers.submitit_jobs import check

        check(self.cluster)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; the result of each, in their order."""
        from fdp_lightning.sweeps.launchers.submitit_jobs import launch

        return launch(self.sweep, job_overrides, initial_job_idx, self.cluster, self.options)


class RayJobs(_SideBySide):
    """Jobs that Ray places, on an instance of this machine or on a cluster."""

    extra, packages = "ray", ("ray",)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; the result of each, in their order."""
        from fdp_lightning.sweeps.launchers.ray_jobs import launch

        return launch(self.sweep, job_overrides, initial_job_idx, **self.options)

"""Launchers of `-m` that run jobs in parallel: joblib on this machine, submitit on Slurm, Ray on a cluster.

They replace Hydra's plugins of the same names, for what a long sweep needs: a lost job does not affect the others, each
job has its share of the machine, and its lines in the terminal are labelled.

Hydra looks for plugins in the package `hydra_plugins` and imports all of it at every start: keep this file light.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError


class ParallelLauncher(Launcher):
    """Launcher that runs its jobs through `fdp_lightning.sweeps.launchers.<package>_jobs`.

    Args:
        package: package that the jobs need, which is also the name of the extra that installs it.
        options: other entries of conf/hydra/launcher, without `_target_`.
    """

    def __init__(self, package: str, **options: Any) -> None:
        self.package = package
        self.options: dict[str, Any] = {
            key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in options.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what to launch.

        Raises:
            UserError: the package is not installed, or an option is invalid.
        """
        from fdp_lightning.sweeps.launchers.jobs import Sweep

        if find_spec(self.package) is None:
            chosen = config.hydra.runtime.choices["hydra/launcher"]
            raise UserError(
                f"hydra/launcher={chosen} needs packages that are not installed: "
                f"pip install 'fdp-lightning[{self.package}]'"
            )
        self.sweep = Sweep(hydra_context, config, task_function)
        self.jobs = import_module(f"fdp_lightning.sweeps.launchers.{self.package}_jobs")
        if hasattr(self.jobs, "check"):  # Ray checks once it is connected
            self.jobs.check(**self.options)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return their results, in order."""
        results: list[JobReturn] = self.jobs.launch(self.sweep, job_overrides, initial_job_idx, **self.options)
        return results

"""The sweeper of `-m`: Hydra's basic sweep, but it continues after failed jobs and ends with one table of the runs.

Hydra looks for plugins in the package `hydra_plugins` and imports all of it at every start: keep this file light.
"""

from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from fdp_lightning import interrupts
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic


class VariantSweeper(Sweeper):
    """Sweeper over all combinations of the swept values, under each variant.

    Args:
        max_batch_size: number of jobs passed to the launcher at a time; None: all.
        params: key → values to sweep over, as on the command line.
        variants: name → overrides of each variant of a study; the first is the baseline.
    """

    launcher: Launcher

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: Mapping[str, str] | None = None,
        variants: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.max_batch_size = max_batch_size
        self.params = [f"{key}={values}" for key, values in (params or {}).items()]
        self.variants = {str(name): list(overrides or ()) for name, overrides in (variants or {}).items()}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn | Exception]:
        """Run all jobs, then print and write the table of their runs.

        Raises:
            UserError: all failures are the user's mistakes.
            SweepError: a job failed for another reason.
        """
        from fdp_lightning.sweeps.variants import sweep_folder, variant_runs
        from fdp_lightning.tasks import check_config

        assert self.config is not None and self.hydra_context is not None
        most = self.max_batch_size
        if most is not None and (not isinstance(most, int) or most < 1):
            raise UserError(
                f"hydra.sweeper.max_batch_size is {most!r}; expected a number of at least 1, or null for all"
            )
        parse = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides
        jobs = variant_runs(parse([*self.params, *arguments]), self.variants)
        overrides = [list(job.overrides) for job in jobs]
        for job in overrides:  # an invalid job is reported before the jobs preceding it are run
            check_config(self.hydra_context.config_loader.load_sweep_config(self.config, job))
        folder = sweep_folder(self.config, parse(arguments))
        write_atomic(folder / "multirun.yaml", OmegaConf.to_yaml(self.config))
        interrupts.tidy_up_first()
        returns: list[JobReturn | Exception] = []
        at_once = most or len(overrides)
        for start in range(0, len(overrides), at_once):
            returns += self._launch(overrides[start : start + at_once], start)
        from fdp_lightning.sweeps.variants import finish_sweep  # slow: it imports what tables need

        finish_sweep(folder, jobs, returns)
        return returns

    def _launch(self, batch: list[list[str]], first: int) -> Sequence[JobReturn | Exception]:
        """Return the result of each job, or for each the exception with which the launcher failed."""
        try:
            return self.launcher.launch(batch, initial_job_idx=first)
        except UserError:
            raise
        except Exception as error:
            return [error] * len(batch)

"""What `-m` does: Hydra's basic sweep, run to its end whatever fails, with one table of its runs at the end.

Hydra takes plugins from the package `hydra_plugins` alone and imports all of it at every start: keep this file light.
"""

from collections.abc import Mapping, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from fdp_lightning import interrupts
from fdp_lightning.errors import UserError


class VariantSweeper(BasicSweeper):
    """Every combination of the swept values, under each variant.

    Args:
        max_batch_size: see `BasicSweeper`.
        params: see `BasicSweeper`.
        variants: name → overrides of the variants of a study; the first is the baseline.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: Mapping[str, str] | None = None,
        variants: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(max_batch_size, dict(params or {}))
        self.variants = {str(name): list(overrides or ()) for name, overrides in (variants or {}).items()}

    def sweep(self, arguments: list[str]) -> list[JobReturn | Exception]:
        """Run all jobs, then print and write the table of their runs.

        Raises:
            UserError: mistakes of the user's are all that kept jobs from being finished.
            SweepError: jobs failed.
        """
        from fdp_lightning.sweeps.finish import finish_sweep
        from fdp_lightning.sweeps.variants import sweep_folder, variant_runs
        from fdp_lightning.tasks import check_config

        assert self.config is not None and self.hydra_context is not None
        parse = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides
        given = parse([*self._parse_config(), *arguments])
        jobs = variant_runs(given, self.split_arguments(given, None)[0], self.variants)
        overrides = [list(job.overrides) for job in jobs]
        for job in overrides:  # what no job could mean must not wait for the jobs before it
            check_config(self.hydra_context.config_loader.load_sweep_config(self.config, job))
        folder = sweep_folder(self.config, parse(arguments))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        interrupts.tidy_up_first()
        returns: list[JobReturn | Exception] = []
        for batch in self.split_overrides_to_chunks(overrides, self.max_batch_size):
            returns += self._launch(batch, len(returns))
        finish_sweep(folder, jobs, returns)
        return returns

    def _launch(self, batch: list[list[str]], first: int) -> Sequence[JobReturn | Exception]:
        """Of each job its result; of a launcher that broke down, what it raised."""
        assert self.launcher is not None
        try:
            return self.launcher.launch(batch, initial_job_idx=first)
        except UserError:
            raise
        except Exception as error:
            return [error] * len(batch)

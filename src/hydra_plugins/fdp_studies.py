"""The config group `study`: each study is a folder of `experiments/` with its sweep, its question and its answer in it.

A source of its own, since Hydra copies its ConfigStore for each group that --help lists: ten studies in the store would
double the time of that answer.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, EXPERIMENTS

_GROUP = "study"
_SWEEP = "sweep.yaml"


class StudySource(ConfigSource):
    """`study=<folder>` is `experiments/<folder>/sweep.yaml`."""

    @staticmethod
    def scheme() -> str:
        """Return what stands before :// in a search path."""
        return _GROUP

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the sweep of a study.

        Raises:
            ConfigLoadError: there is no such study.
        """
        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        sweep = EXPERIMENTS / _name(config_path) / _SWEEP
        return ConfigResult(
            provider=str(sweep), path=self.full_path(), config=OmegaConf.load(sweep), header={"package": "_global_"}
        )

    def available(self) -> bool:
        """Return True if there are studies."""
        return EXPERIMENTS.is_dir()

    def is_group(self, config_path: str) -> bool:
        """Return True for the one group there is, and for what holds it."""
        return config_path.strip("/") in ("", _GROUP)

    def is_config(self, config_path: str) -> bool:
        """Return True if it names a study."""
        return config_path.startswith(f"{_GROUP}/") and (EXPERIMENTS / _name(config_path) / _SWEEP).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of the groups or of the studies."""
        if config_path.strip("/") == "":
            return [] if results_filter == ObjectType.CONFIG else [_GROUP]
        in_group = self.is_group(config_path) and results_filter != ObjectType.GROUP
        return sorted(sweep.parent.name for sweep in EXPERIMENTS.glob(f"*/{_SWEEP}")) if in_group else []


def _name(config_path: str) -> str:
    return config_path.removeprefix(f"{_GROUP}/").removesuffix(".yaml")


class StudyPath(SearchPathPlugin):
    """Adds the studies to the search path of this program, and of no other Hydra program in the environment."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the source."""
        if any(part.path.removeprefix("file://") == str(CONF_DIR) for part in search_path.get_path()):
            search_path.append(__name__, f"{_GROUP}://")

"""The config group `study`: each study is a folder of `experiments/` with its sweep, its question and its results.

It has its own config source because Hydra copies its ConfigStore for every group that --help lists: ten studies in the
store would double the time that --help takes.
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
    """Config source in which `study=<folder>` is `experiments/<folder>/sweep.yaml`."""

    @staticmethod
    def scheme() -> str:
        return _GROUP

    def load_config(self, config_path: str) -> ConfigResult:
        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        sweep = EXPERIMENTS / _name(config_path) / _SWEEP
        return ConfigResult(
            provider=str(sweep), path=self.full_path(), config=OmegaConf.load(sweep), header={"package": "_global_"}
        )

    def available(self) -> bool:
        return EXPERIMENTS.is_dir()

    def is_group(self, config_path: str) -> bool:
        return config_path.strip("/") in ("", _GROUP)

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith(f"{_GROUP}/") and (EXPERIMENTS / _name(config_path) / _SWEEP).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path.strip("/") == "":
            return [] if results_filter == ObjectType.CONFIG else [_GROUP]
        in_group = self.is_group(config_path) and results_filter != ObjectType.GROUP
        return sorted(sweep.parent.name for sweep in EXPERIMENTS.glob(f"*/{_SWEEP}")) if in_group else []


def _name(config_path: str) -> str:
    return config_path.removeprefix(f"{_GROUP}/").removesuffix(".yaml")


class StudyPath(SearchPathPlugin):
    """Plugin that adds the studies to the search path of this program, but of no other Hydra program."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if any(part.path.removeprefix("file://") == str(CONF_DIR) for part in search_path.get_path()):
            search_path.append(__name__, f"{_GROUP}://")

"""What experiments on real data train: the paper's model by its own recipe, on the device that there is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.engine import trainer_auto
from fdp_lightning.engine.trainer_auto import gpu_precision, settled
from fdp_lightning.errors import UserError
from fdp_lightning.processes import in_worker
from fdp_lightning.runs.model_name import model_name

pytestmark = pytest.mark.costly

ON_MAPS = "megc2019_flow"
ALL = sorted(path.stem for path in (CONF_DIR / "experiment").glob("[!_]*.yaml") if path.stem != ON_MAPS)
REAL = [name for name in ALL if not name.startswith("synthetic") and not name.endswith("_released")]
AUTO = "+experiment=casme2_loso"


@pytest.mark.parametrize("name", ALL)
def test_an_experiment_names_its_model_and_trainer(name: str) -> None:
    config = configuration(f"+experiment={name}")
    model = "fdp" if name in REAL else "fdp_released" if name.endswith("_released") else "fdp_tiny"
    on = "cpu" if name.startswith("synthetic") else "auto"
    assert (config.model.name, config.trainer.accelerator, config.seed) == (model, on, 0)
    if name in REAL:
        optimizer = config.model.optimizer
        assert (optimizer.name, optimizer.lr, optimizer.weight_decay, optimizer.steps) == ("adam", 1e-4, 1e-3, 500)
        assert (config.trainer.max_epochs, config.trainer.max_steps, config.data.batch_size) == (-1, 500, 36)
        assert model_name(config) == "fdp"


def test_the_small_model_brings_its_own_recipe() -> None:
    tiny = configuration("model=fdp_tiny").model
    config = configuration(AUTO, "model=fdp_tiny", "trainer=cpu")
    assert config.model == tiny and config.trainer == configuration("trainer=cpu", "model=fdp_tiny").trainer
    changed = configuration(AUTO, "model=fdp_tiny", "model.optimizer.steps=7")
    assert (changed.trainer.max_steps, changed.model.optimizer.lr) == (7, tiny.optimizer.lr)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["+experiment=synthetic_mean"], "fdp_tiny with pooling=mean"),
        (["model/backbone=timm"], "fdp_tiny with backbone=TimmBackbone"),
        (["model=fdp", "model.optimizer.steps=3"], "fdp"),
        (["model.scorer.hidden=4", "~model.objective.focal"], "fdp_tiny with scorer.hidden=4, no objective.focal"),
    ],
)
def test_where_a_run_departs_from_its_model_the_name_says_so(overrides: list[str], name: str) -> None:
    assert model_name(configuration(*overrides)) == name


def chosen(config: object) -> tuple[object, ...]:
    trainer = config.trainer  # type: ignore[attr-defined]
    return trainer.accelerator, trainer.precision, trainer.deterministic


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Lets a machine have GPUs of a precision, or none."""

    def has(precision: str | None) -> None:
        monkeypatch.setattr(trainer_auto, "in_worker", lambda function: precision)

    return has


def test_auto_is_what_this_machine_has(tmp_path: Path) -> None:
    config = configuration(AUTO)
    here = settled(config, [tmp_path], pooled=False)
    precision = in_worker(gpu_precision)
    assert chosen(here) == (("gpu", precision, False) if precision else ("cpu", "32-true", True))
    assert chosen(config) == ("auto",) * 3


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_auto_takes_a_gpu_in_what_it_computes_in(
    precision: str, tmp_path: Path, machine: Callable[[str | None], None]
) -> None:
    machine(precision)
    assert chosen(settled(configuration(AUTO), [tmp_path], False)) == ("gpu", precision, False)
    exact = settled(configuration(AUTO, "trainer.precision=32-true"), [tmp_path], False)
    assert chosen(exact) == ("gpu", "32-true", False)
    on_cpu = settled(configuration(AUTO, "trainer.accelerator=cpu"), [tmp_path], False)
    assert chosen(on_cpu) == ("cpu", "32-true", True)


def begin(folder: Path, *overrides: str, **trainer: object) -> Path:
    """A run folder with a finished fold that was trained so."""
    config = configuration(AUTO, *overrides)
    config.trainer.update(trainer)
    (folder / "folds/01").mkdir(parents=True)
    (folder / "folds/01/fold.json").write_text("{}")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    return folder


def test_a_run_goes_on_as_its_finished_folds_were_trained(
    tmp_path: Path, machine: Callable[[str | None], None]
) -> None:
    on_cpu = begin(tmp_path / "cpu", accelerator="cpu", precision="32-true", deterministic=True)
    on_gpu = begin(tmp_path / "gpu", accelerator="gpu", precision="bf16-mixed", deterministic=False)
    machine("bf16-mixed")
    assert chosen(settled(configuration(AUTO), [on_cpu], False)) == ("cpu", "32-true", True)
    assert chosen(settled(configuration(AUTO), [tmp_path / "fit", on_cpu], False)) == ("cpu", "32-true", True)
    other_model = settled(configuration(AUTO, "model.pooling=mean"), [on_cpu], False)
    assert chosen(other_model) == ("gpu", "bf16-mixed", False)  # those folds are not of this model
    machine(None)
    with pytest.raises(UserError, match="trainer=cpu"):
        settled(configuration(AUTO), [on_gpu], pooled=False)
    assert chosen(settled(configuration(AUTO), [on_gpu], pooled=True))[0] == "gpu"  # nothing is left to train
    (on_gpu / "folds/01/fold.json").unlink()
    assert chosen(settled(configuration(AUTO), [on_gpu], pooled=False))[0] == "cpu"


def test_without_auto_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_auto, "in_worker", json.loads)  # would fail
    config = configuration("trainer=gpu")
    assert settled(config, [tmp_path], False) is config

"""Every experiment and study composes, and every experiment runs one batch of one fold."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, EXPERIMENTS, configuration
from fdp_lightning.data.store.clip_store import open_store
from fdp_lightning.engine import devices
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.devices import settled
from fdp_lightning.errors import UserError
from fdp_lightning.runs.folder import model_name
from tests.command import once
from tests.conftest import TINY
from tests.data import layouts
from tests.tasks.conftest import beside, fold_here, start

THERE = {path.stem for path in (CONF_DIR / "experiment").glob("[!_]*.yaml")}
ON_SYNTHETIC = sorted(name for name in THERE if name.startswith(("synthetic", "casme2_", "samm_")))
FEARFUL = [["fear" if cell == "others" else cell for cell in row] for row in layouts.CASME3A_ROWS]
COPIES: dict[str, tuple[Callable[[Path], object], str, set[str]]] = {
    "casme3_3c_loso": (lambda root: layouts.casme3a(root, rows=FEARFUL), "spNO.1", {"casme3a/spNO.1/a"}),
    "casme3_4c_loso": (layouts.casme3a, "spNO.1", {"casme3a/spNO.1/a"}),
    "casme3_loso": (layouts.casme3a, "spNO.1", {"casme3a/spNO.1/a"}),
    "casme_sq_loso": (layouts.casme_sq, "40", {"casme_sq/40/happy1_2"}),
    "cd6me": (layouts.cd6me, "samm", {"samm/006/006_1_2", "samm/011/011_1_1"}),
    "dfme": (layouts.dfme, "test_a", {"dfme/sub0010/sub0010_05"}),
    "megc2018": (layouts.megc2018, "samm_006", {"samm/006/006_1_2"}),
    "megc2019_loso": (layouts.megc2019, "casme2_01", {"casme2/01/EP02_01f", "casme2/01/EP03_02"}),
    "mmew_loso": (layouts.mmew, "02", {"mmew/02/S02-02-003"}),
    "smic_loso": (lambda root: layouts.smic_raw(root / "HS"), "18", {"smic/18/s18_sur_03", "smic/18/s18_ne_10"}),
}
"""Experiment → (function that writes its copy, a fold, the test clips of the fold)."""


def slow_but(names: Iterable[str], *quick: str) -> list[Any]:
    """Mark all names but a few as slow; they train in the same way on other data."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def predictions_of(overrides: list[str], fold: str) -> pd.DataFrame:
    """Run one epoch of one batch; run_task applies debug=smoke last, but no task is run here."""
    smoke = ["debug=smoke", "trainer.max_epochs=1", "protocol.strict=false", "data.workers=1"]
    plan = fold_here(*overrides, *smoke, f"fold={fold}")
    return pd.read_csv(plan.folder / "predictions.csv", dtype={"subject": str, "fold": str})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the experiments share data and store."""
    return once(tmp_path_factory, "experiments", lambda place: None)


@pytest.mark.parametrize("experiment", slow_but(ON_SYNTHETIC, "samm_loso", "synthetic_mean"))
def test_one_batch(experiment: str, shared: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    logger = "tensorboard" if experiment == "synthetic_mean" else "csv"
    overrides = [f"+experiment={experiment}", f"logger={logger}", f"data.store={shared}/stores", f"run={tmp_path}/run"]
    subject = "006" if experiment.startswith("samm") else "02"
    if experiment.startswith("synthetic"):
        overrides += [f"data.root={shared}/data", *(f"data.generate.{name}={size}" for name, size in TINY.items())]
    else:
        root = request.getfixturevalue("samm_root" if subject == "006" else "casme2_root")
        overrides += [f"data.root={root}", "trainer=cpu"]
    if experiment.startswith("casme2"):
        overrides.append("protocol.labels='2019'")  # the synthetic copy has no other workbook
    if experiment in ("casme2_3c_loso", "samm_loso"):  # casme2_loso tests the paper's model
        overrides.append("model=fdp_tiny")
    if experiment.endswith("_released"):  # test_options.py tests the large backbone
        overrides += ["model.backbone.stages=[{n_local: 1, width: 16}]", "model/dic_head=unet"]
    table = predictions_of(overrides, subject)
    assert set(table["subject"]) == {subject} == set(table["fold"])
    clips = 4 if experiment == "casme2_3c_loso" else 5  # one of each emotion; the three classes exclude `others`
    assert len(table) == 2 * clips  # `last` and `oracle`
    assert list((tmp_path / "run/folds" / subject / "log").glob("metrics.csv" if logger == "csv" else "events*"))


def on_copy(folder: Path, *more: str) -> list[str]:
    """Return overrides for the small model without face detection: the tiny images contain no faces."""
    options = ["model=fdp_tiny", "trainer=cpu", "data.faces.method=none"]
    return [*more, *options, f"run={folder}/run", f"data.root={folder}/copy", f"data.store={folder}/stores"]


def test_every_experiment_is_run_here() -> None:
    assert {*COPIES, *ON_SYNTHETIC, "megc2019_flow"} == THERE  # the last one is run in test_recognizers.py


@pytest.mark.parametrize("experiment", slow_but(COPIES, "cd6me", "smic_loso"))
def test_one_batch_on_a_tiny_copy(experiment: str, tmp_path: Path) -> None:
    write, name, tested = COPIES[experiment]
    write(tmp_path / "copy")
    table = predictions_of(on_copy(tmp_path, f"+experiment={experiment}"), name)
    assert set(table["dataset"] + "/" + table["subject"] + "/" + table["clip"]) == tested
    assert set(table["fold"]) == {name}
    probabilities = table.filter(like="prob_")
    assert len(probabilities.columns) == len(configuration(f"+experiment={experiment}").protocol.classes)
    if experiment != "cd6me":
        assert probabilities.sum(axis=1).round(4).eq(1).all()
        return
    assert table.groupby("selection")["target"].agg(list).tolist() == [["AU4+AU7", "AU12"]] * 2
    assert ((probabilities > 0) & (probabilities < 1)).all(axis=None)
    data = ready_data(configuration(*on_copy(tmp_path, "data=cd6me"), "protocol.strict=false"))
    datasets = ["casme", "casme2", "casme3a", "fourdme", "mmew", "samm"]
    assert [split.name for split in data.folds()] == datasets
    for split in data.folds():
        assert {*data.clips.loc[[*split.test_rows], "dataset"]} == {split.name}
        assert {*data.clips.loc[[*split.train_rows], "dataset"]} == {*datasets} - {split.name}


def test_equal_subject_numbers_of_two_datasets_are_kept_apart(tmp_path: Path) -> None:
    layouts.megc2019(tmp_path / "copy")
    data = ready_data(configuration(*on_copy(tmp_path, "data=megc2019"), "protocol.strict=false"))
    index: pd.DataFrame = open_store(data.store).index
    assert not index.duplicated(["dataset", "subject", "clip", "onset"]).any() and index["dataset"].nunique() == 3
    tested = {split.name: {*data.clips.loc[[*split.test_rows], "dataset"]} for split in data.folds()}
    assert [*tested] == ["casme2_01", "casme2_17", "samm_006", "samm_011", "smic_01", "smic_03", "smic_18"]
    assert all(datasets == {name.partition("_")[0]} for name, datasets in tested.items())


def test_experiments_on_real_data_train_the_papers_model() -> None:
    for name in THERE - {"megc2019_flow"}:
        if not name.startswith("synthetic") and not name.endswith("_released"):
            config = configuration(f"+experiment={name}")
            assert (model_name(config), config.trainer.accelerator, config.trainer.max_steps) == ("fdp", "auto", 500)


def test_the_small_model_brings_its_own_recipe() -> None:
    tiny = configuration("model=fdp_tiny", "trainer=cpu")
    config = configuration("+experiment=casme2_loso", "model=fdp_tiny", "trainer=cpu")
    assert (config.model, config.trainer) == (tiny.model, tiny.trainer)


def test_the_name_of_a_model_states_its_changed_parts() -> None:
    for overrides, name in {
        ("model=fdp", "model.optimizer.steps=3"): "fdp", ("+experiment=synthetic_mean",): "fdp_tiny with pooling=mean",
        ("model.scorer.hidden=4", "~model.objective.focal"): "fdp_tiny with scorer.hidden=4, no objective.focal",
    }.items():  # fmt: skip
        assert model_name(configuration(*overrides)) == name


@pytest.mark.parametrize("there", ["bf16-mixed", "16-mixed", None])
def test_auto_is_what_the_machine_has(there: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(name: str, *trainer: object) -> Path:
        """Write a run folder with a finished fold trained with these settings."""
        config, folder = configuration("+experiment=casme2_loso"), tmp_path / name
        config.trainer.update(dict(zip(("accelerator", "precision", "deterministic"), trainer, strict=True)))
        (folder / "folds/01").mkdir(parents=True)
        (folder / "folds/01/fold.json").write_text("{}")
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
        return folder

    def chosen(*overrides: str, runs: Sequence[Path] = (tmp_path,), pooled: bool = False) -> tuple[object, ...]:
        trainer = settled(configuration("+experiment=casme2_loso", *overrides), runs, pooled).trainer
        return trainer.accelerator, trainer.precision, trainer.deterministic

    cpu, gpu = ("cpu", "32-true", True), ("gpu", there, False)
    monkeypatch.setattr(devices, "in_worker", lambda function: there)
    assert chosen() == (gpu if there else cpu)
    on_cpu, on_gpu = begun("cpu", *cpu), begun("gpu", "gpu", "bf16-mixed", False)
    for runs in ([on_cpu], [tmp_path / "fit", on_cpu]):  # a run is resumed with the trainer of its finished folds
        assert chosen(runs=runs) == cpu
    if there:
        assert chosen("trainer.precision=32-true") == ("gpu", "32-true", False)
        assert chosen("model.pooling=mean", runs=[on_cpu]) == gpu  # those folds belong to a different model
    else:
        with pytest.raises(UserError, match=str(on_gpu)):
            chosen(runs=[tmp_path / "fit", on_gpu])
        assert chosen(runs=[on_gpu], pooled=True)[0] == "gpu"  # nothing is left to train


STUDIES = sorted(path.parent for path in EXPERIMENTS.glob("*/sweep.yaml"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_every_variant_composes_on_synthetic_and_real_data(study: Path) -> None:
    sweeper = OmegaConf.load(study / "sweep.yaml").hydra.sweeper
    variants = list(sweeper.variants.values())
    assert not variants[0], "the first variant is the baseline"
    assert len(str(sweeper.params.seed).split(",")) >= 3
    config = configuration(f"+study={study.name}", "data=synthetic_wild_2fold")
    assert (config.data.name, config.protocol.name) == ("synthetic_wild", "synthetic_wild_5c_2fold")
    configs = [configuration(f"+study={study.name}", "data=samm", "data.root=/x", *variant) for variant in variants]
    assert {(config.data.name, config.protocol.name) for config in configs} == {("samm", "samm_5c")}
    assert len({OmegaConf.to_yaml(config) for config in configs}) == len(variants)


def test_a_study_runs_and_its_table_has_every_variant(finished_workplace: Path, tmp_path: Path) -> None:
    beside(finished_workplace, tmp_path)
    start(tmp_path, "+study=order", "debug=smoke", "seed=0", "protocol=synthetic_5c_2fold")
    variants = list(OmegaConf.load(EXPERIMENTS / "order/sweep.yaml").hydra.sweeper.variants)
    (table,) = tmp_path.glob("runs/multirun/order/**/variants.csv")
    rows = list(csv.DictReader(table.open()))
    assert [row["variant"] for row in rows] == variants
    assert all(row["baseline"] == variants[0] and row["seeds"] == "0" for row in rows)

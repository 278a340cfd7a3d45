"""The experiments on licensed datasets: one batch of one fold, on tiny copies in each dataset's true layout."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.data.store.clip_store import open_store
from fdp_lightning.engine.dataset import ready_data
from tests.data import layouts
from tests.tasks.test_experiments import ON_SYNTHETIC, run_fold_of

pytestmark = pytest.mark.costly


def _smic(root: Path) -> None:
    layouts.smic_raw(root / "HS")


def _casme3a_3c(root: Path) -> None:
    layouts.casme3a(root, rows=[["fear" if cell == "others" else cell for cell in row] for row in layouts.CASME3A_ROWS])


COPIES: dict[str, tuple[Callable[[Path], object], str, set[str]]] = {
    "casme3_3c_loso": (_casme3a_3c, "spNO.1", {"casme3a/spNO.1/a"}),
    "casme3_4c_loso": (layouts.casme3a, "spNO.1", {"casme3a/spNO.1/a"}),
    "casme3_loso": (layouts.casme3a, "spNO.1", {"casme3a/spNO.1/a"}),
    "casme_sq_loso": (layouts.casme_sq, "40", {"casme_sq/40/happy1_2"}),
    "cd6me": (layouts.cd6me, "samm", {"samm/006/006_1_2", "samm/011/011_1_1"}),
    "dfme": (layouts.dfme, "test_a", {"dfme/sub0010/sub0010_05"}),
    "megc2018": (layouts.megc2018, "samm_006", {"samm/006/006_1_2"}),
    "megc2019_loso": (layouts.megc2019, "casme2_01", {"casme2/01/EP02_01f", "casme2/01/EP03_02"}),
    "mmew_loso": (layouts.mmew, "02", {"mmew/02/S02-02-003"}),
    "smic_loso": (_smic, "18", {"smic/18/s18_sur_03", "smic/18/s18_ne_10"}),
}
"""Experiment → what writes its copy, a fold, the clips it tests."""


def overrides_for(folder: Path, *more: str) -> list[str]:
    """A run of the small model without faces: the tiny pictures hold none."""
    root, stores = f"data.root={folder}/copy", f"data.store={folder}/stores"
    options = [
        "model=fdp_tiny", "trainer=cpu", "data.faces.method=none", "protocol.strict=false", "debug=smoke",
        "data.workers=1",
    ]  # fmt: skip
    return [*more, *options, "trainer.max_epochs=1", f"run={folder}/run", root, stores]


def test_every_experiment_is_run_here_or_on_synthetic_data() -> None:
    there = {path.stem for path in (CONF_DIR / "experiment").glob("[!_]*.yaml")}
    assert there == {*COPIES, *ON_SYNTHETIC, "megc2019_flow"}  # the last one in test_recognizers.py


@pytest.mark.parametrize("experiment", COPIES)
def test_one_batch(experiment: str, tmp_path: Path) -> None:
    write, name, tested = COPIES[experiment]
    write(tmp_path / "copy")
    table = run_fold_of(overrides_for(tmp_path, f"+experiment={experiment}"), name, tmp_path)
    assert set(table["dataset"] + "/" + table["subject"] + "/" + table["clip"]) == tested
    assert set(table["fold"]) == {name}
    probabilities = table.filter(like="prob_")
    assert len(probabilities.columns) == len(configuration(f"+experiment={experiment}").protocol.classes)
    if experiment == "cd6me":
        assert table.groupby("selection")["target"].agg(list).tolist() == [["AU4+AU7", "AU12"]] * 2
        assert ((probabilities > 0) & (probabilities < 1)).all(axis=None)
        return
    assert probabilities.sum(axis=1).round(4).eq(1).all()


def test_subjects_of_two_datasets_with_one_number_are_two_folds(tmp_path: Path) -> None:
    layouts.megc2019(tmp_path / "copy")
    data = ready_data(configuration(*overrides_for(tmp_path, "data=megc2019")))
    names = [fold.name for fold in data.folds()]
    assert names == ["casme2_01", "casme2_17", "samm_006", "samm_011", "smic_01", "smic_03", "smic_18"]
    of_one = {split.name: {*data.clips.loc[[*split.test_rows], "dataset"]} for split in data.folds()}
    assert (of_one["casme2_01"], of_one["smic_01"]) == ({"casme2"}, {"smic"})


def test_cd6me_leaves_one_dataset_out(tmp_path: Path) -> None:
    layouts.cd6me(tmp_path / "copy")
    config = configuration(*overrides_for(tmp_path, "data=cd6me"))
    data = ready_data(config)
    names = ["casme", "casme2", "casme3a", "fourdme", "mmew", "samm"]
    assert [split.name for split in data.folds()] == names
    for split in data.folds():
        assert {*data.clips.loc[[*split.test_rows], "dataset"]} == {split.name}
        assert {*data.clips.loc[[*split.train_rows], "dataset"]} == {*names} - {split.name}


def test_a_composite_with_faces_keeps_both_datasets_apart_from_disk_to_predictions(
    tmp_path: Path, casme2_root: Path, samm_root: Path
) -> None:
    layouts.with_faces(tmp_path / "copy", casme2_root, samm_root)
    overrides = [*overrides_for(tmp_path, "+experiment=megc2018"), "data.faces.method=mtcnn"]
    table = run_fold_of(overrides, "samm_006", tmp_path)
    assert {*table["dataset"]} == {"samm"}
    assert {*table["subject"]} == {"006"}
    data = ready_data(configuration(*overrides))
    assert data.reused
    index: pd.DataFrame = open_store(data.store).index
    assert index["dataset"].value_counts().to_dict() == {"casme2": 15, "samm": 10}
    assert not index.duplicated(["dataset", "subject", "clip", "onset"]).any()
    assert {*data.clips["dataset"]} == {"casme2", "samm"}

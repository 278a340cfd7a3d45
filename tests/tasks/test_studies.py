"""The studies of experiments/: each says what it asks, composes on synthetic and real data, and runs."""

import csv
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import EXPERIMENTS, configuration
from tests.tasks.conftest import start

pytestmark = pytest.mark.costly

STUDIES = sorted(path.parent for path in EXPERIMENTS.glob("*/sweep.yaml"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_every_variant_composes_on_synthetic_and_on_real_data(study: Path) -> None:
    sweeper = OmegaConf.load(study / "sweep.yaml").hydra.sweeper
    baseline, *others = sweeper.variants.items()
    assert not baseline[1], "the first variant is the baseline, as everything else is"
    assert len(str(sweeper.params.seed).split(",")) >= 3
    wild = ("synthetic_wild", "synthetic_wild_5c_2fold")
    config = configuration(f"+study={study.name}", "data=synthetic_wild_2fold")
    assert (config.data.name, config.protocol.name) == wild
    real = ["data=samm", "data.root=/x"]
    configs = [configuration(f"+study={study.name}", *real, *overrides) for overrides in sweeper.variants.values()]
    assert {(config.data.name, config.protocol.name) for config in configs} == {("samm", "samm_5c")}
    assert len({OmegaConf.to_yaml(config) for config in configs}) == len(configs) == 1 + len(others)


def test_a_study_runs_and_its_table_has_every_variant(finished_workplace: Path, tmp_path: Path) -> None:
    data = [f"data.root={finished_workplace}/data/synthetic", f"data.store={finished_workplace}/stores"]
    protocol = "protocol=synthetic_5c_2fold"
    done = start(tmp_path, "+study=rank_loss", "debug=smoke", "seed=0", protocol, *data)
    assert done.returncode == 0, done.stderr
    variants = list(OmegaConf.load(EXPERIMENTS / "rank_loss/sweep.yaml").hydra.sweeper.variants)
    (table,) = tmp_path.glob("runs/multirun/rank_loss/**/variants.csv")
    rows = list(csv.DictReader(table.open()))
    assert [row["variant"] for row in rows] == variants
    assert all(row["baseline"] == variants[0] and row["seeds"] == "0" for row in rows)
    assert re.search(rf"{variants[1]}\s", done.stdout)

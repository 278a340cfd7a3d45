"""The studies of experiments/: each says what it asks, composes on synthetic and real data, and runs."""

import csv
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import EXPERIMENTS, configuration
from tests.tasks.conftest import start

STUDIES = sorted(path.parent for path in EXPERIMENTS.glob("*/sweep.yaml"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_every_study_has_its_answer_beside_its_question(study: Path) -> None:
    answer, sweep = (study / "README.md").read_text(), OmegaConf.load(study / "sweep.yaml")
    assert (study / "sweep.yaml").read_text().startswith(f"# python -m fdp_lightning +study={study.name}\n")
    assert re.search(rf"python -m fdp_lightning \+study={study.name}( data=synthetic_wild_2fold)?\n", answer)
    assert "synthetic" in answer and "no\nresult on micro-expressions" in answer
    variants, rows = list(sweep.hydra.sweeper.variants), re.findall(r"^\| ([^*|]+?)(?: ‡)? \| \d", answer, re.M)
    run = "not been run" not in answer
    assert rows == (variants * max(1, len(rows) // len(variants)) if run else []), "a table for each set it was run on"
    assert f"({study.name}/README.md)" in (EXPERIMENTS / "README.md").read_text()


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_every_variant_composes_on_synthetic_and_on_real_data(study: Path) -> None:
    sweeper = OmegaConf.load(study / "sweep.yaml").hydra.sweeper
    baseline, *others = sweeper.variants.items()
    assert not baseline[1], "the first variant is the baseline, as everything else is"
    assert len(str(sweeper.params.seed).split(",")) >= 3
    wild = ("synthetic_wild", "synthetic_wild_5c_2fold")
    config = configuration(f"+study={study.name}", "data=synthetic_wild_2fold")
    assert (config.data.name, config.protocol.name) == wild
    for data in (["data=samm", "data.root=/x"], []):
        expected = {("samm", "samm_5c")} if data else {("synthetic", "synthetic_5c_2fold"), wild}
        configs = [configuration(f"+study={study.name}", *data, *overrides) for overrides in sweeper.variants.values()]
        assert {(config.data.name, config.protocol.name) for config in configs} <= expected
        texts = {OmegaConf.to_yaml(config) for config in configs}
        assert len(texts) == len(configs) == 1 + len(others), "no two variants are the same"


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

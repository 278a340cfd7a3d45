"""A search from the command line, which does not use results on test clips, and its search space."""

import json
import math
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from sklearn.metrics import f1_score

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.search import nested_choice
from fdp_lightning.files import sha256
from fdp_lightning.runs.folder import run_folder
from fdp_lightning.search.space import Space
from fdp_lightning.search.trials import compose_trial, own_overrides
from fdp_lightning.tasks.tune import tune
from tests.tasks.conftest import start

SEARCH = [
    "task=tune", "selection.inner_subjects=1", "tune.sampler=grid",
    "tune.space={model.optimizer.lr: {choices: [0.001, 0.01, 1e30]}}",
]  # fmt: skip
TEXT = dict.fromkeys(["dataset", "subject", "clip", "fold"], str)


def folder_of_search(place: Path) -> Path:
    (folder,) = place.glob("runs/synthetic_loso/tune-grid-*/seed-0")
    return folder


@pytest.fixture(scope="module")
def place(finished_workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of three trials, one of which diverges."""
    folder = tmp_path_factory.mktemp("tune") / "place"
    shutil.copytree(finished_workplace, folder, ignore=lambda _, names: {"runs"} & set(names))
    done = start(folder, *SEARCH)
    # Only the nested score is shown, no table of a trial's test scores.
    assert (done.stdout.count(" failed: "), done.stdout.count("\n majority")) == (1, 1)
    return folder


def trials(place: Path) -> pd.DataFrame:
    return pd.read_csv(folder_of_search(place) / "trials.csv", keep_default_na=False)


def test_a_trial_that_diverges_is_recorded_and_the_others_go_on(place: Path) -> None:
    table = trials(place)
    assert table["trial"].tolist() == [0, 1, 2]
    failures = table.set_index("model.optimizer.lr")["failure"]
    assert failures[0.001] == failures[0.01] == ""
    assert "the training diverged" in failures[1e30]
    finished = table[table["status"] == "finished"]
    assert set(finished["model.optimizer.lr"]) == {0.001, 0.01}
    assert (finished["low"].astype(float) <= finished["inner/uf1"].astype(float)).all()


def test_the_nested_score_takes_each_folds_best_inner_trial(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of_search(place)
    classes = json.loads((folder / "metrics.json").read_text())["classes"]
    finished = trials(place).query("status == 'finished'").set_index("trial")
    nested = pd.read_csv(folder / "nested.csv", dtype={"fold": str}).set_index("fold")
    pooled = pd.read_csv(folder / "predictions.csv", dtype=TEXT)
    assert set(pooled["selection"]) == {"last"} and len(pooled) == 30

    def last(number: int, fold: str, name: str) -> pd.DataFrame:
        path = place / finished.loc[number, "run"] / "folds" / fold / name
        return pd.read_csv(path, dtype=TEXT).query("selection == 'last'").sort_values("clip")

    inner = {fold: {number: last(number, fold, "inner.csv") for number in finished.index} for fold in nested.index}
    for fold, best in nested_choice(inner, classes, "uf1").items():
        assert all(len(table) == 10 and fold not in set(table["subject"]) for table in inner[fold].values())
        assert nested.loc[fold, "trial"] == best
        own = pooled[pooled["fold"] == fold].sort_values("clip")
        assert own["prob_disgust"].tolist() == last(best, fold, "predictions.csv")["prob_disgust"].tolist()
    for number in finished.index:  # a trial's own score is pooled over the folds
        table = pd.concat([of_fold[number] for of_fold in inner.values()])
        expected = f1_score(table["target"], table["prediction"], average="macro", labels=classes, zero_division=0)
        assert float(finished.loc[number, "inner/uf1"]) == pytest.approx(expected)
    chosen = yaml.safe_load((folder / "best.yaml").read_text())
    assert chosen["inner"]["value"] == finished["inner/uf1"].astype(float).max()
    monkeypatch.chdir(place)
    config, run = compose_trial(shlex.split(chosen["command"])[3:])  # the command reproduces the trial's run
    assert run.as_posix() == finished.loc[chosen["trial"], "run"]
    assert (config.task, config.model.optimizer.lr) == ("loso", chosen["parameters"]["model.optimizer.lr"])


def test_predictions_on_held_out_clips_do_not_influence_the_search(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "altered"
    shutil.copytree(place, other)
    for path in other.glob("runs/synthetic_loso/*/seed-0/folds/*/predictions.csv"):
        table = pd.read_csv(path, dtype=TEXT)
        names = [name for name in table if name.startswith("prob_")]
        table[names] = np.roll(table[names].to_numpy(), 1, axis=1)
        table["prediction"] = table[names].idxmax(axis=1).str.removeprefix("prob_")
        table.to_csv(path, index=False, lineterminator="\n")
        facts = json.loads((path.parent / "fold.json").read_text())
        facts["checksums"]["predictions.csv"] = sha256(path)
        (path.parent / "fold.json").write_text(json.dumps(facts))
    start(other, *SEARCH)
    for name in ("trials.csv", "nested.csv", "best.yaml", "predictions.csv"):
        old, new = (folder_of_search(folder) / name for folder in (place, other))
        assert (old.read_bytes() == new.read_bytes()) == (name != "predictions.csv"), name


SPACE: dict[str, dict[str, Any]] = {
    "model.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "data.sampling.frames": {"low": 6, "high": 12, "step": 2},
    "model.pooling": {"choices": ["score", "arp"]},
    "model.running_means": {"choices": [True, False]},
    "model.optimizer.ema": {"choices": [None, 0.99]},
}


def points(space: Space, n: int, seed: int = 0, sampler: str = "random") -> list[dict[str, Any]]:
    study = space.study(sampler, seed, minimise=False)
    found = []
    for _ in range(n):
        trial = study.ask(space.distributions())
        found.append(space.values(trial.params))
        study.tell(trial, trial.params.get("model.optimizer.lr", 0.0))
    return found


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_points_are_in_their_ranges_and_repeat_with_the_seed(sampler: str) -> None:
    drawn = points(Space(SPACE), 30, sampler=sampler)
    for point in drawn:
        assert 1e-4 <= point["model.optimizer.lr"] <= 1e-2
        assert float(f"{point['model.optimizer.lr']:.4g}") == point["model.optimizer.lr"]
        assert point["data.sampling.frames"] in (6, 8, 10, 12)
    assert {point["model.pooling"] for point in drawn} == {"score", "arp"}
    assert points(Space(dict(reversed(SPACE.items()))), 12, sampler=sampler) == drawn[:12]
    assert points(Space(SPACE), 30, seed=1, sampler=sampler) != drawn
    halves = points(Space({"model.optimizer.lr": {"low": 1, "high": 4, "step": 0.5}}), 30, sampler=sampler)
    assert {point["model.optimizer.lr"] % 1 for point in halves} == {0, 0.5}  # between integer bounds


def test_a_grid_holds_each_combination_once() -> None:
    space = Space({key: SPACE[key] for key in ("model.pooling", "model.running_means", "model.optimizer.ema")})
    drawn = points(space, 8, sampler="grid")
    assert space.size == 8 == len({tuple(point.values()) for point in drawn})
    assert points(space, 3, sampler="grid") == drawn[:3] != points(space, 3, seed=1, sampler="grid")
    with pytest.raises(UserError, match=r"range: model\.optimizer\.lr$"):
        Space({**SPACE, "data.sampling.frames": {"choices": [6]}}).check_sampler("grid")


def test_a_point_becomes_the_values_of_the_configuration() -> None:
    for value in ("true", "it's", "1e3", "a b"):
        (override,) = Space(SPACE).overrides({"model.pooling": value})
        assert configuration(override).model.pooling == value
    point = points(Space(SPACE), 1)[0] | {"model.optimizer.ema": None, "model.running_means": True}
    config = configuration(*Space(SPACE).overrides(point))
    for key, value in point.items():
        found = OmegaConf.select(config, key)
        assert found == value and type(found) is type(value)


def test_a_space_is_of_settings_of_the_training_in_valid_ranges() -> None:
    keys = ("seed", "data", "protocol", "data.policy", "selection.inner_subjects")  # they choose clips or subjects
    ranges = (0.1, {"low": 0.1}, {"low": 0.1, "high": 0.01}, {"low": math.nan, "high": 1}, {"choices": []})
    spaces: list[Any] = [*({key: {"choices": [1, 2]}} for key in keys), *({"model.optimizer.lr": of} for of in ranges)]
    for space in spaces:
        with pytest.raises(UserError, match=re.escape(f"tune.space: {next(iter(space))}")):
            Space(space)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # restored afterwards

    def of(*overrides: str) -> Any:
        config = configuration(*overrides, hydra=True)
        HydraConfig.instance().set_config(config)
        return config

    return of


def test_a_trial_is_the_run_of_the_same_command_with_its_values(command: Any) -> None:
    given = ["+experiment=synthetic_loso", "data.batch_size=10", "debug='smoke'"]
    search = ["task=tune", "tune.trials=7", "+space=optimizer", "+tune.space={model.pooling: {choices: [arp, score]}}"]
    config = command(*given, *search)
    assert set(config.tune.space) >= {"model.optimizer.lr", "model.pooling"}
    assert own_overrides() == given
    trial, folder = compose_trial([*given, "model.optimizer.lr=0.00123", "task=loso"])
    assert run_folder(command(*given, "model.optimizer.lr=0.00123")) == folder
    assert "hydra" not in trial and trial.trainer.max_epochs == 1  # debug=smoke is applied last here too


def test_an_impossible_search_is_refused(command: Any) -> None:
    space = "tune.space={model.pooling: {choices: [arp, score]}}"
    for override, word in {
        "tune.objective=oracle/uf1": "never sees", "selection.inner_subjects=0": "inner_subjects=3",
        "run=somewhere": r"tune\.folder", "tune.space=null": "not set",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=word):
            tune(command("task=tune", "selection.inner_subjects=1", space, override))

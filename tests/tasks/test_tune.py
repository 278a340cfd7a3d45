"""A search from the command line that does not use results on test clips, and its search space."""

import json
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
    "task=tune",
    "selection.inner_subjects=1",
    "tune.sampler=grid",
    "tune.space={model.optimizer.lr: {choices: [0.001, 0.01, 1e30]}}",
]
TEXT = dict.fromkeys(["dataset", "subject", "clip", "fold"], str)


def folder_of_search(place: Path) -> Path:
    (folder,) = place.glob("runs/synthetic_loso/tune-grid-*/seed-0")
    return folder


def tables(place: Path) -> dict[str, bytes]:
    names = ("trials.csv", "nested.csv", "predictions.csv", "metrics.json", "best.yaml")
    return {name: (folder_of_search(place) / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def place(finished_workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of three trials, one of which diverges."""
    folder = tmp_path_factory.mktemp("tune") / "place"
    shutil.copytree(finished_workplace, folder, ignore=lambda _, names: {"runs"} & set(names))
    done = start(folder, *SEARCH)
    assert done.stdout.count(" failed: ") == 1
    # Only the nested score and its derivation are shown, no table of a trial's test scores.
    assert done.stdout.count("\n majority") == 1
    assert "nested score of a search over 3 trials" in " ".join(done.stdout.split())
    return folder


def trials(place: Path) -> pd.DataFrame:
    return pd.read_csv(folder_of_search(place) / "trials.csv", keep_default_na=False)


def test_trials_that_diverge_are_recorded_and_the_others_go_on(place: Path) -> None:
    table = trials(place)
    assert table["trial"].tolist() == [0, 1, 2]
    failures = table.set_index("model.optimizer.lr")["failure"]
    assert failures[0.001] == failures[0.01] == ""
    assert "the training diverged" in failures[1e30]
    finished = table[table["status"] == "finished"]
    assert set(finished["model.optimizer.lr"]) == {0.001, 0.01}
    assert (finished["low"].astype(float) <= finished["inner/uf1"].astype(float)).all()


def test_the_nested_score_is_of_each_folds_best_trial_inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of_search(place)
    classes = json.loads((folder / "metrics.json").read_text())["classes"]
    finished = trials(place).query("status == 'finished'").set_index("trial")
    nested = pd.read_csv(folder / "nested.csv", dtype={"fold": str}).set_index("fold")
    pooled = pd.read_csv(folder / "predictions.csv", dtype=TEXT)
    assert set(pooled["selection"]) == {"last"} and len(pooled) == 30
    inner: dict[str, dict[int, pd.DataFrame]] = {}
    for fold in ("01", "02", "03"):
        paths = {number: place / run / "folds" / fold / "inner.csv" for number, run in finished["run"].items()}
        inner[fold] = {n: pd.read_csv(path, dtype=TEXT).query("selection == 'last'") for n, path in paths.items()}
        assert all(len(last) == 10 and fold not in set(last["subject"]) for last in inner[fold].values())
    choice = nested_choice(inner, classes, "uf1")
    for fold, best in choice.items():
        assert nested.loc[fold, "trial"] == best
        path = place / finished.loc[best, "run"] / "folds" / fold / "predictions.csv"
        expected = pd.read_csv(path, dtype=TEXT).query("selection == 'last'").sort_values("clip")
        own = pooled[pooled["fold"] == fold].sort_values("clip")
        assert own["prob_disgust"].tolist() == expected["prob_disgust"].tolist()
    for number in finished.index:  # a trial's own score is pooled over the folds
        last = pd.concat([inner[fold][number] for fold in inner])
        expected = f1_score(last["target"], last["prediction"], average="macro", labels=classes, zero_division=0)
        assert float(finished.loc[number, "inner/uf1"]) == pytest.approx(expected)
    chosen = yaml.safe_load((folder / "best.yaml").read_text())
    assert chosen["inner"]["value"] == finished["inner/uf1"].astype(float).max()
    monkeypatch.chdir(place)
    config, run = compose_trial(shlex.split(chosen["command"])[3:])  # the command reproduces the trial's run
    assert run.as_posix() == finished.loc[chosen["trial"], "run"]
    assert (config.task, config.model.optimizer.lr) == ("loso", chosen["parameters"]["model.optimizer.lr"])


def test_no_prediction_of_a_held_out_clip_has_a_part_in_the_search(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "altered"
    shutil.copytree(place, other)
    random = np.random.default_rng(0)
    for path in other.glob("runs/synthetic_loso/*/seed-0/folds/*/predictions.csv"):
        table = pd.read_csv(path, dtype=TEXT)
        of_class = [name for name in table if name.startswith("prob_")]
        table[of_class] = random.dirichlet(np.ones(len(of_class)), len(table))
        table["prediction"] = [of_class[i].removeprefix("prob_") for i in table[of_class].to_numpy().argmax(axis=1)]
        table.to_csv(path, index=False, lineterminator="\n")
        facts = json.loads((path.parent / "fold.json").read_text())
        facts["checksums"]["predictions.csv"] = sha256(path)
        (path.parent / "fold.json").write_text(json.dumps(facts))
    start(other, *SEARCH)
    old, new = tables(place), tables(other)
    assert {name for name in old if old[name] != new[name]} == {"predictions.csv", "metrics.json"}


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
def test_points_are_in_their_ranges_repeat_with_the_seed_and_go_on_where_fewer_ended(sampler: str) -> None:
    drawn = points(Space(SPACE), 30, sampler=sampler)
    for point in drawn:
        assert 1e-4 <= point["model.optimizer.lr"] <= 1e-2
        assert float(f"{point['model.optimizer.lr']:.4g}") == point["model.optimizer.lr"]
        assert point["data.sampling.frames"] in (6, 8, 10, 12)
    assert {point["model.pooling"] for point in drawn} == {"score", "arp"}
    assert points(Space(dict(reversed(SPACE.items()))), 30, sampler=sampler) == drawn
    assert points(Space(SPACE), 12, sampler=sampler) == drawn[:12]
    assert points(Space(SPACE), 30, seed=1, sampler=sampler) != drawn
    halves = points(Space({"model.optimizer.lr": {"low": 1, "high": 4, "step": 0.5}}), 30, sampler=sampler)
    assert {point["model.optimizer.lr"] % 1 for point in halves} == {0, 0.5}  # between integer bounds


def test_a_grid_is_each_combination_once() -> None:
    space = Space({key: SPACE[key] for key in ("model.pooling", "model.running_means", "model.optimizer.ema")})
    drawn = points(space, 8, sampler="grid")
    assert space.size == 8 == len({tuple(point.values()) for point in drawn})
    assert points(space, 3, sampler="grid") == drawn[:3] != points(space, 3, seed=1, sampler="grid")
    with pytest.raises(UserError, match=r"range: model\.optimizer\.lr$"):
        Space({**SPACE, "data.sampling.frames": {"choices": [6]}}).check_sampler("grid")


def test_a_point_is_what_the_configuration_then_holds() -> None:
    awkward = {"choices": ["true", "it's", "1e3", "a b"]}
    for value in awkward["choices"]:
        (override,) = Space({"model.pooling": awkward}).overrides({"model.pooling": value})
        assert configuration(override).model.pooling == value
    point = points(Space(SPACE), 1)[0] | {"model.optimizer.ema": None, "model.running_means": True}
    config = configuration(*Space(SPACE).overrides(point))
    for key, value in point.items():
        found = OmegaConf.select(config, key)
        assert found == value and type(found) is type(value)


NO_SETTINGS = ["seed", "data", "protocol", "data.policy", "selection.inner_subjects"]
NO_RANGES = [
    0.1, {"low": 0.1}, {"low": 0.1, "high": 0.01}, {"low": "a", "high": 1}, {"low": float("nan"), "high": 1},
    {"low": 0, "high": float("inf")}, {"low": 0.1, "high": 1, "log": "maybe"},
    {"low": 0.1, "high": 1, "choices": [1]}, {"choices": []}, {"choices": [[1]]},
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "of_key"),
    [*((key, {"choices": [1, 2]}) for key in NO_SETTINGS), *(("model.optimizer.lr", no) for no in NO_RANGES)],
)
def test_what_is_no_range_of_a_setting_of_the_training_is_refused(key: str, of_key: Any) -> None:
    with pytest.raises(UserError, match=rf"(?s)tune\.space.*{re.escape(key)}"):
        Space({key: of_key})


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # restored afterwards

    def of(*overrides: str) -> Any:
        config = configuration(*overrides, hydra=True)
        HydraConfig.instance().set_config(config)
        return config

    return of


def test_a_trial_is_the_run_of_the_same_command_with_its_overrides(command: Any) -> None:
    given = ["+experiment=synthetic_loso", "data.batch_size=10", "debug='smoke'"]
    search = ["task=tune", "tune.trials=7", "+space=optimizer", "+tune.space={model.pooling: {choices: [arp, score]}}"]
    config = command(*given, *search)
    assert set(config.tune.space) >= {"model.optimizer.lr", "model.pooling"}
    assert own_overrides() == given
    overrides = [*own_overrides(), "model.optimizer.lr=0.00123", "task=loso"]
    trial, folder = compose_trial(overrides)
    plain = command(*given, "model.optimizer.lr=0.00123")
    assert run_folder(plain) == folder
    assert "hydra" not in trial and trial.trainer.max_epochs == 1  # debug=smoke is applied last here too


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["tune.objective=oracle/uf1"], "never sees scores of the test subjects"),
        (["tune.objective=inner/f2"], "inner/accuracy"), (["selection.inner_subjects=0"], "selection.inner_subjects=3"),
        (["tune.sampler=cmaes"], "random, grid, tpe"), (["tune.trials=0"], "at least 1"),
        (["run=somewhere"], "tune.folder"), (["tune.space=null"], "tune.space is not set"),
        (["tune.space={seed: {choices: [1, 2]}}"], "not a setting of the training"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused(command: Any, overrides: list[str], said: str) -> None:
    space = "tune.space={model.pooling: {choices: [arp, score]}}"
    given = [] if overrides[0].startswith("tune.space") else [space]
    config = command("task=tune", "selection.inner_subjects=1", *given, *overrides)
    with pytest.raises(UserError) as caught:
        tune(config)
    assert said in str(caught.value)

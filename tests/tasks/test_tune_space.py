"""What a search varies: ranges and choices that become overrides, and those that are refused."""

from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.runs.folder import run_folder
from fdp_lightning.search.space import Space
from fdp_lightning.search.trials import compose_trial, own_overrides
from fdp_lightning.tasks.tune import tune

pytestmark = pytest.mark.costly

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


@pytest.mark.parametrize(
    ("key", "of_key", "said"),
    [
        ("seed", {"choices": [0, 1]}, "seed is not a setting of the training"),
        ("data", {"choices": ["casme2"]}, "data is not a setting"),
        ("protocol", {"choices": ["casme2_3c_156"]}, "must not choose its clips"),
        ("data.policy", {"choices": ["strict"]}, "not a setting"),
        ("selection.inner_subjects", {"low": 1, "high": 3}, "not a setting"),
        ("model.optimizer.lr", 0.1, "expected {low"),
        ("model.optimizer.lr", {"low": 0.1}, "has low; expected {low"),
        ("model.optimizer.lr", {"low": 0.1, "high": 0.01}, "low first"),
        ("model.optimizer.lr", {"low": "a", "high": 1}, "expected numbers"),
        ("model.optimizer.lr", {"low": 0.1, "high": 1, "choices": [1]}, "expected {low"),
        ("model.pooling", {"choices": []}, "expected a list of"),
        ("model.pooling", {"choices": [[1]]}, "expected a list of"),
    ],
)
def test_what_is_no_range_of_a_setting_of_the_training_is_refused(key: str, of_key: Any, said: str) -> None:
    with pytest.raises(UserError, match="tune\\.space") as caught:
        Space({key: of_key})
    assert key in str(caught.value) and said in str(caught.value)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # put back as it was afterwards

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
    assert "hydra" not in trial and trial.trainer.max_epochs == 1  # debug=smoke has the last word here too


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["tune.objective=oracle/uf1"], "never sees a score of the subjects under test"),
        (["tune.objective=last/uf1"], "never sees a score of the subjects under test"),
        (["tune.objective=test/accuracy"], "never sees a score of the subjects under test"),
        (["tune.objective=inner/f2"], "expected one of inner/accuracy"),
        (["selection.inner_subjects=0"], "selection.inner_subjects=3"),
        (["tune.sampler=cmaes"], "random, grid, tpe"),
        (["tune.trials=0"], "at least 1"),
        (["run=somewhere"], "tune.folder"),
        (["tune.space=null"], "tune.space is not set"),
        (["tune.space={seed: {choices: [1, 2]}}"], "not a setting of the training"),
    ],
)
def test_a_search_that_cannot_be_is_refused(command: Any, overrides: list[str], said: str) -> None:
    space = "tune.space={model.pooling: {choices: [arp, score]}}"
    given = [] if overrides[0].startswith("tune.space") else [space]
    config = command("task=tune", "selection.inner_subjects=1", *given, *overrides)
    with pytest.raises(UserError) as caught:
        tune(config)
    assert said in str(caught.value)

"""Run folders: what is checked when they are read, how they are found, and scores over seeds."""

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, table_of, write_run
from sklearn.metrics import f1_score

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import write_predictions
from fdp_lightning.evaluation.runs import find_runs, read_run, seed_scores
from fdp_lightning.evaluation.summary import class_baselines


def test_scores_come_from_the_predictions(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "seed-4", 4, more={"caveats": ["a caveat"]}))
    part = table_of(4).query("selection == 'oracle'")
    expected = f1_score(part["target"], part["prediction"], labels=CLASSES, average="macro", zero_division=0)
    assert run.scores("oracle")["uf1"] == pytest.approx(expected)
    assert (run.seed, run.protocol, run.split, run.synthetic) == (4, "casme2_5c_249", "loso", False)
    assert run.untrained_baselines == class_baselines(np.full(5, 12), CLASSES)


def _metrics(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        content = json.loads((run / "metrics.json").read_text())
        change(content)
        (run / "metrics.json").write_text(json.dumps(content))

    return damage


def _rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    return lambda run: write_predictions(run / "predictions.csv", change(table_of()), CLASSES)


def _cut(run: Path) -> None:
    path = run / "predictions.csv"
    path.write_text(path.read_text()[:-40])


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not pooled": (lambda run: (run / "metrics.json").unlink(), "task=report run="),
    "no json": (lambda run: (run / "metrics.json").write_text("{"), "expected JSON"),
    "no protocol": (_metrics(lambda content: content.pop("protocol")), "with protocol"),
    "cut off": (_cut, "truncated|has .* of .* values"),
    "a duplicate row": (
        _rows(lambda table: pd.concat([table, table[table["selection"] == "last"].iloc[[3]]])),
        "more than once: synthetic/001/001_4@301",
    ),
    "a missing oracle row": (_rows(lambda table: table.iloc[:-1]), "oracle .* 1 clips only in the first"),
    "no last": (_rows(lambda table: table[table["selection"] == "oracle"]), "'last'"),
    "two seeds": (_rows(lambda table: table.assign(seed=[0, 1] * (len(table) // 2))), "2 seeds"),
    "another table": (_rows(lambda _: table_of(9)), "selections last accuracy"),
    "an altered score": (_metrics(lambda content: content["selections"]["last"].update(uf1=0.9)), r"last uf1 is 0\.9"),
    "an altered interval": (_metrics(lambda c: c["selections"]["last"]["ci95"].update(uf1=[0.89, 0.91])), "ci95 uf1"),
    "an extra selection": (_metrics(lambda c: c["selections"].update(inner={})), "selections inner"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("whole") / "seed-0")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_or_altered_run_is_refused(fault: str, whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "seed-0"))
    damage, message = FAULTS[fault]
    damage(run)
    with pytest.raises(UserError, match=message) as caught:
        read_run(run)
    assert str(tmp_path) in str(caught.value)


def test_runs_are_found_at_any_depth_but_not_inside_runs(tmp_path: Path) -> None:
    made = [write_run(tmp_path / name) for name in ("x/default/seed-0", "x/default/seed-10", "x/b/seed-0", "y")]
    write_run(made[0] / "superseded" / "seed-3")
    unfinished = tmp_path / "x" / "c" / "seed-1"
    (unfinished / "folds").mkdir(parents=True)
    write_run(tmp_path / "x" / ".hidden")
    write_run(tmp_path / "x" / ".seed.host.1.partial")
    assert sorted(find_runs(tmp_path)) == sorted([*made, unfinished])
    assert list(find_runs(made[0])) == [made[0]]


def test_seeds_are_summarised_by_mean_and_deviation_of_their_pooled_scores(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"seed-{seed}", seed) for seed in (10, 2, 0)]
    found = seed_scores(runs[0])
    assert found is not None and found["seeds"] == [0, 2, 10] and found["left_out"] == {}
    for selection in ("last", "oracle"):
        for name in ("accuracy", "uf1", "uar", "weighted_f1"):
            values = [json.loads((run / "metrics.json").read_text())["selections"][selection][name] for run in runs]
            assert found["selections"][selection][name]["mean"] == pytest.approx(statistics.mean(values))
            assert found["selections"][selection][name]["sd"] == pytest.approx(statistics.stdev(values))
    assert seed_scores(runs[1]) == found  # the same from each of the runs


def test_only_seeds_of_the_same_study_are_averaged_and_the_others_are_listed(tmp_path: Path) -> None:
    own = write_run(tmp_path / "seed-0", 0)
    write_run(tmp_path / "seed-1", 1)
    write_run(tmp_path / "seed-2", 2, clips=9)
    write_run(tmp_path / "seed-3", 3, protocol="casme2_5c_246")
    write_run(tmp_path / "seed-4", 1)
    (tmp_path / "seed-5" / "folds" / "001").mkdir(parents=True)
    damaged = write_run(tmp_path / "seed-6", 6) / "predictions.csv"
    damaged.write_text(damaged.read_text()[:-3])
    write_run(tmp_path / "seed-7", 7, table=table_of(7).assign(target="others"))
    write_run(tmp_path / "seed-8", 8, classes=[*CLASSES[:4], "fear"])
    write_run(tmp_path / "other-9", 9)
    write_run(own / "folds" / "seed-9", 9)
    found = seed_scores(own)
    assert found is not None and found["seeds"] == [0, 1]
    left_out = found["left_out"]
    assert sorted(left_out) == [f"seed-{number}" for number in range(2, 9)]
    why = "6 clips", "protocol", "same seed", "not finished", "truncated", "target", "classes"
    assert all(part in left_out[f"seed-{number}"] for number, part in enumerate(why, start=2))


def test_a_single_seed_has_no_deviation(tmp_path: Path) -> None:
    assert seed_scores(write_run(tmp_path / "seed-0", 0)) is None
    assert seed_scores(write_run(tmp_path / "mine", 1)) is None  # a run folder of another name has no siblings

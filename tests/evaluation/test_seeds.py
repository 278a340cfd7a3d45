import json
import statistics
from pathlib import Path

import pytest
from random_runs import CLASSES, table_of, write_run

from fdp_lightning.evaluation import runs
from fdp_lightning.evaluation.runs import Run, read_run, seed_scores, spread


def test_mean_and_deviation_of_the_pooled_scores(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"seed-{seed}", seed) for seed in (10, 2, 0)]
    found = seed_scores(runs[0])
    assert found is not None
    assert found["seeds"] == [0, 2, 10]
    assert found["left_out"] == {}
    for selection in ("last", "oracle"):
        for name in ("accuracy", "uf1", "uar", "weighted_f1"):
            values = [json.loads((run / "metrics.json").read_text())["selections"][selection][name] for run in runs]
            assert len(set(values)) > 1
            assert found["selections"][selection][name]["mean"] == pytest.approx(statistics.mean(values))
            assert found["selections"][selection][name]["sd"] == pytest.approx(statistics.stdev(values))
    assert seed_scores(runs[1]) == found  # whichever run asks


def test_a_seed_that_another_process_works_on_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, _, _ = (write_run(tmp_path / f"seed-{seed}", seed) for seed in range(3))

    def removed_while_read(folder: Path) -> Run:
        if folder.name == "seed-1":
            raise FileNotFoundError(folder)
        return read_run(folder)

    monkeypatch.setattr(runs, "read_run", removed_while_read)
    found = seed_scores(own)
    assert found is not None and found["seeds"] == [0, 2] and [*found["left_out"]] == ["seed-1"]


def test_only_seeds_of_the_same_study_are_averaged_and_the_others_are_named(tmp_path: Path) -> None:
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
    why = "6 clips", "protocol", "seed 1 again", "not finished", "truncated", "another target", "other classes"
    assert all(part in left_out[f"seed-{number}"] for number, part in enumerate(why, start=2))


def test_a_single_seed_has_no_deviation(tmp_path: Path) -> None:
    run = write_run(tmp_path / "seed-0", 0)
    (tmp_path / "seed-1" / "folds").mkdir(parents=True)
    assert seed_scores(run) is None
    alone = write_run(tmp_path / "mine", 1)
    assert seed_scores(alone) is None  # a run folder of another name has no siblings
    with pytest.raises(ValueError, match="two seeds"):
        spread([read_run(run)])

"""task=benchmark: what its rows share, and the rows."""

import json
import os
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from _measuring import in_child
from fdp_lightning.config import BENCHMARKS, configuration
from fdp_lightning.tasks import benchmark
from tests.tasks.conftest import SMALL, fold_here

GOOD = """
from _measuring import Goal, Measurement, Row, finish, options_of
options = options_of("a row", 1)
quick = 1.0 if options.quick else 3.0
finish(Row("{name}", "a row", [Measurement("plain", [2.0, quick])], [Goal("faster", quick, 2.0)], {{"a": 1}}), options)
"""


def hold(megabytes: int) -> int:
    return int(np.ones(megabytes * 10**6, np.uint8).sum()) // 10**6


def fail() -> None:
    raise ArithmeticError


def test_the_peak_memory_is_that_of_the_child_process_alone() -> None:
    here = np.ones(300 * 10**6, np.uint8)  # memory of this process does not count
    little, much = in_child(hold, 1), in_child(hold, 200)
    assert (little.result, much.result, len(here)) == (1, 200, 300 * 10**6)
    assert much.peak_mb - little.peak_mb == pytest.approx(199, abs=20)
    with pytest.raises(ArithmeticError):
        in_child(fail)


def test_a_row_that_crashes_does_not_affect_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "BENCHMARKS", tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "a_crash.py").write_text("raise ArithmeticError('no figure')")
    for name in ("b_row", "c_row"):
        (tmp_path / f"{name}.py").write_text(GOOD.format(name=name))
    out = tmp_path / "out"
    with pytest.raises(benchmark.RowsFailedError, match="1 of 3 rows crashed:\n  a_crash: "):
        benchmark.benchmark(configuration(f"benchmark.output={out}", "benchmark.quick=true"))
    assert "no figure" in (out / "a_crash.txt").read_text()
    rows = json.loads((out / "benchmark.json").read_text())
    assert [(row["row"], row["facts"]["a"]) for row in rows] == [("b_row", 1), ("c_row", 1)]
    assert rows[0]["facts"]["peak of the row's own process, MB"] > 10
    assert "| b_row | faster | 1 × | ≥ 2 × | NOT MET |" in (out / "benchmark.md").read_text()
    benchmark.benchmark(configuration(f"benchmark.output={out}", "benchmark.rows=[c_row]"))
    assert [row["goals"][0]["met"] for row in json.loads((out / "benchmark.json").read_text())] == [True]


def test_the_naive_engine_learns_what_the_engine_learns(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    plain = [*SMALL, "compute=plain"]
    plan = fold_here(*plain, "fold=02", "run=plain")
    table = pd.read_csv(plan.folder / "predictions.csv")
    ours = table[table["selection"] == "last"]
    torch.set_num_threads(1)  # a different order of summation would change results
    probabilities, target, losses = runpy.run_path(BENCHMARKS / "_naive_fold.py")["train"]("02", plain)
    np.testing.assert_allclose(losses, pd.read_csv(plan.folder / "curves.csv")["train/loss"], atol=1e-4)
    # Adam's first steps are as large as the learning rate: on an AMD CPU, rounding changed these by .004.
    np.testing.assert_allclose(probabilities, ours.filter(like="prob_"), rtol=0, atol=1e-2)
    classes = list(configuration(*plain).protocol.classes)
    assert [classes[i] for i in target] == ours["target"].to_list()


ROWS = (
    "start_up", "loso", "preparation", "prediction", "loading", "evaluation_statistics", "interval_coverage",
    "engine_overhead", "optical_flow", "flow_networks",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_a_row_runs(row: str, tmp_path: Path) -> None:
    options = (f"benchmark.rows=[{row}]", "benchmark.quick=true", f"benchmark.output={tmp_path}")
    benchmark.benchmark(configuration(*options))
    (facts,) = json.loads((tmp_path / "benchmark.json").read_text())
    assert facts["row"] == row and facts["measurements"]
    # Of few tables, no test may be significant: shares can be 0 %.
    assert all(min(side["values"]) > 0 for side in facts["measurements"] if side["unit"] != "%")

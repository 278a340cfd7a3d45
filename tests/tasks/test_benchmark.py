"""task=benchmark and what its rows share."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.measuring import Goal, alternate, in_child
from fdp_lightning.tasks import benchmark

pytestmark = pytest.mark.costly

GOOD = """
from fdp_lightning.measuring import Goal, Measurement, Row, finish, options_of
options = options_of("a row", 1)
quick = 1.0 if options.quick else 3.0
finish(Row("{name}", "a row", [Measurement("plain", [2.0, quick])], [Goal("faster", quick, 2.0)], {{"a": 1}}), options)
"""


def test_sides_are_measured_in_turn_after_a_warm_up() -> None:
    runs: list[str] = []
    seconds = alternate({"plain": lambda: runs.append("p"), "fast": lambda: (runs.append("f"), time.sleep(0.01))}, 3, 2)
    assert "".join(runs) == "pf" * 5
    assert {name: len(values) for name, values in seconds.items()} == {"plain": 3, "fast": 3}
    assert min(seconds["fast"]) >= 0.01 > min(seconds["plain"])  # of those beside other work any one may be slow


def test_a_goal_is_met_on_its_own_side() -> None:
    assert Goal("ratio", 3.0, 3.0).met
    assert not Goal("ratio", 2.9, 3.0).met
    assert Goal("seconds", 1.5, 1.5, at_least=False, unit="s").met
    assert Goal("seconds", 1.6, 1.5, at_least=False, unit="s").cells() == ("seconds", "1.6 s", "≤ 1.5 s", "NOT MET")


def hold(megabytes: int) -> int:
    return int(np.ones(megabytes * 10**6, np.uint8).sum()) // 10**6


def fail() -> None:
    raise ArithmeticError


def test_the_peak_is_that_of_the_child_alone() -> None:
    here = np.ones(300 * 10**6, np.uint8)  # what this process holds does not count
    little, much = in_child(hold, 1), in_child(hold, 200)
    assert (little.result, much.result, len(here)) == (1, 200, 300 * 10**6)
    assert much.peak_mb - little.peak_mb == pytest.approx(199, abs=20)
    with pytest.raises(ArithmeticError):
        in_child(fail)


def test_rows_run_each_by_itself_and_a_crash_costs_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "BENCHMARKS", tmp_path)
    (tmp_path / "a_crash.py").write_text("raise ArithmeticError('no figure')")
    for name in ("b_row", "c_row"):
        (tmp_path / f"{name}.py").write_text(GOOD.format(name=name))
    (tmp_path / "_part.py").write_text("raise AssertionError('no row')")
    out = tmp_path / "out"
    config = configuration(f"benchmark.output={out}", "benchmark.quick=true")
    with pytest.raises(benchmark.RowsFailedError, match="1 of 3 rows crashed:\n  a_crash: "):
        benchmark.benchmark(config)
    assert "no figure" in (out / "a_crash.txt").read_text()
    rows = json.loads((out / "benchmark.json").read_text())
    assert [(row["row"], row["facts"]["a"]) for row in rows] == [("b_row", 1), ("c_row", 1)]
    assert all(row["title"].endswith("mean nothing)") for row in rows)
    assert rows[0]["facts"]["peak of the row's own process, MB"] > 10
    assert "| b_row | faster | 1 × | ≥ 2 × | NOT MET |" in (out / "benchmark.md").read_text()
    assert "NOT MET" in capsys.readouterr().out
    config = configuration(f"benchmark.output={out}", "benchmark.rows=[c_row]")
    benchmark.benchmark(config)
    assert [row["goals"][0]["met"] for row in json.loads((out / "benchmark.json").read_text())] == [True]

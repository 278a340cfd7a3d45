"""The dashboards, built without an account or a network: runs log every key that they show."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.conftest import run_of
from tests.tasks.wandb_files import OfflineRun, offline_runs

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "dashboards" / "build.py"
pytestmark = pytest.mark.slow  # importing W&B's report library takes half a minute
ALWAYS_THERE = ("run:displayName",)


def build(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Build without a key and with an unreachable server."""
    nowhere = {"HOME": str(folder), "WANDB_API_KEY": "", "WANDB_BASE_URL": "http://127.0.0.1:9"}
    command = [sys.executable, str(SCRIPT), "--entity", "someone", "--project", "some-project", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **nowhere}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = build(tmp_path_factory.mktemp("dashboards"), "--dry-run")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def logged(logged_workplace: Path) -> dict[str, OfflineRun]:
    """Job type → one run."""
    return {run.job_type: run for run in offline_runs(run_of(logged_workplace)) if run.exit_code == 0}


def found(node: Any, key: str) -> Iterator[Any]:
    """Yield all values of this key, at any depth."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from found(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from found(value, key)


def parts(sent: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all parts with runs: both workspaces, and each grid of panels in the report."""
    grids = [block for block in sent["report"]["spec"]["blocks"] if block["type"] == "panel-grid"]
    return [*sent["workspaces"], *grids]


def job_type(part: dict[str, Any]) -> str:
    (filters,) = [one for one in found(part, "filters") if isinstance(one, list)]
    (of_job_type,) = filters
    assert (of_job_type["key"], of_job_type["op"]) == ({"section": "run", "name": "jobType"}, "=")
    return str(of_job_type["value"])


def is_in_config(run: OfflineRun, path: str) -> bool:
    """Return True if the configuration has the key that W&B calls a.value.b."""
    first, value, *rest = path.split(".")
    return value == "value" and reduce(getitem, rest, run.config[first]) is not None


def panels(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for of_one in found(part, "panels") if isinstance(of_one, list) for panel in of_one]


def test_each_part_shows_one_kind_of_run_and_logged_keys(sent: dict[str, Any], logged: dict[str, OfflineRun]) -> None:
    kinds = [job_type(part) for part in parts(sent)]
    assert kinds == ["fold", "aggregate", "aggregate", "aggregate", "fold"]
    for part, kind in zip(parts(sent), kinds, strict=True):
        run = logged[kind]
        metrics = {name for names in found(part, "metrics") for name in names}
        assert metrics <= set(run.summary), metrics - set(run.summary)
        if kind == "fold":
            assert len(metrics) == 12
            of_panels = {panel["config"]["xAxis"] for panel in panels(part)}
            assert of_panels == {"trainer/global_step"} and "trainer/global_step" in run.summary
        for path in found(part, "groupBy"):
            assert is_in_config(run, path)
        for key in (key for keys in found(part, "grouping") for key in keys):
            assert key["section"] == "config" and is_in_config(run, key["name"])
        for column in {name for names in found(part, "columnOrder") for name in names} - {*ALWAYS_THERE}:
            section, _, name = column.partition(":")
            assert name in run.summary if section == "summary" else is_in_config(run, name), column
        for order in (key["key"] for sort in found(part, "sort") for key in sort["keys"]):
            assert order["section"] == "run" or order["name"] in run.summary
        for key in found(part, "mediaKeys"):
            assert all(f"{name}/filenames" in run.summary for name in key)


def test_tables_and_the_confusion_are_of_pooled_runs(sent: dict[str, Any], logged: dict[str, OfflineRun]) -> None:
    of_pooled = [part for part in parts(sent) if job_type(part) == "aggregate"]
    text = json.dumps(of_pooled)
    tables = set(re.findall(r'"name": "tableKey", "value": "(\w+)"', text))
    tables |= {val for part in of_pooled for val in found(part, "val")}
    assert tables == {"scores", "predictions", "confusion_table"}
    for table in tables:
        assert logged["aggregate"].table(table)["data"]
    (chart,) = {json.dumps(panel["config"]["fieldSettings"]) for part in of_pooled for panel in panels(part)
                if panel["viewType"] == "Vega2"}  # fmt: skip
    assert set(json.loads(chart).values()) == set(logged["aggregate"].table("confusion_table")["columns"])


def test_the_oracle_never_stands_alone(sent: dict[str, Any]) -> None:
    bars = [panel["config"] for part in parts(sent) for panel in panels(part) if panel["viewType"] == "Bar Chart"]
    assert len(bars) == 6
    for bar in bars:
        last, oracle = bar["metrics"]
        assert last.replace("last/", "oracle/") == oracle != last
        assert "not comparable" in bar["chartTitle"]


def test_without_a_key_nothing_is_sent_and_the_cure_is_named(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.returncode == 2
    assert "W&B key" in done.stderr and "--dry-run" in done.stderr and "Traceback" not in done.stderr

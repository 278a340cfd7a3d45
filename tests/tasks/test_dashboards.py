"""The dashboards, built without an account or a network, show only keys that runs log."""

import json
import os
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


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What would be sent, built without a key and with an unreachable server."""
    folder = tmp_path_factory.mktemp("dashboards")
    nowhere = {"HOME": str(folder), "WANDB_API_KEY": "", "WANDB_BASE_URL": "http://127.0.0.1:9"}
    command = [sys.executable, str(SCRIPT), "--entity", "someone", "--project", "some-project", "--dry-run"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **nowhere}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def logged(logged_workplace: Path) -> dict[str, OfflineRun]:
    """Job type → one run."""
    return {run.job_type: run for run in offline_runs(run_of(logged_workplace)) if run.exit_code == 0}


def found(node: Any, key: str) -> Iterator[Any]:
    """Yield the values of a key at any depth."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from found(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from found(value, key)


def parts(sent: dict[str, Any]) -> list[dict[str, Any]]:
    """Return both workspaces, and each grid of panels in the report."""
    grids = [block for block in sent["report"]["spec"]["blocks"] if block["type"] == "panel-grid"]
    return [*sent["workspaces"], *grids]


def job_type(part: dict[str, Any]) -> str:
    ((of_job_type,),) = [one for one in found(part, "filters") if isinstance(one, list)]
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
            assert {panel["config"]["xAxis"] for panel in panels(part)} == {"trainer/global_step"} <= set(run.summary)
        grouped = [key for keys in found(part, "grouping") for key in keys]
        assert all(key["section"] == "config" for key in grouped)
        for path in (*found(part, "groupBy"), *(key["name"] for key in grouped)):
            assert is_in_config(run, path)
        for column in {name for names in found(part, "columnOrder") for name in names} - {"run:displayName"}:
            section, _, name = column.partition(":")
            assert name in run.summary if section == "summary" else is_in_config(run, name), column
        for order in (key["key"] for sort in found(part, "sort") for key in sort["keys"]):
            assert order["section"] == "run" or order["name"] in run.summary
        for key in found(part, "mediaKeys"):
            assert all(f"{name}/filenames" in run.summary for name in key)


def test_the_oracle_is_always_shown_beside_last(sent: dict[str, Any]) -> None:
    bars = [panel["config"] for part in parts(sent) for panel in panels(part) if panel["viewType"] == "Bar Chart"]
    assert len(bars) == 6
    for bar in bars:
        last, oracle = bar["metrics"]
        assert last.replace("last/", "oracle/") == oracle != last
        assert "not comparable" in bar["chartTitle"]

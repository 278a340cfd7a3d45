"""`task=benchmark`: every row of benchmarks/, each in a process of its own, and one table of what they show."""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.table import Table

from fdp_lightning.config import BENCHMARKS
from fdp_lightning.console.progress import console
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.measuring import Goal

log = logging.getLogger("fdp_lightning")

_HEADINGS = ("row", "what", "measured", "wanted", "")


class RowsFailedError(Exception):
    """Rows that crashed; the others are measured."""


def rows_there() -> dict[str, Path]:
    """Name → script."""
    return {path.stem: path for path in sorted(BENCHMARKS.glob("[!_]*.py"))}


def benchmark(config: DictConfig) -> None:
    """Measure the chosen rows, one after the other.

    Raises:
        UserError: a row that there is none of.
        RowsFailedError: naming the rows that crashed, and their logs.
    """
    known = rows_there()
    rows = list(known) if config.benchmark.rows is None else list(config.benchmark.rows)
    if unknown := [row for row in rows if row not in known]:
        raise UserError(f"benchmark.rows: there is no {', '.join(map(str, unknown))}. Rows: {', '.join(known)}")
    folder = Path(config.benchmark.output)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "benchmark.json", "[]\n")  # a folder that cannot be written to is no matter of a row
    results, failed = [], {}
    for row in rows:
        log.info("benchmark %s", row)
        result = folder / f"{row}.json"
        result.unlink(missing_ok=True)  # of an earlier run
        if _run(known[row], result, folder / f"{row}.txt", bool(config.benchmark.quick)):
            results.append(json.loads(result.read_text()))
        else:
            failed[row] = folder / f"{row}.txt"
    write_atomic(folder / "benchmark.json", json.dumps(results, indent=1) + "\n")
    lines = [(result["row"], *_goal(goal).cells()) for result in results for goal in result["goals"]]
    write_atomic(folder / "benchmark.md", _markdown(lines))
    quick = " (quick: the figures mean nothing)" if config.benchmark.quick else ""
    table = Table(*_HEADINGS, title=f"What the rows show{quick}", title_justify="left")
    for line in lines:
        table.add_row(*line)
    screen = console()
    screen.print(table)
    screen.print(f"{folder}/benchmark.json, benchmark.md, and each row's own .json and .txt", highlight=False)
    if failed:
        logs = "\n  ".join(f"{row}: {path}" for row, path in failed.items())
        raise RowsFailedError(f"{len(failed)} of {len(rows)} rows crashed:\n  {logs}")


def _run(script: Path, result: Path, text: Path, quick: bool) -> bool:
    """Run a row; what it says is shown and kept. False if it crashed."""
    command = [sys.executable, "-W", "ignore", str(script), "--json", str(result), *(["--quick"] if quick else [])]
    with (
        text.open("w") as kept,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.write(line)
    return process.returncode == 0 and result.is_file()


def _goal(facts: dict[str, Any]) -> Goal:
    return Goal(**{name: value for name, value in facts.items() if name != "met"})


def _markdown(lines: Sequence[tuple[str, ...]]) -> str:
    rows = [_HEADINGS, tuple("---" for _ in _HEADINGS), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)

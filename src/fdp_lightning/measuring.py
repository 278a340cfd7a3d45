"""What all benchmarks share: sides measured in turn, peaks of memory, the table and the JSON of a row.

A row is a script in benchmarks/; `task=benchmark` runs them. Ratios of one run count, not seconds of two machines.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fdp_lightning.files import write_atomic
from fdp_lightning.runs.environment import environment

Side = Callable[[], object]

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Measurement:
    """One side of a row, measured several times.

    Attributes:
        name: of the side.
        values: one per run, in `unit`, in the order of the runs.
        unit: of the values.
        peak_mb: the most memory that its process held, in 10⁶ bytes; None: not measured.
    """

    name: str
    values: Sequence[float]
    unit: str = "s"
    peak_mb: float | None = None

    @property
    def median(self) -> float:
        """Of the values."""
        return statistics.median(self.values)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "median": self.median,
            "lowest": min(self.values),
            "highest": max(self.values),
            "values": list(self.values),
            "unit": self.unit,
            "peak_mb": self.peak_mb,
        }


@dataclass(frozen=True)
class Goal:
    """What a row is to show.

    Attributes:
        text: what is compared with what.
        measured: the figure.
        wanted: its bound.
        at_least: whether the bound is the least; False: the most.
        unit: of both.
    """

    text: str
    measured: float
    wanted: float
    at_least: bool = True
    unit: str = "×"

    @property
    def met(self) -> bool:
        """Whether the figure is on the right side of its bound."""
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    def cells(self) -> tuple[str, str, str, str]:
        """Text, measured, wanted, met: as tables show them."""
        sign = "≥" if self.at_least else "≤"
        return (
            self.text,
            f"{self.measured:.3g} {self.unit}",
            f"{sign} {self.wanted:g} {self.unit}",
            "met" if self.met else "NOT MET",
        )


@dataclass
class Row:
    """A benchmark's result.

    Attributes:
        name: of its script.
        title: what is measured, under which conditions.
        measurements: of all sides.
        goals: what they are to show; may be none.
        facts: whatever else a reader needs, by name.
        load: of the machine before the start, mean of a minute; measured on a busy machine, figures mean little.
    """

    name: str
    title: str
    measurements: list[Measurement] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def to_json(self) -> dict[str, Any]:
        """All of it, with the machine, the versions and the threads."""
        return {
            "row": self.name,
            "title": self.title,
            "measurements": [one.facts() for one in self.measurements],
            "goals": [{**vars(goal), "met": goal.met} for goal in self.goals],
            "facts": self.facts,
            "load_before": self.load,
            "environment": {**environment(), **_machine()},
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.title}"]
        for one in self.measurements:
            spread = f"{min(one.values):.4g} to {max(one.values):.4g}, n = {len(one.values)}"
            peak = "" if one.peak_mb is None else f"   peak {one.peak_mb:.0f} MB"
            lines.append(f"  {one.name:44s} {one.median:10.4g} {one.unit:10s} ({spread}){peak}")
        lines += [f"  {name}: {value}" for name, value in self.facts.items()]
        lines += [
            f"  goal: {text}: {measured}, wanted {wanted}: {met}" for text, measured, wanted, met in self._goals()
        ]
        facts = {**environment(), **_machine()}
        shown = ("processor", "gpus", "cores", "cpu_affinity", "threads", "python", "torch", "git_revision")
        lines.append("  " + ", ".join(f"{key} {facts[key]}" for key in shown if key in facts))
        return "\n".join([*lines, f"  load before the start {self.load:.2f}"])

    def _goals(self) -> list[tuple[str, str, str, str]]:
        return [goal.cells() for goal in self.goals]


def alternate(sides: Mapping[str, Side], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each side, run in turn in this process, so that whatever slows the machine slows all alike.

    Args:
        sides: by name.
        repeats: measured runs of each.
        warm_up: runs of each before them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(warm_up + repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if run >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@dataclass(frozen=True)
class Child:
    """What a process of its own gave: the function's result, and the most memory the process held (10⁶ bytes)."""

    result: Any
    peak_mb: float


def in_child(function: Callable[..., Any], *arguments: object) -> Child:
    """Call a function in a fresh process with its own imports.

    Args:
        function: of a module or of the script itself.
        arguments: plain data.

    Raises:
        RuntimeError: the process failed; its traceback is on stderr.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(function, arguments, send))
    process.start()
    send.close()
    try:
        child: Child = receive.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"the process of {function.__name__} ended with exit code {process.exitcode}") from None
    process.join()
    return child


def _report(function: Callable[..., Any], arguments: Sequence[object], send: Connection) -> None:
    send.send(Child(function(*arguments), peak_mb()))


def peak_mb() -> float:
    """The most memory that this process has held, in 10⁶ bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the process held before it became this program
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT / 1e6


def options_of(description: str | None, repeats: int) -> argparse.Namespace:
    """The command line that all rows share: `json`, `repeats`, `quick`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the row there too")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"measured runs of each side ({repeats})")
    parser.add_argument("--quick", action="store_true", help="sizes so small that figures mean nothing: does it run?")
    return parser.parse_args()


def finish(row: Row, options: argparse.Namespace) -> None:
    """Print the row, and write it where it was asked for."""
    if options.quick:
        row.title += " (--quick: its figures mean nothing)"
    row.facts["peak of the row's own process, MB"] = round(peak_mb())
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_UNIT / 1e6
    row.facts["peak of the largest process it started, MB"] = round(started)
    print(row)
    if options.json:
        write_atomic(options.json, json.dumps(row.to_json(), indent=1) + "\n")


def _machine() -> dict[str, str]:
    torch = sys.modules.get("torch")
    affinity = {"cpu_affinity": str(len(os.sched_getaffinity(0)))} if hasattr(os, "sched_getaffinity") else {}
    return {**affinity, **({} if torch is None else {"threads": str(torch.get_num_threads())})}

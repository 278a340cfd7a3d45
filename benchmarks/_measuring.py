"""Shared parts of the benchmarks: alternating measurements, peak memory, and the table and JSON of a row.

A row is a script in this folder, run by `task=benchmark`. Only ratios within one run are comparable, not seconds across
machines.
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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fdp_lightning.files import write_atomic
from fdp_lightning.runs.environment import environment

Side = Callable[[], object]

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Measurement:
    """One side of a benchmark, measured several times, with the peak memory of its process in 10⁶ bytes, if known."""

    name: str
    values: Sequence[float]
    unit: str = "s"
    peak_mb: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def facts(self) -> dict[str, Any]:
        summary = {"median": self.median, "lowest": min(self.values), "highest": max(self.values)}
        return {**asdict(self), **summary, "values": list(self.values)}


@dataclass(frozen=True)
class Goal:
    """Goal of a benchmark: a measured figure, and its lower bound (`at_least`) or upper bound."""

    text: str
    measured: float
    wanted: float
    at_least: bool = True
    unit: str = "×"

    @property
    def met(self) -> bool:
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    def cells(self) -> tuple[str, str, str, str]:
        """Return text, measured, wanted and met as shown in tables."""
        measured = f"{self.measured:.3g} {self.unit}"
        wanted = f"{'≥' if self.at_least else '≤'} {self.wanted:g} {self.unit}"
        return self.text, measured, wanted, "met" if self.met else "NOT MET"


@dataclass
class Row:
    """Result of a benchmark: the name of its script, a title with the conditions, all sides, goals and facts.

    `load` is the machine's mean load in the minute before the start; on a busy machine the figures mean little.
    """

    name: str
    title: str
    measurements: list[Measurement] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def to_json(self) -> dict[str, Any]:
        return {
            "row": self.name,
            "title": self.title,
            "measurements": [one.facts() for one in self.measurements],
            "goals": [{**vars(goal), "met": goal.met, "cells": goal.cells()} for goal in self.goals],
            "facts": self.facts,
            "load_before": self.load,
            "environment": _machine(),
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.title}"]
        for one in self.measurements:
            spread = f"{min(one.values):.4g} to {max(one.values):.4g}, n = {len(one.values)}"
            peak = "" if one.peak_mb is None else f"   peak {one.peak_mb:.0f} MB"
            lines.append(f"  {one.name:44s} {one.median:10.4g} {one.unit:10s} ({spread}){peak}")
        lines += [f"  {name}: {value}" for name, value in self.facts.items()]
        for goal in self.goals:
            text, measured, wanted, met = goal.cells()
            lines.append(f"  goal: {text}: {measured}, wanted {wanted}: {met}")
        facts = _machine()
        shown = ("processor", "gpus", "cores", "cpu_affinity", "threads", "python", "torch", "git_revision")
        lines.append("  " + ", ".join(f"{key} {facts[key]}" for key in shown if key in facts))
        return "\n".join([*lines, f"  load before the start {self.load:.2f}"])


def alternate(sides: Mapping[str, Side], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Run the sides in turn in this process, so that a slow machine slows all alike; return the seconds of each.

    The first `warm_up` runs of each side are not measured.
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
    """Result of a function called in its own process, and the peak memory of that process (10⁶ bytes)."""

    result: Any
    peak_mb: float


def in_child(function: Callable[..., Any], *arguments: object) -> Child:
    """Call a function, even one of the script itself, in a fresh process with its own imports."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_with_peak, function, *arguments).result()


def _with_peak(function: Callable[..., Any], *arguments: object) -> Child:
    return Child(function(*arguments), peak_mb())


def peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would include the memory of the process before it became this program
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT / 1e6


def options_of(description: str | None, repeats: int) -> argparse.Namespace:
    """Parse the command line shared by all benchmarks: `json`, `repeats`, `quick`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"measured runs of each side ({repeats})")
    parser.add_argument("--quick", action="store_true", help="run at sizes so small that the figures mean nothing")
    return parser.parse_args()


def finish(row: Row, options: argparse.Namespace) -> None:
    """Print a benchmark's result, and write it to a file if asked for."""
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
    threads = {} if torch is None else {"threads": str(torch.get_num_threads())}
    return {**environment(), **affinity, **threads}

"""How long the statistics take: `python benchmarks/evaluation_statistics.py [--json file] [--repeats n]`.

Tables of random predictions in the sizes of three studies; the time of a function does not depend on their values.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from fdp_lightning.evaluation.bootstrap import RESAMPLES, subject_bootstrap
from fdp_lightning.evaluation.paired import mcnemar, paired_bootstrap
from fdp_lightning.evaluation.predictions import read_predictions, write_predictions
from fdp_lightning.evaluation.summary import summarise
from fdp_lightning.files import write_atomic

STUDIES = {
    "CASME II, 5 classes": (249, 26, 5),
    "500 clips, 68 subjects, 3 classes": (500, 68, 3),
    "DFME, 7 classes": (7526, 656, 7),
}
"""Clips, subjects and classes."""


def study(clips: int, subjects: int, classes: int, seed: int) -> pd.DataFrame:
    """Predictions of one run, right in half of the clips; the same clips and targets whatever the seed."""
    random = np.random.default_rng(seed)
    names = np.array([f"class {place}" for place in range(classes)])
    target = np.arange(clips) % classes
    prediction = np.where(random.random(clips) < 0.5, target, random.integers(classes, size=clips))
    rows = {
        "dataset": "random",
        "subject": [f"{place % subjects:03d}" for place in range(clips)],
        "clip": [f"{place:05d}" for place in range(clips)],
        "onset": 1,
        "target": names[target],
        "prediction": names[prediction],
        **{f"prob_{name}": (prediction == place).astype(float) for place, name in enumerate(names)},
        "selection": "last",
        "fold": "0",
        "seed": seed,
    }
    return pd.DataFrame(rows)


def jobs() -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Yield what is measured: the study, the function's name, and a call."""
    for name, (clips, subjects, count) in STUDIES.items():
        classes = [f"class {place}" for place in range(count)]
        runs = [study(clips, subjects, count, seed) for seed in range(6)]
        a, b = runs[0], runs[3]
        # Everything is bound in a default: a closure would see the last study.
        yield name, f"subject bootstrap, {RESAMPLES:,}", lambda a=a, c=classes: subject_bootstrap(a, c)
        yield name, f"paired bootstrap, {RESAMPLES:,}", lambda a=a, b=b, c=classes: paired_bootstrap([a], [b], c)
        yield (
            name,
            f"paired bootstrap, {RESAMPLES:,}, 3 seeds each",
            lambda r=runs, c=classes: paired_bootstrap(r[:3], r[3:], c),
        )
        yield name, "McNemar's test", lambda a=a, b=b: mcnemar(a, b)
        both = pd.concat([a, a.assign(selection="oracle")], ignore_index=True)
        yield name, "metrics.json, last and oracle", lambda t=both, c=classes: summarise(t, c, "random", [])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "predictions.csv"
            write_predictions(path, both, classes)
            yield name, "read predictions.csv", lambda p=path: read_predictions(p)


def measure(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of some calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS", "as the libraries choose"),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "pandas", "scipy", "fdp-lightning")},
    }


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description="How long the statistics take.")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--repeats", type=int, default=7, help="calls after the warm-up (default 7)")
    options = parser.parse_args()
    facts = machine()
    table = Table(title="median seconds (fastest – slowest)", title_justify="left")
    table.add_column("study")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    results = []
    for name, what, call in jobs():
        seconds = measure(call, options.repeats)
        results.append({"study": name, "what": what, "median_s": median(seconds), "seconds": seconds})
        table.add_row(name, what, f"{median(seconds):.4f} ({min(seconds):.4f} – {max(seconds):.4f})")
    Console(width=110).print(table)
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    if options.json:
        write_atomic(options.json, json.dumps({"machine": facts, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Time of the statistics: `python benchmarks/evaluation_statistics.py [--json file] [--repeats n] [--quick]`.

The tables hold random predictions at the sizes of three studies; the times do not depend on the values.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from _measuring import Measurement, Row, alternate, finish, options_of
from fdp_lightning.evaluation.intervals import compare_outcomes, subject_intervals
from fdp_lightning.evaluation.predictions import Outcomes, read_predictions, write_predictions
from fdp_lightning.evaluation.summary import summarise

STUDIES = {
    "CASME II, 5 classes": (249, 26, 5),
    "500 clips, 68 subjects, 3 classes": (500, 68, 3),
    "DFME, 7 classes": (7526, 656, 7),
}
"""Clips, subjects and classes."""

QUICK = {"40 clips, 3 classes": (40, 4, 3)}


def study(clips: int, subjects: int, classes: int, seed: int) -> pd.DataFrame:
    """Return random predictions of one run, mostly correct; the seed changes neither clips nor targets."""
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


def jobs(studies: Mapping[str, tuple[int, int, int]]) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Yield study, name of the function and a call to measure."""
    for name, (clips, subjects, count) in studies.items():
        classes = [f"class {place}" for place in range(count)]
        runs = [study(clips, subjects, count, seed) for seed in range(6)]
        a, b = runs[0], runs[3]
        yield name, "intervals over subjects", partial(_intervals, a, classes)
        yield name, "paired differences", partial(_differences, [a], [b], classes)
        yield name, "paired differences, 3 seeds each", partial(_differences, runs[:3], runs[3:], classes)
        both = pd.concat([a, a.assign(selection="oracle")], ignore_index=True)
        yield name, "metrics.json, last and oracle", partial(summarise, both, classes, "random", [])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "predictions.csv"
            write_predictions(path, both, classes)
            yield name, "read predictions.csv", partial(read_predictions, path)


def _intervals(table: pd.DataFrame, classes: list[str]) -> object:
    return subject_intervals(Outcomes.of(table, classes))


def _differences(a: list[pd.DataFrame], b: list[pd.DataFrame], classes: list[str]) -> object:
    return compare_outcomes(*([Outcomes.of(table, classes) for table in side] for side in (a, b)))


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=7)
    row = Row("evaluation_statistics", "seconds per call, tables of random predictions")
    for name, what, call in jobs(QUICK if options.quick else STUDIES):
        (seconds,) = alternate({what: call}, 1 if options.quick else options.repeats).values()
        row.measurements.append(Measurement(f"{what}; {name}", seconds))
    finish(row, options)


if __name__ == "__main__":
    main()

"""A complete LOSO run compared with a naive engine: `python benchmarks/loso.py [--json file] [--repeats n] [--quick]`.

The run is `make demo` after installation, with prepared clips: 12 folds of synthetic faces, fdp_tiny, 16 epochs. The
naive engine starts a process with its own imports for each fold (`_naive_fold.py`), one after the other, with PyTorch's
default threads and compute=plain. Wall times are those of whole commands, from start to predictions; ours also
evaluates all curves, writes checkpoints, outputs and logs, pools the folds and writes the report.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from _measuring import Goal, Measurement, Row, alternate, finish, options_of

GOAL = 3.0
NAIVE = "naive: one process with its own imports per fold"
OURS = "task=loso"
PYTHON = [sys.executable, "-W", "ignore"]
QUICK = ["data.generate.subjects=2", "data.generate.clips_per_emotion=1", "data.generate.height=120"]
QUICK += ["data.generate.width=160", "data.faces.method=none", "protocol.strict=false", "trainer.max_epochs=1"]


def run(*command: str) -> None:
    """Run a command; if it fails, print its output to stderr and exit."""
    done = subprocess.run([*PYTHON, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}")


def naive(folds: list[str], folder: Path, overrides: list[str]) -> None:
    """Train all folds, one after the other."""
    for name in folds:
        script = str(Path(__file__).with_name("_naive_fold.py"))
        run(script, name, str(folder / f"{name}.npz"), *overrides, "compute=plain")


def ours(folder: Path, overrides: list[str]) -> None:
    """Run the command with an empty run folder."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    run("-m", "fdp_lightning", *overrides, f"run={folder}/run")


def shares(folder: Path, started: float) -> dict[str, str]:
    """Return the share of the folds in the time of the newest run, and that of training in the time of the folds."""
    folds = [json.loads(path.read_text()) for path in sorted((folder / "run/folds").glob("*/fold.json"))]
    facts = json.loads((folder / "run/environment.json").read_text())
    of_all = f"{facts['seconds']:.1f} s of {time.time() - started:.1f} s"
    training = sum(fold["training_seconds"] for fold in folds) / sum(fold["seconds"] for fold in folds)
    return {"time of the folds in the whole command": of_all, "share of training in the folds": f"{training:.0%}"}


def accuracies(folds: list[str], folder: Path) -> dict[str, str]:
    """Return the accuracy of both engines over all held-out clips; the trainings are equal, but not bit for bit."""
    files = [np.load(folder / f"{name}.npz") for name in folds]
    right = np.concatenate([file["probabilities"].argmax(axis=1) == file["target"] for file in files])
    metrics = json.loads((folder / "run/metrics.json").read_text())
    return {
        "accuracy, naive": f"{right.mean():.3f}",
        "accuracy, ours": f"{metrics['selections']['last']['accuracy']:.3f}",
    }


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=1)
    row = Row("loso", "12 folds of make demo, clips prepared" if not options.quick else "2 tiny folds")
    with TemporaryDirectory(prefix="loso-") as place:
        folder = Path(place)
        overrides = ["+experiment=synthetic_loso", *(QUICK if options.quick else [])]
        overrides += [f"data.root={folder}/synthetic", f"data.store={folder}/stores"]
        ours(folder, [*overrides, "trainer.max_epochs=1"])  # generates and prepares the clips, and warms up
        folds = sorted(path.name for path in (folder / "run/folds").iterdir())
        started = [0.0]

        def timed() -> None:
            started[0] = time.time()
            ours(folder, overrides)

        sides = {NAIVE: lambda: naive(folds, folder, overrides), OURS: timed}
        seconds = alternate(sides, 1 if options.quick else options.repeats, warm_up=0)
        row.facts = {"folds": len(folds), **shares(folder, started[0]), **accuracies(folds, folder)}
    row.measurements = [Measurement(name, values) for name, values in seconds.items()]
    slow, fast = row.measurements
    row.goals = [Goal("whole command, naive engine / ours", slow.median / fast.median, GOAL)]
    finish(row, options)


if __name__ == "__main__":
    main()

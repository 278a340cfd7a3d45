"""Response time of the command line: `python benchmarks/start_up.py [--json file] [--repeats n] [--quick]`.

Help, the configuration and misspelt overrides, each requested in a new process, alternate with the imports that
training needs and these responses must not wait for. The slow packages that each imports are listed too.
"""

import subprocess
import sys

from _measuring import Goal, Measurement, Row, alternate, finish, options_of

GOAL_S = 1.5

PLAIN = "import torch, lightning, timm, albumentations, facenet_pytorch, torchmetrics"
HEAVY = (*PLAIN.removeprefix("import ").split(", "), "pandas", "pyarrow", "cv2", "wandb", "sklearn", "matplotlib")

ANSWERS = {
    "--help": (["--help"], 0),
    "--cfg job": (["--cfg", "job"], 0),
    "a misspelt key": (["+experiment=synthetic_loso", "model.poolingg=mean"], 2),
    "a misspelt option": (["+experiment=synthetic_losso"], 2),
    "a misspelt task": (["task=losso"], 2),
}
"""Arguments and expected exit code of each request."""

_COUNT = """
import sys
from fdp_lightning.__main__ import main
heavy = sys.argv.pop(1).split(",")
try:
    main()
except SystemExit:
    pass
sys.exit(", ".join(sorted(set(heavy) & set(sys.modules))) or 0)
"""


def answer(arguments: list[str], code: int) -> None:
    """Run the command, and fail if its exit code is another: a crash is fast too."""
    done = subprocess.run([sys.executable, "-m", "fdp_lightning", *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr


def imported(arguments: list[str]) -> str:
    """Return the slow packages that a command imports."""
    command = [sys.executable, "-c", _COUNT, ",".join(HEAVY), *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return done.stderr.splitlines()[-1] if done.returncode else "none"


def import_the_stack() -> None:
    """Import what training needs, for comparison."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN], check=True, capture_output=True)


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=7)
    repeats = 1 if options.quick else options.repeats
    sides = {name: (lambda asked=asked: answer(*asked)) for name, asked in ANSWERS.items()}
    seconds = alternate({**sides, PLAIN: import_the_stack}, repeats, warm_up=0 if options.quick else 1)
    row = Row("start_up", f"{len(ANSWERS)} responses, each of a new process, compared with the imports of training")
    row.measurements = [Measurement(name, values) for name, values in seconds.items()]
    row.goals = [Goal(one.name, one.median, GOAL_S, at_least=False, unit="s") for one in row.measurements[:-1]]
    row.facts = {f"slow packages that {name} imports": imported(asked) for name, (asked, _) in ANSWERS.items()}
    finish(row, options)


if __name__ == "__main__":
    main()

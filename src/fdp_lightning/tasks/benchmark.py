"""`task=benchmark`: the scripts of benchmarks/, each in its own process, and one table of their results."""

import json
import logging
import subprocess
import sys
from pathlib import Path

from omegaconf import DictConfig

from fdp_lightning.config import BENCHMARKS
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic

log = logging.getLogger("fdp_lightning")


class RowsFailedError(Exception):
    """Raised when benchmarks crashed; the others have been measured."""


def benchmark(config: DictConfig) -> None:
    """Measure the chosen benchmarks, one after the other.

    UserError for an unknown name; RowsFailedError names the benchmarks that crashed, and their logs.
    """
    known = {path.stem: path for path in sorted(BENCHMARKS.glob("[!_]*.py"))}
    rows = list(known) if config.benchmark.rows is None else list(config.benchmark.rows)
    if unknown := [row for row in rows if row not in known]:
        raise UserError(f"benchmark.rows: there is no {', '.join(map(str, unknown))}. Rows: {', '.join(known)}")
    folder = Path(config.benchmark.output)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "benchmark.json", "[]\n")  # fails now, not after an hour, if the folder cannot be written to
    results, failed = [], {}
    for row in rows:
        log.info("benchmark %s", row)
        result, text = folder / f"{row}.json", folder / f"{row}.txt"
        result.unlink(missing_ok=True)  # of an earlier run
        if _run(known[row], result, text, bool(config.benchmark.quick)):
            results.append(json.loads(result.read_text()))
        else:
            failed[row] = text
    write_atomic(folder / "benchmark.json", json.dumps(results, indent=1) + "\n")
    lines = [(result["row"], *goal["cells"]) for result in results for goal in result["goals"]]
    table = [("row", "what", "measured", "wanted", ""), ("---",) * 5, *lines]
    markdown = "".join(f"| {' | '.join(line)} |\n" for line in table)
    write_atomic(folder / "benchmark.md", markdown)
    quick = "\nThe figures mean nothing: benchmark.quick=true." if config.benchmark.quick else ""
    print(f"{markdown}{folder}/benchmark.json, benchmark.md, and each row's own .json and .txt{quick}")
    if failed:
        logs = "\n  ".join(f"{row}: {path}" for row, path in failed.items())
        raise RowsFailedError(f"{len(failed)} of {len(rows)} rows crashed:\n  {logs}")


def _run(script: Path, result: Path, text: Path, quick: bool) -> bool:
    """Run a benchmark, print its output and keep it in a file; return False if it crashed."""
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

"""`task=compare` from the command line: once as a process, then in this process with other settings."""

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from random_runs import make_run, write_run

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.tables.words import csv_cell
from fdp_lightning.foreign import require_values
from fdp_lightning.tasks.compare import compare_runs

pytestmark = pytest.mark.costly


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        write_run(tmp_path / f"runs/casme2_loso/default/seed-{seed}", seed, subjects=12)
    write_run(tmp_path / "runs/casme2_loso/model.pooling-mean/seed-0", 5, subjects=12, skill=0.2)
    write_run(tmp_path / "runs/megc2019_loso/default/seed-0", protocol="megc2019", classes=["negative", "positive"])
    write_run(tmp_path / "runs/casme2_loso/debug-smoke__default/seed-0", 3, subjects=12)
    (tmp_path / "runs/megc2019_loso/default/seed-1/folds/001").mkdir(parents=True)
    return tmp_path / "runs"


def _compare(*overrides: str) -> list:
    return compare_runs(configuration("task=compare", *overrides))


def test_the_command(runs: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    make_run(runs / "synthetic_loso" / "default" / "seed-42")
    done = run_cli("task=compare", "compare.output=out")
    assert done.returncode == 0, done.stderr
    assert not re.search("torch|Traceback", done.stderr)
    assert max(map(len, done.stdout.split("[1]")[0].splitlines())) <= 80
    left_out = ("runs/megc2019_loso/default/seed-1", "runs/casme2_loso/debug-smoke__default/seed-0")
    for words in ("casme2_5c_249: 120 clips, 12 subjects", "OffApexNet", "HTNet", "(synthetic)", *left_out):
        assert words in done.stdout
    assert done.stdout.rstrip().endswith("out/compare.html\nout/compare.csv\nout/compare.tex")
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").read_text().splitlines()))
    own = {(row["protocol"], row["system"], row["seeds"]) for row in rows if row["kind"] == "run"}
    assert own == {
        ("casme2_5c_249", "casme2_loso/default", "0 1"),
        ("casme2_5c_249", "casme2_loso/model.pooling-mean/seed-0", "5"),
        ("megc2019", "megc2019_loso/default/seed-0", "0"),
        ("synthetic_5c", "synthetic_loso/default/seed-42", "42"),
    }


def test_the_baseline_is_the_first_run_unless_named(runs: Path, tmp_path: Path) -> None:
    mean, default = runs / "casme2_loso/model.pooling-mean/seed-0", runs / "casme2_loso/default"
    (table,) = _compare(f"runs=[{mean},{default},{default}/../default]", "compare.published=null")
    assert table.baseline == "casme2_loso/model.pooling-mean/seed-0"
    assert [pair.name for pair in table.paired] == ["casme2_loso/default"]
    assert {row.kind for row in table.rows} == {"run", "baseline"}
    row = "Mine,casme2_5c_249,uf1,0.99,last,here,"
    (tmp_path / "mine.csv").write_text(f"system,protocol,metric,value,selection,source,note\n{row}\n")
    (table,) = _compare(f"runs=[{mean}]", f"compare.baseline={default}", "compare.published=mine.csv")
    assert table.baseline == "casme2_loso/default"
    assert [pair.name for pair in table.paired] == ["casme2_loso/model.pooling-mean/seed-0"]
    assert [(row.name, row.rank) for row in table.rows if row.kind == "published"] == [("Mine", 1)]


def test_mistakes_are_refused_before_anything_is_written(runs: Path, tmp_path: Path) -> None:
    unfinished = runs / "megc2019_loso/default/seed-1"
    for seed in (0, 9):
        shutil.copytree(runs / "casme2_loso/default/seed-0", tmp_path / "copies" / f"seed-{seed}")
    for override, message in (
        ("runs=[nowhere]", "nowhere: "),
        (f"runs=[{unfinished}]", f"{unfinished}: no pooled scores"),
        (f"runs={unfinished}/folds", "found none"),
        ("runs=copies", "seed-9: .* same seed"),
        ("compare.baseline=runs", "compare.baseline=runs: "),
        ("compare.published=none.csv", "none.csv: "),
    ):
        with pytest.raises(UserError, match=message):
            _compare(override)
        assert not (tmp_path / "compare").exists()


ESCAPE = "\x1b]0;title\x07\x1b[2J"


def test_names_cannot_send_commands_to_terminal_or_spreadsheet(
    tmp_path: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    write_run(tmp_path / "runs" / f"a{ESCAPE}" / "seed-0", classes=("=1+1", "b"))
    done = run_cli(f"runs={tmp_path / 'runs'}", "task=compare", f"compare.output={tmp_path}", code=0)
    wrong = run_cli("task=report", f"run={tmp_path}/{ESCAPE}", code=2)
    table = (tmp_path / "compare.csv").read_text()
    assert "\x1b" not in done.stdout + done.stderr + wrong.stderr + table
    assert {row["classes"] for row in csv.DictReader(table.splitlines())} == {"'=1+1; b"}


def test_a_cell_that_begins_like_a_formula_is_text() -> None:
    assert all(csv_cell(cell).startswith("'") for cell in ("=1+1", "@x", "+cmd|' /C calc'!A0", "-x", "\tx"))
    for cell in (-0.5, None, "-0.223 (-0.307–0.143)", "+3", "a=b"):
        assert csv_cell(cell) == cell


def test_files_with_terminal_commands_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="terminal"):
        require_values({"name": ESCAPE})
    run = write_run(tmp_path, classes=("a", "b"))
    path = run / "predictions.csv"
    path.write_text(path.read_text().replace(",a,", f",a{ESCAPE},"))
    with pytest.raises(UserError, match="terminal"):
        read_run(run)

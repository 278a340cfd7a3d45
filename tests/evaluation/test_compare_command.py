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
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.csv", "compare.html", "compare.tex"]
    with (tmp_path / "out" / "compare.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    own = {(row["protocol"], row["system"], row["seeds"]) for row in rows if row["kind"] == "run"}
    assert own == {
        ("casme2_5c_249", "casme2_loso/default", "0 1"),
        ("casme2_5c_249", "casme2_loso/model.pooling-mean/seed-0", "5"),
        ("megc2019", "megc2019_loso/default/seed-0", "0"),
        ("synthetic_5c", "synthetic_loso/default/seed-42", "42"),
    }
    (p,) = {row["p"] for row in rows if row["baseline"] and row["metric"] == "uf1"}
    assert 0 < float(p) < 0.05


def test_a_list_of_runs_gives_rows_in_its_order_and_a_baseline(runs: Path, tmp_path: Path) -> None:
    mean, default = runs / "casme2_loso/model.pooling-mean/seed-0", runs / "casme2_loso/default"
    (table,) = _compare(f"runs=[{mean},{default},{default}/../default]", "compare.published=null")
    assert table.baseline == "casme2_loso/model.pooling-mean/seed-0"
    assert [pair.name for pair in table.paired] == ["casme2_loso/default"]
    assert {row.kind for row in table.rows} == {"run", "baseline"}
    (table,) = _compare(f"runs=[{mean},{default}/seed-1]", f"compare.baseline={default}")
    assert table.baseline == "casme2_loso/default"
    pairs = ["casme2_loso/model.pooling-mean/seed-0", "casme2_loso/default/seed-1"]
    assert [pair.name for pair in table.paired] == pairs
    row = "Mine,casme2_5c_249,uf1,0.99,last,here,"
    (tmp_path / "mine.csv").write_text(f"system,protocol,metric,value,selection,source,note\n{row}\n")
    table, other = _compare(f"compare.baseline={mean}", "compare.published=mine.csv")
    assert [table.baseline, other.baseline] == ["casme2_loso/model.pooling-mean/seed-0", "megc2019_loso/default/seed-0"]
    assert [(row.name, row.rank) for row in table.rows if row.kind == "published"] == [("Mine", 1)]


def test_mistakes_are_named(runs: Path, tmp_path: Path) -> None:
    default, unfinished = runs / "casme2_loso" / "default", runs / "megc2019_loso/default/seed-1"
    (tmp_path / "empty").mkdir()
    (tmp_path / "only" / "v" / "seed-0" / "folds").mkdir(parents=True)
    (tmp_path / "bad.csv").write_text("system\n")
    for seed in (0, 9):
        shutil.copytree(default / "seed-0", tmp_path / "copies" / f"seed-{seed}")
    for overrides, message in (
        (["runs=[nowhere]"], "nowhere: "),
        (["runs=empty"], "empty: .* found none"),
        (["runs=only"], "only/v/seed-0: no pooled scores"),
        ([f"runs=[{default},{unfinished}]"], rf"{unfinished}: no pooled scores .*task=report run={unfinished}"),
        ([f"runs={unfinished}/folds"], "found none"),
        (["runs=copies"], "seed-9: these have the same seed"),
        (["compare.baseline=runs"], "compare.baseline=runs: "),
        (["compare.baseline=nowhere"], "nowhere: "),
        (["compare.published=bad.csv"], "bad.csv, line 1"),
        (["compare.published=none.csv"], "none.csv: "),
    ):
        with pytest.raises(UserError, match=message):
            _compare(*overrides)
        assert not (tmp_path / "compare").exists()


def test_other_tasks_take_one_folder(run_cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for value in ("[a,b]", "null"):
        done = run_cli("task=report", f"runs={value}")
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "runs" in done.stderr and "task=compare" in done.stderr


ESCAPE = "\x1b]0;title\x07\x1b[2J"


def test_names_give_neither_terminal_nor_spreadsheet_a_command(
    tmp_path: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    write_run(tmp_path / "runs" / f"a{ESCAPE}" / "seed-0", classes=("=1+1", "b"))
    done = run_cli(f"runs={tmp_path / 'runs'}", "task=compare", f"compare.output={tmp_path}", code=0)
    wrong = run_cli("task=report", f"run={tmp_path}/{ESCAPE}", code=2)
    table = (tmp_path / "compare.csv").read_text()
    assert "\x1b" not in done.stdout + done.stderr + wrong.stderr + table
    assert {row["classes"] for row in csv.DictReader(table.splitlines())} == {"'=1+1; b"}


@pytest.mark.parametrize("cell", ["=1+1", "@x", "+cmd|' /C calc'!A0", "-x", "\tx"])
def test_a_cell_that_begins_like_a_formula_is_text(cell: str) -> None:
    assert csv_cell(cell).startswith("'")


@pytest.mark.parametrize("cell", [-0.5, None, "-0.223 (-0.307–0.143)", "+3", "a=b", "a-b"])
def test_numbers_and_other_cells_are_as_they_are(cell: object) -> None:
    assert csv_cell(cell) == cell


def test_commands_to_a_terminal_in_files_of_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="terminal"):
        require_values({"name": ESCAPE})
    run = write_run(tmp_path, classes=("a", "b"))
    path = run / "predictions.csv"
    path.write_text(path.read_text().replace(",a,", f",a{ESCAPE},"))
    with pytest.raises(UserError, match="terminal"):
        read_run(run)

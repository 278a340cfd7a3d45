"""The model, its parameters and steps: from fold.json to metrics.json, and wherever scores are shown."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console
from scored_runs import write_run

from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.tables.comparison import Variant, compare, variant_tables
from fdp_lightning.evaluation.tables.render import scores_grid, variants_grid, write_comparison, write_variants
from fdp_lightning.evaluation.terminal import terminal_table
from fdp_lightning.evaluation.trained import trained, trained_facts, trained_line

FOLD = {"model": "fdp_tiny", "parameters": 90123, "steps": 500}
LINE = "fdp_tiny, 90 123 parameters, 500 steps a fold"


def test_a_changed_list_is_part_of_the_name_and_no_markup(tmp_path: Path) -> None:
    facts = {**FOLD, "model": "fdp_tiny with stages=[early, late]"}
    metrics = read_run(write_run(tmp_path / "seed-0", more=facts)).metrics
    screen = Console(width=200, record=True, file=io.StringIO())
    screen.print(terminal_table(metrics))
    assert facts["model"] in screen.export_text()


def test_folds_of_one_model_say_it_once() -> None:
    assert trained([FOLD, FOLD]) == FOLD
    assert trained([FOLD, {**FOLD, "steps": 480}, FOLD])["steps"] == [480, 500]
    assert trained_line(trained_facts(FOLD)) == LINE
    assert "480–500 steps" in trained_line(trained_facts({**FOLD, "steps": [480, 500]}))
    older = {"fold": "01", "seconds": 3.0}  # what folds do not say nobody says
    for folds in ([], [older], [FOLD, older], [FOLD, {**FOLD, "model": "fdp"}]):
        assert trained(folds) == {}
    assert trained_line(trained_facts({})) == ""


def printed(grid: object) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(grid)
    return capture.get()


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> list[Variant]:
    place = tmp_path_factory.mktemp("variants")
    runs = [write_run(place / "a/seed-0", more=FOLD), write_run(place / "b/seed-0", skill=0.9)]
    return [Variant(name, (read_run(run),)) for name, run in zip("ab", runs, strict=True)]


def test_terminal_and_report_name_the_model(variants: list[Variant]) -> None:
    run, older = (variant.runs[0] for variant in variants)
    assert LINE in printed(terminal_table(run.metrics)) and "parameters" not in printed(terminal_table(older.metrics))
    page = build_report(run.folder, "a run", show_faces=False, synthetic=False).read_text()
    head = page.split("<main>")[0]
    assert all(f"<dd>{value}</dd>" in head for value in ("fdp_tiny", "90 123", "500")) and "FDP" not in head
    older_page = build_report(older.folder, "a run", show_faces=False, synthetic=False).read_text()
    assert "parameters" not in older_page.split("<main>")[0]


def test_comparison_and_sweep_name_the_model_of_each_row(variants: list[Variant], tmp_path: Path) -> None:
    tables = compare(variants, [])
    page, lines, _ = (path.read_text() for path in write_comparison(tmp_path, tables, {}))
    for text in (page, printed(scores_grid(tables[0]))):
        assert text.count(LINE) == 2  # last and oracle of the one that says it
    rows = list(csv.DictReader(lines.splitlines()))
    of_a = {(row["model"], row["parameters"], row["steps"]) for row in rows if row["system"] == "a"}
    assert of_a == {("fdp_tiny", "90123", "500")} and {row["model"] for row in rows if row["system"] != "a"} == {""}
    swept = variant_tables(variants, {"a": (), "b": ()})
    write_variants(tmp_path, swept, "a sweep", "a command")
    assert LINE in printed(variants_grid(swept[0]))
    for kind in ("html", "md"):
        assert (tmp_path / f"variants.{kind}").read_text().count(LINE) == 1
    first = next(csv.DictReader((tmp_path / "variants.csv").open()))
    assert (first["model"], first["parameters"], first["steps"]) == ("fdp_tiny", "90123", "500")

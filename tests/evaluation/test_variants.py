"""The table of a sweep: its order, its numbers and its notes on failed jobs."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from looks import printed
from random_runs import CLASSES, FOLD, last, paired_differences, table_of, write_run

from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.tables.comparison import Table, Variant, variant_tables
from fdp_lightning.evaluation.tables.render import baselines, variants_grid, write_variants

MISSING = {"whole": (), "worse | lost a seed": ("seed=1: killed",), "gone": ("seed=0: diverged",), "better": ()}


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> list[Variant]:
    place = tmp_path_factory.mktemp("variants")

    def runs(name: str, skill: float, *seeds: int, **more: object) -> Variant:
        folders = [write_run(place / name / f"seed-{s}", s, more=more, subjects=12, skill=skill) for s in seeds]
        return Variant(name, tuple(map(read_run, folders)))

    return [runs("whole", 0.5, 0, 1, **FOLD), runs("worse | lost a seed", 0.2, 0), runs("better", 0.8, 0, 1)]


@pytest.fixture(scope="module")
def table(variants: list[Variant]) -> Table:
    return variant_tables(variants, MISSING)[0]


def test_rows_are_in_the_order_of_the_sweep_with_differences_to_the_first(table: Table) -> None:
    def tables(skill: float, *seeds: int) -> list[pd.DataFrame]:
        return [last(table_of(seed, subjects=12, skill=skill)) for seed in seeds]

    assert [(row.name, row.missing) for row in table.variants] == list(MISSING.items())
    assert [row.seeds for row in table.variants] == [(0, 1), (0,), (), (0, 1)]
    assert table.selections == ["oracle"]
    whole, worse, gone, better = table.variants
    assert not whole.differences and not gone.scores
    assert better.differences == paired_differences(tables(0.5, 0, 1), tables(0.8, 0, 1), CLASSES)
    assert worse.differences == paired_differences(tables(0.5, 0, 1), tables(0.2, 0), CLASSES)
    assert better.differences["uf1"].value > 0 > worse.differences["uf1"].value


def test_each_protocol_has_its_table_and_a_missing_baseline_gives_no_differences(
    variants: list[Variant], tmp_path: Path
) -> None:
    other = read_run(write_run(tmp_path / "other" / "seed-0", protocol="samm_5c", subjects=12))
    both = variant_tables([*variants, Variant("other", (other,))], {**MISSING, "other": ()})
    assert [[row.name for row in table.variants] for table in both] == [list(MISSING), ["other"]]
    (alone,) = variant_tables(variants[1:], {**MISSING, "whole": ("seed=0: killed", "seed=1: killed")})
    assert [row.name for row in alone.variants] == list(MISSING)
    assert all(not row.differences for row in alone.variants)


def test_the_files_have_the_numbers_of_the_rows(table: Table, tmp_path: Path) -> None:
    paths = write_variants(tmp_path / "out", [table], "a · sweep", "python -m fdp_lightning -m x=1,2")
    assert [path.name for path in paths] == ["variants.html", "variants.csv", "variants.md", "variants.tex"]
    page, comma, mark, tex = (path.read_text() for path in paths)
    rows = list(csv.DictReader(comma.splitlines()))
    assert [row["variant"] for row in rows] == list(MISSING)
    assert [row["missing"] for row in rows] == ["", "seed=1: killed", "seed=0: diverged", ""]
    line = "fdp_tiny, 90 123 parameters, 500 steps per fold"
    assert page.count(line) == mark.count(line) == printed(variants_grid(table), 120).count(line) == 1
    for row, found in zip(rows, table.variants, strict=True):
        if not found.scores:
            assert row["uf1"] == ""
            continue
        assert float(row["uf1"]) == found.scores["uf1"]
        assert [float(row["uf1_low"]), float(row["uf1_high"])] == found.intervals["uf1"]
        assert float(row["oracle_uf1"]) == found.others["oracle"].scores["uf1"]
        assert all(f"{found.scores['uf1']:.3f}" in text for text in (page, mark, tex))
        if found.differences:
            value = found.differences["uf1"]
            bounds = [float(row[f"uf1_{name}"]) for name in ("difference", "difference_low", "difference_high", "p")]
            assert bounds == [value.value, *value.ci95, value.p]
    assert page.count("<strong>Missing:</strong>") == 2
    lines = [line.replace("\\|", "") for line in mark.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(MISSING) + len(baselines(table)) and len({line.count("|") for line in lines}) == 1


def test_the_gain_of_the_oracle_is_shown_with_its_interval(tmp_path: Path) -> None:
    chosen = [table_of(seed, subjects=12) for seed in (0, 1)]
    runs = [read_run(write_run(tmp_path / str(seed), table=table)) for seed, table in enumerate(chosen)]
    (table,) = variant_tables([Variant("chosen", tuple(runs))], {"chosen": ()})
    ((row, oracle),) = table.chosen
    assert (row.name, row.selection, oracle.selection) == ("chosen", "last", "oracle")
    best = [t[t["selection"] == "oracle"] for t in chosen]
    assert oracle.gains == paired_differences([last(t) for t in chosen], best, CLASSES)
    page = write_variants(tmp_path / "out", [table], "a", "b")[0].read_text()
    drawn = page[page.index('id="chosen-1"') :]
    assert drawn.count("<circle") == 2 and f"{oracle.gains['uf1'].value:+.3f}".replace("-", "−") in drawn


def test_scores_of_single_datasets_are_means_over_seeds(tmp_path: Path) -> None:
    tables = [table_of(seed, subjects=12) for seed in (0, 1)]
    for table in tables:
        table.loc[table["subject"] > "006", "dataset"] = "other"
    runs = tuple(read_run(write_run(tmp_path / str(seed), table=table)) for seed, table in enumerate(tables))
    (made,) = variant_tables([Variant("one", runs)], {"one": ()})
    (row,) = made.of_datasets
    for name, scores in row.datasets.items():
        alone = [run.metrics["datasets"][name]["selections"]["last"]["uf1"] for run in runs]
        assert scores["uf1"] == pytest.approx(sum(alone) / 2)
    page = write_variants(tmp_path / "out", [made], "a", "b")[0].read_text()
    assert f">{row.datasets['other']['uf1']:.3f} / {row.datasets['other']['uar']:.3f}<" in page

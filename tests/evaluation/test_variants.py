"""The table of a sweep: its order, its numbers and its notes on failed jobs."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from looks import printed
from random_runs import CLASSES, FOLD, last, table_of, write_run

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import paired_differences
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.tables.comparison import Table, Variant, variant_tables
from fdp_lightning.evaluation.tables.render import baselines, markdown, variants_grid, write_variants

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
    (table,) = variant_tables(variants, MISSING)
    return table


def test_rows_stand_in_the_order_of_the_sweep_with_their_paired_differences(table: Table) -> None:
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


def test_each_protocol_has_its_table_and_the_missing_stand_once(variants: list[Variant], tmp_path: Path) -> None:
    other = read_run(write_run(tmp_path / "other" / "seed-0", protocol="samm_5c", subjects=12))
    both = [*variants, Variant("other", (other,))]
    first, second = variant_tables(both, {**MISSING, "other": ()})
    assert [row.name for row in first.variants] == list(MISSING)
    assert [row.name for row in second.variants] == ["other"]
    assert second.variants[0].differences == {}
    (alone,) = variant_tables(variants[1:], {**MISSING, "whole": ("seed=0: killed", "seed=1: killed")})
    assert [row.name for row in alone.variants] == list(MISSING)
    assert all(not row.differences for row in alone.variants)  # their baseline is missing


def test_the_files_say_what_the_rows_say(table: Table, tmp_path: Path) -> None:
    paths = write_variants(tmp_path / "out", [table], "a · sweep", "python -m fdp_lightning -m x=1,2")
    assert [path.name for path in paths] == ["variants.html", "variants.csv", "variants.md", "variants.tex"]
    page, comma, mark, tex = (path.read_text() for path in paths)
    rows = list(csv.DictReader(comma.splitlines()))
    assert [row["variant"] for row in rows] == list(MISSING)
    assert [row["missing"] for row in rows] == ["", "seed=1: killed", "seed=0: diverged", ""]
    assert (rows[0]["model"], rows[0]["parameters"], rows[0]["steps"]) == ("fdp_tiny", "90123", "500")
    line = "fdp_tiny, 90 123 parameters, 500 steps per fold"
    assert page.count(line) == mark.count(line) == printed(variants_grid(table), 120).count(line) == 1
    for row, found in zip(rows, table.variants, strict=True):
        if not found.scores:
            assert row["uf1"] == ""
            continue
        assert float(row["uf1"]) == found.scores["uf1"]
        assert [float(row["uf1_low"]), float(row["uf1_high"])] == found.intervals["uf1"]
        assert float(row["oracle_uf1"]) == found.others["oracle"].scores["uf1"]
        if found.differences:
            value = found.differences["uf1"]
            bounds = [float(row[f"uf1_{name}"]) for name in ("difference", "difference_low", "difference_high", "p")]
            assert bounds == [value.value, *value.ci95, value.p]
    assert f"{table.variants[3].scores['uf1']:.3f}" in page and f"{table.variants[3].scores['uf1']:.3f}" in tex
    assert page.count("<strong>Missing:</strong>") == 2
    assert mark == markdown([table])
    lines = [line for line in mark.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(MISSING) + len(baselines(table))
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1, "every row has every column"


def test_what_the_oracle_adds_stands_with_the_interval_of_the_statistics(tmp_path: Path) -> None:
    chosen = [table_of(seed, subjects=12) for seed in (0, 1)]
    fitted = last(table_of(0, subjects=12, skill=0.8))
    fitted = pd.concat([fitted, fitted.assign(selection="oracle")])
    variants = [
        Variant(name, tuple(read_run(write_run(tmp_path / name / f"s{i}", table=t)) for i, t in enumerate(tables)))
        for name, tables in {"chosen": chosen, "fitted once": [fitted]}.items()
    ]
    (table,) = variant_tables(variants, {"chosen": (), "fitted once": ()})
    ((row, oracle),) = table.chosen  # nothing to select: the model is fitted once
    assert (row.name, row.selection, oracle.selection) == ("chosen", "last", "oracle")
    best = [t[t["selection"] == "oracle"] for t in chosen]
    assert oracle.gains == paired_differences([last(t) for t in chosen], best, CLASSES)
    page = write_variants(tmp_path / "out", [table], "a", "b")[0].read_text()
    drawn = page[page.index('id="chosen-1"') :]
    assert drawn.count("<circle") == 2 and f"{oracle.gains['uf1'].value:+.3f}".replace("-", "−") in drawn
    assert "fitted once" not in drawn[: drawn.index("</table>")]


def test_datasets_stand_alone_as_the_mean_over_seeds(tmp_path: Path) -> None:
    tables = [table_of(seed, subjects=12) for seed in (0, 1)]
    for table in tables:
        table.loc[table["subject"] > "006", "dataset"] = "other"
    folders = [write_run(tmp_path / f"seed-{seed}", seed, table=table) for seed, table in enumerate(tables)]
    runs = tuple(map(read_run, folders))
    (made,) = variant_tables([Variant("one", runs)], {"one": ()})
    (row,) = made.of_datasets
    for name, scores in row.datasets.items():
        alone = [run.metrics["datasets"][name]["selections"]["last"]["uf1"] for run in runs]
        assert scores["uf1"] == pytest.approx(sum(alone) / 2)
    page = write_variants(tmp_path / "out", [made], "a", "b")[0].read_text()
    assert f">{row.datasets['other']['uf1']:.3f} / {row.datasets['other']['uar']:.3f}<" in page
    metrics = json.loads((folders[0] / "metrics.json").read_text())
    (folders[0] / "metrics.json").write_text(json.dumps({k: v for k, v in metrics.items() if k != "datasets"}))
    read_run(folders[0])  # written by an earlier version
    metrics["datasets"]["other"]["selections"]["last"]["uf1"] += 0.01
    (folders[0] / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(UserError, match="datasets other selections last uf1"):
        read_run(folders[0])

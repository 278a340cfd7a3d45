import csv
import re
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looks import Page, printed
from random_runs import CLASSES, FOLD, paired_differences, write_run

from fdp_lightning.evaluation.published import Published
from fdp_lightning.evaluation.runs import Run, read_run
from fdp_lightning.evaluation.tables.comparison import BLOCKS, Variant, compare
from fdp_lightning.evaluation.tables.render import latex, scores_grid, write_comparison
from fdp_lightning.evaluation.tables.words import latex_escape as escape

PUBLISHED = [
    Published("Exact & last", "casme2_5c_249", "last", {"uf1": 0.999}, "somewhere", ()),
    Published("Coarse", "casme2_5c", "last", {"uf1": 0.9}, "somewhere", ()),
    Published("Silent", "casme2_5c_249", "unknown", {"uf1": 0.95, "accuracy": 0.9}, "somewhere", ("a <note>",)),
    Published("Peeking", "casme2_5c_249", "oracle", {"uf1": 0.97}, "somewhere", ()),
    Published("Elsewhere", "samm_5c", "last", {"uf1": 0.9}, "somewhere", ()),
]


def run_at(folder: Path, seed: int = 0, **options: object) -> Run:
    return read_run(write_run(folder, seed, **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> list[Variant]:
    place = tmp_path_factory.mktemp("variants")
    a = [run_at(place / f"a/seed-{seed}", seed, more=FOLD) for seed in range(3)]
    b = [run_at(place / f"b_x/seed-{seed}", seed, skill=0.8, more={"caveats": ["50 % & {more}"]}) for seed in (1, 2)]
    c = [run_at(place / "c/seed-0", 0, clips=9)]
    return [Variant("exp/a", tuple(a)), Variant("exp/b_x", tuple(b)), Variant("exp/c", tuple(c))]


def test_blocks_and_ranks(variants: list[Variant]) -> None:
    scores = {"As good": {"uf1": 0.999}, "Without UF1": {"accuracy": 0.99}}
    more = [Published(name, "casme2_5c_249", "last", given, "somewhere", ()) for name, given in scores.items()]
    (table,) = compare(variants, [*PUBLISHED, *more])
    rows = {block: [(row.name, row.selection, row.rank) for row in table.block(block)] for block in BLOCKS}
    ranks = [("Exact & last", 1), ("As good", 1), ("exp/b_x", 3), ("exp/a", 4), ("Without UF1", None)]
    assert rows["comparable"] == [(name, "last", rank) for name, rank in ranks]
    assert rows["unranked"] == [("exp/c", "last", None), ("Coarse", "last", None), ("Silent", "unknown", None)]
    assert [row[:2] for row in rows["oracle"]] == [(n, "oracle") for n in ("exp/a", "exp/b_x", "exp/c", "Peeking")]
    assert [row[0] for row in rows["untrained"]] == ["majority class (happiness)", "chance"]
    notes = {row.name: row.notes for row in table.rows if row.selection in ("last", "unknown")}
    assert notes["exp/b_x"] == ("50 % & {more}",)
    assert "6 clips only in the first: synthetic/001/001_10@901" in notes["exp/c"][0]
    assert len(notes["Coarse"]) == 1 and "published for casme2_5c" in notes["Coarse"][0]


def test_the_seeds_of_a_variant_are_one_row_and_paired_with_those_of_the_baseline(variants: list[Variant]) -> None:
    (table,) = compare(variants, [])
    row = next(row for row in table.rows if row.name == "exp/a" and row.selection == "last")
    scores = [run.scores("last")["uf1"] for run in variants[0].runs]
    assert row.seeds == (0, 1, 2)
    assert (row.scores["uf1"], row.sds["uf1"]) == pytest.approx((statistics.mean(scores), statistics.stdev(scores)))
    (pair,) = table.paired  # exp/c covers other clips
    sides = [[run.parts["last"] for run in variant.runs] for variant in variants[:2]]
    assert pair.differences == paired_differences(*sides, CLASSES)


def test_each_protocol_set_of_classes_and_split_has_its_own_table(tmp_path: Path) -> None:
    kinds: list[dict] = [{}, {"protocol": "casme2_5c_246"}, {"classes": CLASSES[:3]}, {"more": {"split": "kfold"}}]
    kinds += [{"protocol": "synthetic_5c"}, {"seed": 5}]
    runs = [run_at(tmp_path / str(number), **kind) for number, kind in enumerate(kinds)]
    published = [*PUBLISHED, Published("Drawn", "synthetic_5c", "last", {"uf1": 0.5}, "somewhere", ())]
    tables = compare([Variant(run.folder.name, (run,)) for run in runs], published)
    own = [[row.name for row in table.rows if row.kind == "run" and row.selection == "last"] for table in tables]
    assert [sorted(names) for names in own] == [["0", "5"], ["1"], ["2"], ["3"], ["4"]]
    assert [row.name for row in tables[3].block("comparable")] == ["3"]  # k-fold: no published number is comparable
    assert tables[4].synthetic and not [row for row in tables[4].rows if row.kind == "published"]


def test_seeds_of_different_clips_are_different_rows(tmp_path: Path) -> None:
    runs = tuple(run_at(tmp_path / f"seed-{seed}", seed, clips=9 if seed == 2 else 10) for seed in range(3))
    (table,) = compare([Variant("v", runs)], [])
    found = {row.name: row.seeds for row in table.rows if row.kind == "run"}
    assert found == {"v/seed-0+seed-1": (0, 1), "v/seed-2": (2,)}


def test_inner_and_last_are_ranked_and_oracle_is_not(tmp_path: Path) -> None:
    run = run_at(tmp_path / "r", selections=("last", "inner", "oracle"))
    (table,) = compare([Variant("r", (run,))], [])
    ranked = {row.selection: row.rank is not None for row in table.rows if row.kind == "run"}
    assert ranked == {"last": True, "inner": True, "oracle": False}


def test_the_page_is_self_contained_and_marks_only_the_best(variants: list[Variant], tmp_path: Path) -> None:
    (table,) = compare(variants, PUBLISHED)
    path, *_ = write_comparison(tmp_path, [table], {"runs/<x>": "no pooled scores yet"})
    text = path.read_text()
    page = Page(text)
    assert all(load.startswith(("#", "data:")) for load in page.loads)
    assert not re.search(r"https?://|@import|url\(|<script", text)
    boxes = text.count('<div class="box"')
    assert text.count('.csv" href="data:') == text.count('.tex" href="data:') == boxes > 1
    assert re.findall(r'class="best">([\d.]*)', text) == ["", "0.999"]  # the row and the score that ranks it
    assert page.rows.count("aside") == len(table.block("oracle")) + len(table.block("untrained"))
    escaped = ("Exact &amp; last", "a &lt;note&gt;", "50 % &amp; {more}", "runs/&lt;x&gt;")
    for words in (*escaped, "Peeking †", "p 0.031"):  # 2 / 2^6: the smallest p that six subjects allow
        assert words in text
    line = "fdp_tiny, 90 123 parameters, 500 steps per fold"
    assert text.count(line) == printed(scores_grid(table), 120).count(line) == 2  # last and oracle of one run
    for row in table.rows:
        assert all(f"{value:.3f}" in text for value in row.scores.values()), row.name
        assert all(f"{low:.3f}–{high:.3f}" in text for low, high in filter(None, row.intervals.values())), row.name


def test_the_csv_has_a_row_per_metric_with_all_digits(variants: list[Variant], tmp_path: Path) -> None:
    (table,) = compare(variants, PUBLISHED)
    rows = list(csv.DictReader(write_comparison(tmp_path, [table], {})[1].read_text().splitlines()))
    found = {(row["system"], row["selection"], row["metric"]): row for row in rows}
    assert len(found) == len(rows) == sum(len(row.scores) for row in table.rows)
    difference, tested = table.paired[0].differences["uf1"], found["exp/b_x", "last", "uf1"]
    assert (float(tested["p"]), float(tested["difference"])) == (difference.p, difference.value)
    assert (tested["baseline"], tested["seeds"], tested["comparable"], tested["rank"]) == ("exp/a", "1 2", "true", "2")
    assert (found["exp/a", "last", "uf1"]["p"], found["exp/b_x", "oracle", "uf1"]["p"]) == ("", "")
    for row in table.rows:
        for metric, value in row.scores.items():
            line = found[row.name, row.selection, metric]
            assert float(line["value"]) == value
            assert line["comparable"] == str(row.block == "comparable").lower()
            assert (line["ci_low"], line["ci_high"]) == tuple(map(str, row.intervals.get(metric) or ("", "")))


def test_latex_is_balanced_escaped_and_bold_only_for_the_best(variants: list[Variant]) -> None:
    (table,) = compare(variants, PUBLISHED)
    text = latex([table])
    assert text.isascii()
    lines = text.splitlines()
    body = "\n".join(line for line in lines if not line.startswith("%"))
    assert len(re.findall(r"(?<!\\)\{", body)) == len(re.findall(r"(?<!\\)\}", body))
    assert not re.search(r"(?<!\\)[%#_]|(?<!\\)\$(?!\\pm|-\$|\^|\$?)", body)
    for name in ("table", "tabular", "minipage"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") == 2
    rows = [line for line in lines if line.endswith(r"\tabularnewline")]
    assert {line.count(" & ") for line in rows if "multicolumn" not in line} == {5, 4}
    assert [line for line in lines if r"\textbf" in line] == [line for line in lines if "Exact" in line]
    assert len([line for line in rows if r"\textdagger{}" in line]) == len(table.block("oracle"))
    assert r"50 \% \& \{more\}" in text


@given(st.text(max_size=30))
def test_any_name_becomes_harmless_latex(words: str) -> None:
    safe = escape(words)
    assert safe.isascii()
    bare = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|allowbreak|"
        r"textdagger|textdaggerdbl|dots)\{\}|\\allowbreak\{\}|\\[_%&#${}]|\$(\\pm|-|\^[23])\$",
        "",
        safe,
    )
    assert not set(bare) & set('\\_%&#${}~^<>|"\n\t')
    assert escape("CAS(ME)² ± − é 中") == r"CAS(ME)$^2$ $\pm$ $-$ e ?"

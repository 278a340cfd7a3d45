"""The rows of task=compare and of a sweep: runs and published numbers in blocks, only the first of which is ranked.

A number is ranked only if its epoch was not chosen on the test subject and, as far as can be known, it covers the same
clips. Every other row is shown with the reason why it is not ranked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.baselines import BASELINES
from fdp_lightning.evaluation.intervals import Difference, compare_outcomes, mean_interval
from fdp_lightning.evaluation.learning import has_learned
from fdp_lightning.evaluation.metrics import RANKED_BY, SCORE_NAMES
from fdp_lightning.evaluation.origin import trained_facts
from fdp_lightning.evaluation.predictions import clip_difference
from fdp_lightning.evaluation.published import Published, matching
from fdp_lightning.evaluation.runs import Run, seeds_differ, spread
from fdp_lightning.labels import OWNER, SELECTIONS

BLOCKS = {
    "comparable": "Comparable: no epoch was chosen on a test subject; ranked",
    "unlearned": "Not learned ‡, not ranked: the scores are not clearly above the baselines (chance, majority)",
    "unranked": "Not ranked: over other clips, or the clips or the choice of the epoch are not stated",
    "oracle": "Oracle, not comparable: the epoch that is best on the test subject",
    "trained": "Linear classifiers on one image per clip, trained on the same folds; not ranked",
    "untrained": "Baselines: predictors that ignore the clips",
}
"""The blocks of a table, in order, each with its heading."""


@dataclass(frozen=True)
class Variant:
    """One entry of a comparison: one run, or the seeds of one variant."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        kind: 'run', 'published' or 'baseline'.
        selection: 'last', 'inner' or 'oracle'; 'unknown' if a published number does not state it; the name of a
            baseline.
        block: key of `BLOCKS`; 'missing' for a variant of a sweep without a finished run.
        scores: score → fraction of 1, the mean over several seeds.
        intervals: score → 95 % interval; None if it cannot be estimated.
        sds: score → standard deviation over seeds.
        rank: rank in the comparable block; None elsewhere.
        model: for runs: `model`, `parameters` and `steps per fold`, if metrics.json has them.
        signs: for runs: kinds of `learning.Sign` that any seed shows; `notes` has their details.
        learned: False if most seeds of a variant show a decisive sign; such a row has no rank.
        differences: for selection last: score → this variant − the table's baseline, if both cover the same clips.
        meaningful: False if neither this variant nor the baseline learned, which makes the differences meaningless.
        gains: for selection oracle: score → oracle − last of the same variant, what choosing on test subjects adds.
        datasets: for runs over several datasets: dataset → scores over its clips.
        others: for a variant of a sweep, whose scores are those of last: its rows of inner and oracle.
        missing: for a variant of a sweep: the jobs without pooled scores, each with the reason.
    """

    name: str
    kind: str
    selection: str
    block: str
    scores: Mapping[str, float]
    intervals: Mapping[str, list[float] | None] = field(default_factory=dict)
    sds: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    rank: int | None = None
    model: Mapping[str, str] = field(default_factory=dict)
    signs: tuple[str, ...] = ()
    learned: bool = True
    differences: Mapping[str, Difference] = field(default_factory=dict)
    meaningful: bool = True
    gains: Mapping[str, Difference] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    others: Mapping[str, "Row"] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        return self.block == "comparable"

    def cell(self, score: str) -> dict[str, float | None]:
        """Return the numbers of one score by columns of compare.csv, including those of its difference, if any."""
        low, high = self.intervals.get(score) or (None, None)
        numbers = {"value": self.scores[score], "ci_low": low, "ci_high": high, "sd": self.sds.get(score)}
        if found := self.differences.get(score):
            low, high = found.ci95 or (None, None)
            numbers |= {"difference": found.value, "difference_low": low, "difference_high": high, "p": found.p}
        return numbers


@dataclass(frozen=True)
class Table:
    """All rows of one protocol, class list and split."""

    protocol: str
    split: str
    classes: tuple[str, ...]
    synthetic: bool
    n_clips: int
    n_subjects: int
    baseline: str
    rows: tuple[Row, ...]
    paired: tuple[Row, ...]
    """The rows with differences from the baseline, in the order in which the variants were given."""
    ranked_by: str
    variants: tuple[Row, ...] = ()
    """For a sweep: one row per variant, in the order of the sweep; without scores if no run is finished."""
    reference: str = ""
    """For a sweep: the variant from which differences are taken; it may have no finished run in this table."""

    @property
    def scores(self) -> list[str]:
        """Return the scores that any row has, in the order of their columns."""
        return [name for name in SCORE_NAMES if any(name in row.scores for row in self.rows)]

    @property
    def selections(self) -> list[str]:
        """Return which of inner and oracle any variant has."""
        return [name for name in ("inner", "oracle") if any(name in row.others for row in self.variants)]

    @property
    def chosen(self) -> list[tuple[Row, Row]]:
        """Return the rows of last and oracle for each variant whose epoch could be chosen, in the variants' order."""
        oracle = {row.name: row for row in self.rows if row.gains}
        return [
            (row, oracle[row.name])
            for row in (self.variants or self.rows)
            if row.kind == "run" and row.selection == "last" and row.name in oracle
        ]

    @property
    def of_datasets(self) -> list[Row]:
        """Return the rows of last for runs over several datasets, in the order of the table."""
        return [row for row in (self.variants or self.rows) if row.selection == "last" and row.datasets]

    def block(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.block == name]


def compare(variants: Sequence[Variant], published: Sequence[Published]) -> list[Table]:
    """Build the tables of runs together with the published numbers on the same protocols.

    The first variant of each table is its baseline, against which the others are tested. Seeds of one variant that
    cover different clips are split into several variants.
    """
    groups: dict[tuple[Any, ...], list[Variant]] = {}
    for variant in (part for whole in variants for part in _same_clips(whole)):
        run = variant.runs[0]
        groups.setdefault((run.protocol, run.classes, run.split, run.synthetic), []).append(variant)
    return [_table(group, published) for group in groups.values()]


def variant_tables(variants: Sequence[Variant], missing: Mapping[str, Sequence[str]]) -> list[Table]:
    """Build the tables of a sweep, one per protocol, class list and split, grouped as in `compare`.

    If the baseline has no finished run in a table, the table has no differences: those from another row would be taken
    for differences from the baseline.

    Args:
        variants: variants with their finished runs, in the order of the sweep; those without a finished run are absent.
        missing: every variant of the sweep, in order, the first being the baseline → its jobs without pooled scores,
            each with the reason. Variants without any finished run are listed in the first table.
    """
    reference, tables = next(iter(missing)), compare(variants, [])
    for place, table in enumerate(tables):
        own = []
        for name, why in missing.items():
            parts = [
                r for r in table.rows if r.kind == "run" and (r.name == name or r.name.startswith(f"{name}/seed-"))
            ]
            for row in (row for row in parts if row.selection == "last"):
                others = {r.selection: r for r in parts if r.name == row.name and r is not row}
                if table.baseline != reference:
                    row = replace(row, differences={}, meaningful=True)
                own.append(replace(row, others=others, missing=tuple(why)))
            if not place and name not in {variant.name for variant in variants}:
                own.append(Row(name, "run", "last", "missing", {}, missing=tuple(why)))
        tables[place] = replace(table, variants=tuple(own), reference=reference)
    return tables


def _same_clips(variant: Variant) -> list[Variant]:
    groups: list[list[Run]] = []
    for run in sorted(variant.runs, key=lambda one: one.seed):
        alike = (g for g in groups if not seeds_differ(g[0], run) and g[0].synthetic == run.synthetic)
        if group := next(alike, None):
            group.append(run)
        else:
            groups.append([run])
    if len(groups) == 1:
        return [Variant(variant.name, tuple(groups[0]))]
    return [Variant(f"{variant.name}/{'+'.join(r.folder.name for r in group)}", tuple(group)) for group in groups]


def _table(variants: Sequence[Variant], published: Sequence[Published]) -> Table:
    base, first = variants[0], variants[0].runs[0]
    last = first.parts["last"]
    rows = [row for variant in variants for row in _run_rows(base, variant)]
    paired = tuple(row for row in rows if row.differences)
    if not first.synthetic:  # published numbers are never compared with synthetic clips
        datasets = {name for variant in variants for name in variant.runs[0].parts["last"]["dataset"]}
        rows += [_published_row(*found, first.split) for found in matching(published, first.protocol, datasets)]
    for name, values in first.untrained_baselines.items():
        label = f"{name} class ({values['class']})" if "class" in values else name
        rows.append(Row(label, "baseline", name, "untrained", _known(values)))
    for name, values in first.metrics.get("baselines", {}).items():  # the same for every seed
        label = BASELINES.get(name, name)
        rows.append(Row(label, "baseline", name, "trained", _known(values), _known(values["ci95"])))
    ranked_by = next(name for name in RANKED_BY if name in first.scores("last"))
    return Table(
        protocol=first.protocol,
        split=first.split,
        classes=first.classes,
        synthetic=first.synthetic,
        n_clips=len(last),
        n_subjects=len(last[OWNER].drop_duplicates()),
        baseline=base.name,
        rows=tuple(in_order(rows, ranked_by)),
        paired=paired,
        ranked_by=ranked_by,
    )


def in_order(rows: Sequence[Row], ranked_by: str) -> list[Row]:
    """Sort rows into their blocks, and rank the comparable ones by one score; equal scores share a rank.

    Rows of the other blocks keep their order: sorted by score they would look ranked.
    """
    values = pd.Series([row.scores.get(ranked_by) if row.comparable else None for row in rows], dtype=float)
    ranks = values.rank(method="min", ascending=False)
    ranked = [replace(row, rank=int(rank) if rank > 0 else None) for row, rank in zip(rows, ranks, strict=True)]
    return sorted(ranked, key=lambda row: (list(BLOCKS).index(row.block), row.rank or len(ranked)))


def has_learned_mostly(runs: Sequence[Run]) -> bool:
    """Return True if at least half of the seeds of a variant show no decisive sign."""
    return 2 * sum(has_learned(run.signs) for run in runs) >= len(runs)


def _run_rows(base: Variant, variant: Variant) -> list[Row]:
    """Build one row for each selection that all seeds of a variant have."""
    runs, first = variant.runs, variant.runs[0]
    learned = has_learned_mostly(runs)
    notes = [*_learning_notes(runs), *dict.fromkeys(note for run in runs for note in _notes(run))]
    if why := clip_difference(base.runs[0].parts["last"], first.parts["last"]):
        notes.insert(0, f"covers other clips than {base.name}, so no paired test: {why}")
    of_runs = spread(runs) if len(runs) > 1 else {}
    model, *others = [trained_facts(run.metrics) for run in runs]
    rows = []
    for selection in SELECTIONS:
        if not all(selection in run.parts for run in runs):
            continue
        each = [run.scores(selection) for run in runs]
        block = "unranked" if why else "comparable" if learned else "unlearned"
        rows.append(
            Row(
                name=variant.name,
                kind="run",
                selection=selection,
                block="oracle" if selection == "oracle" else block,
                scores={name: float(np.mean([scores[name] for scores in each])) for name in each[0]},
                intervals=_known(first.metrics["selections"][selection]["ci95"])
                if len(runs) == 1
                else mean_interval([run.outcomes[selection] for run in runs]),
                sds={name: values["sd"] for name, values in of_runs.get(selection, {}).items()},
                seeds=tuple(run.seed for run in runs),
                notes=tuple(notes),
                source="this program",
                model=model if all(other == model for other in others) else {},
                signs=tuple(dict.fromkeys(sign.kind for run in runs for sign in run.signs)),
                learned=learned,
                gains=_gains(runs) if selection == "oracle" else {},
                datasets=_of_datasets([run.metrics.get("datasets", {}) for run in runs], selection),
            )
        )
    if variant is not base and not why:
        sides = ([run.outcomes["last"] for run in side.runs] for side in (base, variant))
        differences = compare_outcomes(*sides)
        meaningful = learned or has_learned_mostly(base.runs)
        rows[0] = replace(rows[0], differences=differences, meaningful=meaningful)
    return rows


def _of_datasets(seeds: Sequence[Mapping[str, Any]], selection: str) -> dict[str, dict[str, float]]:
    """Return the scores of each dataset, averaged over the seeds."""
    found = {}
    for name in seeds[0]:
        each = [_known(datasets[name]["selections"][selection]) for datasets in seeds]
        found[name] = {score: float(np.mean([scores[score] for scores in each])) for score in each[0]}
    return found


def _gains(runs: Sequence[Run]) -> dict[str, Difference]:
    """Return oracle − last; empty if their predictions are the same, as for a recogniser that is fitted once."""
    last, oracle = ([run.outcomes[selection] for run in runs] for selection in ("last", "oracle"))
    same = all(np.array_equal(a.probabilities, b.probabilities) for a, b in zip(last, oracle, strict=True))
    return {} if same else compare_outcomes(last, oracle)


def _learning_notes(runs: Sequence[Run]) -> list[str]:
    return [
        f"{'not learned? ' if sign.decisive else ''}{f'seed {run.seed}: ' if len(runs) > 1 else ''}{sign.detail}"
        for run in runs
        for sign in run.signs
    ]


def _notes(run: Run) -> list[str]:
    """Return remarks from metrics.json that belong with this run's scores."""
    notes = [str(text) for text in run.metrics["caveats"]]
    if untested := run.metrics["untested"]:
        notes.append(f"subjects used for training only: {', '.join(map(str, untested))}")
    if "inner" in run.parts:
        notes.append("trained on fewer subjects: the epoch was chosen on inner validation subjects")
    return notes + [f"{len(clips)} clips left out ({why})" for why, clips in run.metrics["left_out"].items()]


def _published_row(row: Published, exact: bool, split: str) -> Row:
    notes = list(row.notes)
    if not exact:
        notes.insert(0, f"published for {row.protocol}; the exact clips are not stated")
    if split == "kfold":
        notes.insert(0, "published for a split other than folds of several subjects")
    ranked = row.selection == "last" and exact and split != "kfold"
    block = "oracle" if row.selection == "oracle" else "comparable" if ranked else "unranked"
    return Row(row.system, "published", row.selection, block, dict(row.scores), notes=tuple(notes), source=row.source)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in SCORE_NAMES}

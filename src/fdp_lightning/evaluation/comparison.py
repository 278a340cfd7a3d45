"""One table per protocol: our runs and published numbers in blocks, of which only the first is ranked.

What is compared with what: only numbers whose epoch was not chosen on the test subject, over the same clips as far as
anyone can know. Everything else is shown and says why it is not ranked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fdp_lightning.evaluation.baselines import BASELINES
from fdp_lightning.evaluation.counts import RANKED_BY, SCORE_NAMES
from fdp_lightning.evaluation.learning import has_learned
from fdp_lightning.evaluation.paired import Difference, clip_difference, compare_counts, mean_interval
from fdp_lightning.evaluation.published import Published, matching
from fdp_lightning.evaluation.runs import Run
from fdp_lightning.evaluation.seeds import seeds_differ, spread
from fdp_lightning.evaluation.trained import trained_facts

BLOCKS = {
    "comparable": "Comparable: no epoch was chosen on a test subject; ranked",
    "unlearned": "Not learned ‡, not ranked: nothing says that the scores are more than knowing nothing gives",
    "unranked": "Not ranked: over other clips, or not stated over which, or how the epoch was chosen",
    "oracle": "Oracle, not comparable: the epoch that is best on the test subject",
    "baseline": "Linear classifiers on one picture of each clip, trained on the same folds; not ranked",
    "floor": "Floors: what knowing nothing gets",
}
"""The blocks of a table in their order, each with its heading."""


@dataclass(frozen=True)
class Variant:
    """What a user asks to compare: one run, or the seeds of one variant."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Row:
    """One line of a table; scores are fractions of 1, and of several seeds their mean."""

    name: str
    kind: str
    """run, published or floor; trained baselines, which nobody ranks either, are floors too"""
    selection: str
    """last, inner, oracle; unknown for a published number that does not say; majority, chance, … for a floor"""
    block: str
    scores: dict[str, float]
    intervals: dict[str, list[float] | None] = field(default_factory=dict)
    sds: dict[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    rank: int | None = None
    model: Mapping[str, str] = field(default_factory=dict)
    """Of a run `model`, `parameters` and `steps a fold`, where its metrics.json says them."""
    signs: tuple[str, ...] = ()
    """Of runs: the kinds of `learning.Sign` that any seed shows; its notes say them in words."""
    learned: bool = True
    """False where most seeds of a variant show a decisive sign; such a row has no rank."""

    @property
    def comparable(self) -> bool:
        """Whether the row stands in the ranked block."""
        return self.block == "comparable"


@dataclass(frozen=True)
class Pair:
    """The tests of one variant against the baseline, selection last."""

    name: str
    differences: dict[str, Difference]
    meaningful: bool = True
    """False where neither side learned: a difference of two such runs says nothing of what differs between them."""


@dataclass(frozen=True)
class Table:
    """All that is known of one protocol, class list and split."""

    protocol: str
    split: str
    classes: tuple[str, ...]
    synthetic: bool
    n_clips: int
    n_subjects: int
    baseline: str
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    ranked_by: str

    @property
    def scores(self) -> list[str]:
        """The scores that any row has, in the order of their columns."""
        return [name for name in SCORE_NAMES if any(name in row.scores for row in self.rows)]

    def block(self, name: str) -> list[Row]:
        """The rows of one block, in order."""
        return [row for row in self.rows if row.block == name]


def compare(variants: Sequence[Variant], published: Sequence[Published]) -> list[Table]:
    """Make the tables of some runs.

    Args:
        variants: in the order in which the user named them: the first of each table is its baseline, which the
            others are tested against. Seeds of one variant that cover different clips are taken apart.
        published: of `read_published`.
    """
    groups: dict[tuple[Any, ...], list[Variant]] = {}
    for variant in (part for whole in variants for part in _same_clips(whole)):
        run = variant.runs[0]
        groups.setdefault((run.protocol, run.classes, run.split, run.synthetic), []).append(variant)
    return [_table(group, published) for group in groups.values()]


def _same_clips(variant: Variant) -> list[Variant]:
    groups: list[list[Run]] = []
    for run in sorted(variant.runs, key=lambda one: one.seed):
        for group in groups:
            if not seeds_differ(group[0], run) and group[0].synthetic == run.synthetic:
                group.append(run)
                break
        else:
            groups.append([run])
    if len(groups) == 1:
        return [Variant(variant.name, tuple(groups[0]))]
    return [Variant(f"{variant.name}/{'+'.join(r.folder.name for r in group)}", tuple(group)) for group in groups]


def _table(variants: Sequence[Variant], published: Sequence[Published]) -> Table:
    base = variants[0]
    first = base.runs[0]
    rows: list[Row] = []
    pairs: list[Pair] = []
    for variant in variants:
        why = clip_difference(first.parts["last"], variant.runs[0].parts["last"])
        rows += _rows_of(variant, f"not over the clips of {base.name}, so no paired test: {why}" if why else "")
        if variant is not base and not why:
            pairs.append(_pair(base, variant))
    ranked_by = next(name for name in RANKED_BY if name in first.functions)
    if not first.synthetic:  # no number on faces stands beside drawn clips
        datasets = {name for variant in variants for name in variant.runs[0].parts["last"]["dataset"]}
        rows += [
            _published_row(row, exact, first.split) for row, exact in matching(published, first.protocol, datasets)
        ]
    rows += [
        Row(_floor_name(name, values), "floor", name, "floor", {k: v for k, v in values.items() if k in SCORE_NAMES})
        for name, values in first.floors.items()
    ]
    rows += _baseline_rows(first)
    subjects = first.parts["last"][["dataset", "subject"]].drop_duplicates()
    return Table(
        protocol=first.protocol,
        split=first.split,
        classes=first.classes,
        synthetic=first.synthetic,
        n_clips=len(first.parts["last"]),
        n_subjects=len(subjects),
        baseline=base.name,
        rows=tuple(in_order(rows, ranked_by)),
        pairs=tuple(pairs),
        ranked_by=ranked_by,
    )


def in_order(rows: Iterable[Row], ranked_by: str) -> list[Row]:
    """Sort rows into their blocks, and rank the comparable ones by one score; equal scores share a rank.

    Args:
        rows: without ranks.
        ranked_by: a row of the comparable block that lacks this score stands last in it, without a rank.
    """
    ordered: list[Row] = []
    for block in BLOCKS:
        part = [replace(row, rank=None) for row in rows if row.block == block]
        if block == "comparable":  # the others keep their order: sorted by score they would look ranked
            part.sort(key=lambda row: -row.scores.get(ranked_by, -1.0))
            values = [row.scores[ranked_by] for row in part if ranked_by in row.scores]
            part = [
                replace(row, rank=1 + sum(value > row.scores[ranked_by] for value in values))
                if ranked_by in row.scores
                else row
                for row in part
            ]
        ordered += part
    return ordered


def _rows_of(variant: Variant, other_clips: str) -> list[Row]:
    runs = variant.runs
    learned = has_learned_mostly(runs)
    notes = (*_learning_notes(runs), *dict.fromkeys(note for run in runs for note in _notes(run)))
    several = spread(runs) if len(runs) > 1 else {}
    alike = len({str(trained_facts(run.metrics)) for run in runs}) == 1
    rows = []
    for selection in ("last", "inner", "oracle"):
        if not all(selection in run.parts for run in runs):
            continue
        each = [run.scores(selection) for run in runs]
        counts = np.stack([run.counts[selection] for run in runs], axis=1)
        comparable = "comparable" if learned else "unlearned"
        block = "oracle" if selection == "oracle" else "unranked" if other_clips else comparable
        rows.append(
            Row(
                name=variant.name,
                kind="run",
                selection=selection,
                block=block,
                scores={name: float(np.mean([scores[name] for scores in each])) for name in each[0]},
                intervals=mean_interval(counts, runs[0].functions),
                sds={name: values["sd"] for name, values in several[selection].items()} if several else {},
                seeds=tuple(run.seed for run in runs),
                notes=(*([other_clips] if other_clips else []), *notes),
                source="this program",
                model=trained_facts(runs[0].metrics) if alike else {},
                signs=tuple(dict.fromkeys(sign.kind for run in runs for sign in run.signs)),
                learned=learned,
            )
        )
    return rows


def has_learned_mostly(runs: Sequence[Run]) -> bool:
    """Return True if at least half of the seeds of a variant show no decisive sign."""
    return 2 * sum(has_learned(run.signs) for run in runs) >= len(runs)


def _learning_notes(runs: Sequence[Run]) -> list[str]:
    return [
        f"{'not learned? ' if sign.decisive else ''}{f'seed {run.seed}: ' if len(runs) > 1 else ''}{sign.detail}"
        for run in runs
        for sign in run.signs
    ]


def _notes(run: Run) -> list[str]:
    """What a reader of this run's scores has to know, as its metrics.json says."""
    notes = [str(text) for text in run.metrics.get("caveats") or []]
    if untested := run.metrics.get("untested"):
        notes.append(f"subjects that train and are not tested: {', '.join(map(str, untested))}")
    if "inner" in run.parts:
        notes.append("trained on fewer subjects: some are set aside to choose the epoch")
    notes += [f"{len(clips)} clips left out ({why})" for why, clips in (run.metrics.get("left_out") or {}).items()]
    return notes


def _published_row(row: Published, exact: bool, split: str) -> Row:
    notes = list(row.notes)
    if not exact:
        notes.insert(0, f"published for {row.protocol}: which clips is not stated")
    if split == "kfold":
        notes.insert(0, "published for another split than folds of several subjects")
    ranked = row.selection == "last" and exact and split != "kfold"
    block = "oracle" if row.selection == "oracle" else "comparable" if ranked else "unranked"
    return Row(row.system, "published", row.selection, block, dict(row.scores), notes=tuple(notes), source=row.source)


def _baseline_rows(run: Run) -> list[Row]:
    """The trained baselines of a run, as its metrics.json has them; a seed changes nothing of them."""
    return [
        Row(
            name=BASELINES.get(name, name),
            kind="floor",
            selection=name,
            block="baseline",
            scores={key: value for key, value in values.items() if key in SCORE_NAMES},
            intervals={key: value for key, value in values["ci95"].items() if key in SCORE_NAMES},
        )
        for name, values in run.metrics.get("baselines", {}).items()
    ]


def _floor_name(name: str, values: dict[str, Any]) -> str:
    return f"{name} class ({values['class']})" if "class" in values else name


def _pair(base: Variant, variant: Variant) -> Pair:
    a, b = (np.stack([run.counts["last"] for run in side.runs], axis=1) for side in (base, variant))
    return Pair(
        variant.name,
        compare_counts(a, b, base.runs[0].functions),
        meaningful=has_learned_mostly(base.runs) or has_learned_mostly(variant.runs),
    )

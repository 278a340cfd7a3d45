"""What the four forms of a comparison say alike: labels, numbers and the explanation of both."""

from fdp_lightning.evaluation.comparison import Row, Table
from fdp_lightning.evaluation.counts import SCORE_NAMES
from fdp_lightning.evaluation.paired import Difference
from fdp_lightning.evaluation.terminal import interval
from fdp_lightning.evaluation.terminal import p_value as p_value  # for templates, beside the other texts
from fdp_lightning.evaluation.trained import trained_line

SCORES = (
    "Scores are fractions of 1, each computed from all clips of a run together. Below a score of ours: the 95 % "
    "interval over subjects (jackknife). Of several seeds: the mean over seeds ± standard deviation (n − 1)."
)
_SELECTIONS = (
    "last: a fixed budget, the last epoch. inner: the epoch best on subjects set aside from the training subjects. "
    "oracle: the epoch best on the test subject; not comparable, never ranked."
)
_PUBLISHED = (
    "Published numbers are as published, not measured here. The first rank is the highest score and no more: whether "
    "a difference between runs of ours is more than chance, the paired tests say."
)
UNLEARNED = (
    "‡ Not learned: at least half of the folds answer one class each, or the interval does not lie above every "
    "baseline. Such a run is shown and not ranked."
)
MEANINGLESS = "Neither of the two learned: this difference means nothing."
LEGEND = (SCORES, _SELECTIONS, UNLEARNED, _PUBLISHED)

PAIRED_LEGEND = (
    "Difference: this run − baseline, selection last, the same clips. Interval and p: a t statistic whose error leaves "
    "out one subject after the other, from both runs; p is two-sided and not corrected for the number of tests."
)

SYNTHETIC = "Synthetic data: a program drew these clips. The scores say nothing about faces."


def title(table: Table) -> str:
    """`casme2_5c_246: 246 clips, 26 subjects, 5 classes`, with the split if it is not leave-one-subject-out."""
    split = "" if table.split == "loso" else f", split {table.split}"
    counts = f"{table.n_clips} clips, {table.n_subjects} subjects, {len(table.classes)} classes"
    return f"{table.protocol}: {counts}{split}"


def selection_label(row: Row) -> str:
    """The selection of a row in a reader's words; of a floor nothing."""
    if row.kind == "floor":
        return ""
    return "not stated" if row.selection == "unknown" else row.selection


def seeds_label(row: Row) -> str:
    """`seeds 0, 1, 2`, `seed 0`, or nothing."""
    if not row.seeds:
        return ""
    return f"seed{'s' if len(row.seeds) > 1 else ''} {', '.join(map(str, row.seeds))}"


def model_label(row: Row) -> str:
    """`fdp_tiny, 90 123 parameters, 112 steps a fold`, or nothing."""
    return trained_line(row.model)


def mark(row: Row) -> str:
    """` ‡` behind the name of a run that did not learn, ` †` behind oracle numbers."""
    return ("" if row.learned else " ‡") + (" †" if row.block == "oracle" else "")


def meaning(meaningful: bool) -> str:
    """Nothing, or that a difference means nothing, in as few letters as a column has."""
    return "" if meaningful else "no meaning ‡"


def number(row: Row, score: str) -> str:
    """A score with three digits, `–` where the row has none."""
    return f"{row.scores[score]:.3f}" if score in row.scores else "–"


def deviation(row: Row, score: str) -> str:
    """`± 0.012`, or nothing for a single seed."""
    return f"± {row.sds[score]:.3f}" if score in row.sds else ""


def bounds(row: Row, score: str) -> str:
    """`0.412–0.538`; nothing where the row is not ours."""
    return interval(row.intervals[score]) if score in row.intervals else ""


def difference(value: Difference) -> str:
    """`+0.031`."""
    return f"{value.value:+.3f}".replace("-", "−")


def difference_bounds(value: Difference) -> str:
    """`−0.010 to +0.072`, or `none`."""
    if value.ci95 is None:
        return "none"
    return " to ".join(f"{bound:+.3f}" for bound in value.ci95).replace("-", "−")


def headings(table: Table) -> list[str]:
    """The names of the score columns."""
    return [SCORE_NAMES[name] for name in table.scores]

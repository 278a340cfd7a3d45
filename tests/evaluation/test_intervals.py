"""Intervals and paired tests: the jackknife over subjects against leaving out rows, and its coverage in simulations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, table_of
from scipy.stats import t
from sklearn.metrics import f1_score

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import jackknife, mean_interval, paired_differences, subject_intervals
from fdp_lightning.evaluation.metrics import accuracy, score_functions
from fdp_lightning.evaluation.predictions import Outcomes
from fdp_lightning.labels import LabelKind

pytestmark = pytest.mark.costly

SCORES = score_functions(LabelKind.SINGLE)


def intervals_of(table: pd.DataFrame, classes: Sequence[str] = tuple(CLASSES)) -> dict:
    return subject_intervals(Outcomes.of(table, classes))


def last(seed: int = 0, **options: object) -> pd.DataFrame:
    return table_of(seed, selections=("last",), **options)  # type: ignore[arg-type]


def test_equal_to_leaving_out_rows_and_scoring_them_with_scikit_learn() -> None:
    """Subjects have unequal numbers of clips; the formulas are repeated with other functions."""
    table = last(subjects=6)
    table = table[(table["subject"] != "002") | (table.index % 3 == 0)]
    names = sorted(set(table["subject"]))
    assert all(set(table.loc[table["subject"] != name, "target"]) == set(CLASSES) for name in names)

    def score(rows: pd.DataFrame) -> float:
        return f1_score(rows["target"], rows["prediction"], labels=CLASSES, average="macro", zero_division=0)

    value, without = score(table), np.array([score(table[table["subject"] != name]) for name in names])
    error = np.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum())
    clips = table["subject"].value_counts()
    freedom = clips.sum() ** 2 / (clips**2).sum() - 1
    found = jackknife(Outcomes.of(table, CLASSES).counts, SCORES["uf1"])
    assert found is not None
    assert (found.value, found.error, found.freedom) == pytest.approx((value, error, freedom))
    assert freedom < 5
    assert found.interval == pytest.approx(t.interval(0.95, freedom, value, error))
    assert found.p == pytest.approx(max(2 * t.sf(value / error, freedom), 1 / 32))
    odds = t.interval(0.95, freedom, np.log(value / (1 - value)), error / (value * (1 - value)))
    expected = [1 / (1 + np.exp(-bound)) for bound in odds]
    assert intervals_of(table.sample(frac=1, random_state=0))["uf1"] == pytest.approx(expected)


def test_perfect_predictions_even_with_a_class_of_one_subject() -> None:
    table = last(subjects=4)
    rare = (table["subject"] != "001") & (table["target"] == "disgust")
    table.loc[rare, "target"] = "others"
    table["prediction"] = table["target"]
    found, counts = intervals_of(table), Outcomes.of(table, CLASSES).counts
    assert {name: found[name] for name in SCORES} == {name: [1.0, 1.0] for name in SCORES}
    assert [jackknife(counts, score).error for score in SCORES.values()] == [0] * len(SCORES)  # type: ignore[union-attr]


def test_no_interval_from_one_subject_or_where_none_can_be_left_out() -> None:
    assert intervals_of(last(subjects=1)) == dict.fromkeys([*SCORES, "auc"])
    classes = [f"c{place}" for place in range(8)]
    table = last(subjects=8, clips=1, classes=classes)
    table["target"] = table["prediction"] = classes  # each class occurs in one subject only
    assert intervals_of(table, classes) == dict.fromkeys([*SCORES, "auc"])


@pytest.mark.parametrize("skewed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_intervals_cover_what_they_say(skewed: bool) -> None:
    """Accuracy on 2,000 tables of 12 subjects; benchmarks/interval_coverage.py covers more cases and scores.

    If the coverage is 95 %, a count of 2,000 is off by more than 1.5 % once in 500 times.
    """
    random = np.random.default_rng(0)
    clips = np.clip(np.exp(random.normal(np.log(6), 1, (2000, 12))).round(), 1, 30).astype(int) if skewed else 10
    share = random.beta(4, 2, (2000, 12))  # 2/3 on average
    right = random.binomial(clips, share)
    of_one_class = np.stack([right, clips - right, 0 * right, 0 * right], axis=-1).reshape(2000, 12, 2, 2)
    bounds = [jackknife(counts, SCORES["accuracy"]).interval_of_share for counts in of_one_class]  # type: ignore[union-attr]
    assert 0.935 <= np.mean([low <= 2 / 3 <= high for low, high in bounds]) <= 0.975


def test_equal_to_leaving_out_rows_of_all_runs() -> None:
    """One seed is compared with two, each table scored by scikit-learn."""
    a, b = [last(0)], [last(seed, skill=0.6) for seed in (2, 3)]

    def difference(without: str) -> float:
        left = [[table[table["subject"] != without] for table in side] for side in (a, b)]
        first, second = (
            np.mean([f1_score(of["target"], of["prediction"], labels=CLASSES, average="macro") for of in side])
            for side in left
        )
        return float(second - first)

    value, without = difference("nobody"), np.array([difference(name) for name in sorted(set(a[0]["subject"]))])
    error = np.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum())
    found = paired_differences(a, b, CLASSES)["uf1"]
    assert found.value == pytest.approx(value)
    assert found.ci95 == pytest.approx(t.interval(0.95, 5, value, error))
    assert found.p == pytest.approx(max(2 * t.sf(abs(value) / error, 5), 2 / 2**6))


def test_a_run_against_itself_differs_by_nothing_and_one_subject_has_no_interval() -> None:
    for found in paired_differences([last()], [last().sample(frac=1, random_state=1)], CLASSES).values():
        assert (found.value, found.ci95, found.p) == (0.0, [0.0, 0.0], 1.0)
    found = paired_differences([last(0, subjects=1)], [last(1, subjects=1)], CLASSES)["accuracy"]
    assert (found.ci95, found.p) == (None, None)
    assert set(mean_interval([Outcomes.of(last(subjects=1), CLASSES)]).values()) == {None}


def test_p_is_small_but_never_zero_for_a_clear_difference() -> None:
    found = paired_differences([last(0, skill=0.1)], [last(1, skill=0.9)], CLASSES)["uf1"]
    assert found.ci95 is not None and found.ci95[0] > 0
    assert found.p == pytest.approx(2 / 2**6)  # the smallest p that the signs of six subjects allow
    wrong = last().assign(
        prediction=lambda t: t["target"].map(dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True)))
    )
    found = paired_differences([wrong], [wrong.assign(prediction=wrong["target"])], CLASSES)["uf1"]
    assert (found.value, found.ci95, found.p) == (1.0, [1.0, 1.0], 2 / 2**6)


def _subject_effects(random: np.random.Generator, subjects: int, clips: int) -> np.ndarray:
    """Return counts (S, 2, 2) of a binary run whose accuracy varies between subjects."""
    share = np.clip(random.normal(0.6, 0.25, subjects), 0, 1)
    right = random.binomial(clips // 2, share[:, None], (subjects, 2))
    wrong = clips // 2 - right
    return np.stack([right[:, 0], wrong[:, 0], wrong[:, 1], right[:, 1]], axis=1).reshape(subjects, 2, 2)


def test_intervals_and_p_hold_what_they_promise() -> None:
    """Two runs differ by subject but not on average: 400 studies of 30 subjects with 20 clips each."""
    random = np.random.default_rng(0)
    covered, significant = 0, 0
    for _ in range(400):
        both = np.stack([_subject_effects(random, 30, 20) for _ in range(2)], axis=1)
        found = jackknife(both, lambda counts: accuracy(counts[:, 1]) - accuracy(counts[:, 0]))
        assert found is not None
        covered += found.interval[0] <= 0 <= found.interval[1]
        significant += found.p < 0.05
    assert covered + significant == 400
    assert 0.02 <= significant / 400 <= 0.085  # at 5 %, 400 cases fall outside once in 500 times


def test_the_interval_of_several_seeds_is_that_of_their_mean_and_of_one_that_of_its_own() -> None:
    one = Outcomes.of(last(subjects=8), CLASSES)
    assert mean_interval([one]) == subject_intervals(one)
    same = mean_interval([one, one])
    for name, bounds in mean_interval([one]).items():
        assert same[name] == pytest.approx(bounds)


def test_clips_are_paired_by_their_whole_key() -> None:
    """Two datasets share subjects and clip names; two clips in one folder differ by their onset only."""
    a, b = (
        pd.concat([last(seed), last(seed + 1).assign(dataset="other", clip=lambda t: t["subject"] + "_1")])
        for seed in (0, 7)
    )
    found = paired_differences([a], [b.sample(frac=1, random_state=0)], CLASSES)["accuracy"]
    first, second = ((table["target"] == table["prediction"]).mean() for table in (a, b))
    assert first != second and found.value == pytest.approx(second - first)
    assert found == paired_differences([a], [b], CLASSES)["accuracy"]
    with pytest.raises(UserError, match="2 clips only in the first: other/001/001_1@1, other/001/001_1@101"):
        paired_differences([a], [b[(b["dataset"] != "other") | (b["subject"] != "001") | (b["onset"] > 101)]], CLASSES)


def test_runs_that_cannot_be_paired_name_the_clips() -> None:
    a = last(0)
    relabelled = a.assign(target=a["target"].where(a["clip"] != "002_3", "others"))
    for first, second, message in (
        (a, a.iloc[1:], "1 clips only in the first: synthetic/001/001_1@1"),
        (a.iloc[2:], a, "2 clips only in the second: synthetic/001/001_1@1, synthetic/001/001_2@101"),
        (a, pd.concat([a, a.iloc[:1]]), "more than once: synthetic/001/001_1@1"),
        (a, relabelled, "target: synthetic/002/002_3"),
        (a, a.assign(prediction="fear"), r"other classes .*fear; expected happiness"),
    ):
        with pytest.raises(UserError, match=message):
            paired_differences([first], [second], CLASSES)
    with pytest.raises(ValueError, match="exactly one selection"):
        paired_differences([a], [table_of()], CLASSES)
    with pytest.raises(ValueError, match="at least one"):
        paired_differences([], [a], CLASSES)

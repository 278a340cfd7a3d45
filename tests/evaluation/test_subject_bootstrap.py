import time

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, make_predictions

from fdp_lightning.evaluation.bootstrap import resample, subject_bootstrap, subject_confusions
from fdp_lightning.evaluation.metrics import SCORES


def _last(**options: object) -> pd.DataFrame:
    table = make_predictions(selections=("last",), **options)  # type: ignore[arg-type]
    return table.reset_index(drop=True)


def test_same_seed_same_interval_whatever_the_order_of_rows() -> None:
    table = _last()
    first = subject_bootstrap(table, CLASSES, 300, seed=3)
    assert first == subject_bootstrap(table.sample(frac=1, random_state=0), CLASSES, 300, seed=3)
    assert first != subject_bootstrap(table, CLASSES, 300, seed=4)


@pytest.mark.parametrize("seed", range(5))
def test_interval_contains_the_score(seed: int) -> None:
    table = _last(subjects=20, seed=seed)
    matrix = subject_confusions(table, CLASSES).sum(0)
    intervals = subject_bootstrap(table, CLASSES, 500)
    for name, score in SCORES.items():
        low, high = intervals[name]  # type: ignore[misc]
        assert 0 <= low < score(matrix) < high <= 1


def test_subjects_not_clips_are_drawn() -> None:
    """Twenty subjects, each right or wrong throughout: the spread is that of 20 coins, not of 200."""
    table = _last(subjects=20)
    right = table["subject"].astype(int) % 2 == 0
    wrong = table["target"].map(dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True)))
    table["prediction"] = table["target"].where(right, wrong)
    low, high = subject_bootstrap(table, CLASSES, 2000)["accuracy"]  # type: ignore[misc]
    clip_low, clip_high = subject_bootstrap(
        table.assign(subject=[str(row) for row in range(len(table))]), CLASSES, 2000
    )["accuracy"]  # type: ignore[misc]
    assert high - low > 2.5 * (clip_high - clip_low)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 20), rel=0.1)


def test_equal_to_resampling_rows_one_by_one() -> None:
    table = _last(subjects=5)
    matrices = subject_confusions(table, CLASSES)
    counts = np.random.default_rng(0).multinomial(5, np.full(5, 0.2), size=50)
    drawn = resample(matrices, 50, seed=0)
    assert drawn is not None
    for row in range(50):
        rows = pd.concat(
            [
                part
                for count, (_, part) in zip(counts[row], table.groupby("subject"), strict=True)
                for part in [part] * count
            ]
        )
        assert (subject_confusions(rows.assign(subject="all"), CLASSES)[0] == drawn[row]).all()


def test_perfect_predictions_even_with_a_class_of_one_subject() -> None:
    table = _last(subjects=4)
    rare = (table["subject"] != "001") & (table["target"] == "disgust")
    table.loc[rare, "target"] = "others"
    table["prediction"] = table["target"]
    assert subject_bootstrap(table, CLASSES, 200) == {name: [1.0, 1.0] for name in SCORES}


def test_every_resample_has_every_class_even_one_that_is_never_predicted() -> None:
    table = _last(subjects=4)
    table.loc[(table["subject"] != "001") & (table["target"] == "disgust"), "target"] = "others"
    drawn = resample(subject_confusions(table.assign(prediction="others"), CLASSES), 300, seed=0)
    assert drawn is not None
    assert drawn.shape == (300, 5, 5)
    assert drawn.sum(axis=2).min() > 0


def test_same_id_in_two_datasets_is_two_subjects() -> None:
    table = _last(subjects=1)
    both = pd.concat([table, table.assign(dataset="other")])
    assert len(subject_confusions(both, CLASSES)) == 2


def test_no_interval_from_one_subject() -> None:
    assert subject_bootstrap(_last(subjects=1), CLASSES) == dict.fromkeys(SCORES)


def test_no_interval_where_every_draw_would_be_the_same() -> None:
    classes = [f"c{place}" for place in range(8)]
    table = _last(subjects=8, clips=1, classes=classes)
    table["target"] = table["prediction"] = classes  # each class hangs on one subject
    assert subject_bootstrap(table, classes, 50) == dict.fromkeys(SCORES)


def test_selections_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="one selection"):
        subject_bootstrap(make_predictions(), CLASSES)


def test_ten_thousand_resamples_are_quick() -> None:
    table = _last(subjects=26, clips=20)
    start = time.process_time()
    subject_bootstrap(table, CLASSES, 10_000)
    assert time.process_time() - start < 2

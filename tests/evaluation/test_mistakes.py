"""Which mistakes are the most confident, by brute force."""

import numpy as np
import pandas as pd
from random_runs import CLASSES, make_predictions

from fdp_lightning.evaluation.mistakes import confident_mistakes, indicators, mistakes_of
from fdp_lightning.labels import LabelKind


def test_with_one_label_they_are_the_wrong_rows_by_their_probability() -> None:
    table = make_predictions(8, 10, selections=["last"])
    expected = sorted(
        (
            (-row[f"prob_{row['prediction']}"], place, CLASSES.index(row["prediction"]))
            for place, row in enumerate(table.to_dict("records"))
            if row["prediction"] != row["target"]
        )
    )[:8]
    given = [(-one.confidence, one.row, one.label) for one in mistakes_of(table, CLASSES)]
    assert given == expected and len(given) == 8


def test_with_several_labels_it_is_the_most_confident_single_decision_of_a_clip() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((30, 4))
    target, decision = random.random((30, 4)) < 0.4, probabilities >= 0.5
    target[3] = decision[3]  # a clip that is right
    best: dict[int, tuple[float, int]] = {}
    for row in range(30):
        for label in range(4):
            if target[row, label] != decision[row, label]:
                sure = max(probabilities[row, label], 1 - probabilities[row, label])
                best[row] = max(best.get(row, (0.0, -1)), (sure, label))
    expected = sorted((-sure, row, label) for row, (sure, label) in best.items())
    given = confident_mistakes(probabilities, target, decision, LabelKind.MULTI, limit=100)
    assert [(-one.confidence, one.row, one.label) for one in given] == expected
    assert 3 not in {one.row for one in given}


def test_names_are_sets_only_where_there_are_several_labels() -> None:
    names = pd.Series(["AU1+AU4", "", "AU4"])
    assert indicators(names, ["AU1", "AU4", "AU1+AU4"], LabelKind.MULTI).tolist() == [
        [True, True, False],
        [False, False, False],
        [False, True, False],
    ]
    assert indicators(names, ["AU1", "AU4", "AU1+AU4"]).tolist() == [
        [False, False, True],
        [False, False, False],
        [False, True, False],
    ]
    assert indicators(names[:0], ["AU1", "AU4"]).shape == (0, 2)

"""Which mistakes are the most confident, by brute force."""

from random_runs import CLASSES, UNITS, make_predictions, make_unit_predictions

from fdp_lightning.evaluation.report_details import mistakes_of


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
    table = make_unit_predictions(selections=["last"])
    right, best = [], dict[int, tuple[float, int]]()
    for row, clip in enumerate(table.to_dict("records")):
        target, prediction = (set(clip[name].split("+")) for name in ("target", "prediction"))
        for label, unit in enumerate(UNITS):
            if (unit in target) != (unit in prediction):
                sure = max(clip[f"prob_{unit}"], 1 - clip[f"prob_{unit}"])
                best[row] = max(best.get(row, (0.0, -1)), (sure, label))
        right += [row] if target == prediction else []
    expected = sorted((-sure, row, label) for row, (sure, label) in best.items())
    given = mistakes_of(table, UNITS, limit=1000)
    assert [(-one.confidence, one.row, one.label) for one in given] == expected
    assert right and not {*right} & {one.row for one in given}

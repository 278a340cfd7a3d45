"""Table of predictions, single- and multi-label: it is read back unchanged, and inconsistent tables are rejected."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, UNITS, last, make_predictions, make_unit_predictions

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import (
    columns_of,
    label_arrays,
    label_kind_of,
    pool,
    read_predictions,
    write_predictions,
)
from fdp_lightning.labels import KEY, LabelKind

CLIP = "synthetic/002/002_3@201"
SINGLE, MULTI = LabelKind.SINGLE, LabelKind.MULTI
NAMES = {SINGLE: CLASSES, MULTI: UNITS}
every_kind = pytest.mark.parametrize("kind", NAMES)


def table_of(kind: LabelKind, **options: object) -> pd.DataFrame:
    return (make_unit_predictions if kind.is_multi else make_predictions)(**options)  # type: ignore[operator]


def _expected(table: pd.DataFrame) -> pd.DataFrame:
    return last(table)[[*KEY, "target"]]


def _folds(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [part.reset_index(drop=True) for _, part in table.groupby("fold")]


@every_kind
def test_round_trip_is_exact(kind: LabelKind, tmp_path: Path) -> None:
    table = table_of(kind)
    assert kind is SINGLE or ((table["target"] == "").any() and (table["prediction"] == "").any())
    table["subject"] = table["fold"] = "010"  # must not become 10 or 8
    table["clip"] = [f'NA, "{i}"' for i in range(len(table))]
    write_predictions(tmp_path / "p.csv", table, NAMES[kind])
    read, classes = read_predictions(tmp_path / "p.csv")
    assert (classes, label_kind_of(read)) == (NAMES[kind], kind)
    assert list(read.columns) == columns_of(classes, kind) == columns_of(classes) + ["multi_label"] * kind.is_multi
    for name in read.columns:
        assert read[name].tolist() == table[name].tolist(), name
    write_predictions(tmp_path / "q.csv", read, classes)
    assert (tmp_path / "q.csv").read_bytes() == (tmp_path / "p.csv").read_bytes()


def test_label_arrays_are_the_named_labels() -> None:
    table = table_of(MULTI)
    for found, column in zip(label_arrays(table, UNITS), ("target", "prediction"), strict=True):
        assert (found.shape, found.dtype) == ((len(table), 4), bool)
        assert ["+".join(np.array(UNITS)[row]) for row in found] == table[column].tolist()
    np.testing.assert_array_equal(found, table[[f"prob_{unit}" for unit in UNITS]].to_numpy() > 0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "empty"),
        (lambda text: text[:-2], "truncated"),
        (lambda text: text.replace("selection", "chosen", 1), "expected the columns"),
        (lambda text: text.replace(",101,", ",1e2,", 1), "expected a number"),
        (lambda text: re.sub(",happiness,happiness,", ",happiness,disgust,", text, count=1), "highest probability"),
        (lambda text: text.replace(",last,", ",best,", 1), "selection is not one of"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    path = tmp_path / "p.csv"
    write_predictions(path, make_predictions(), CLASSES)
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=said) as raised:
        read_predictions(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "column", "value", "said"),
    [
        (SINGLE, "prob_disgust", np.nan, "finite"), (SINGLE, "prob_disgust", -0.5, "negative"),
        (SINGLE, "prob_disgust", 1.5, "sum to 1"), (SINGLE, "prediction", "boredom", "prediction is not a"),
        (SINGLE, "target", "boredom", "target is not a"), (MULTI, "target", "AU1+AU9", "target is not made of"),
        (MULTI, "target", "AU2+AU1", "order"), (MULTI, "target", "AU1+AU1", "each once"),
        (MULTI, "prediction", "", "not match the probabilities"), (MULTI, "prob_AU4", 1.1, "outside 0 to 1"),
        (MULTI, "subject", "", "or fold is empty"),
    ],
)  # fmt: skip
def test_an_invalid_row_is_refused_and_not_written(
    tmp_path: Path, kind: LabelKind, column: str, value: object, said: str
) -> None:
    table = table_of(kind)
    if kind is MULTI:  # a row that predicts only AU4: each change makes it wrong in one way
        table.loc[3, [f"prob_{unit}" for unit in UNITS]] = 0.2, 0.1, 0.9, 0.3
        table.loc[3, "prediction"] = "AU4"
    table.loc[3, column] = value
    with pytest.raises(UserError, match=said) as raised:
        write_predictions(tmp_path / "p.csv", table, NAMES[kind])
    assert "001_4@301" in str(raised.value)
    assert not (tmp_path / "p.csv").exists()


def test_pooling_is_independent_of_the_order_of_folds_and_rows() -> None:
    table = make_predictions(selections=("oracle", "inner", "last"))
    pooled = pool(_folds(table), _expected(table), CLASSES)
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(pooled, pool(_folds(shuffled)[::-1], _expected(shuffled), CLASSES))
    assert list(dict.fromkeys(pooled["selection"])) == ["last", "inner", "oracle"]
    keys = last(pooled)[KEY].to_numpy().tolist()
    assert keys == sorted(keys)


@every_kind
def test_pooling_refuses_missing_duplicate_and_unknown_clips(kind: LabelKind) -> None:
    table, names = table_of(kind), NAMES[kind]
    expected, rows = _expected(table), (table["clip"] == "002_3") & (table["selection"] == "oracle")
    for folds, clips, said in (
        (_folds(table[~rows]), expected, f"'oracle': 1 clips missing: {CLIP}"),
        ([*_folds(table), table[rows]], expected, f"more than once: {CLIP}"),
        (_folds(table), expected[expected["clip"] != "002_3"], f"not in the protocol: {CLIP}"),
    ):
        with pytest.raises(UserError, match=said):
            pool(folds, clips, names, kind)


def test_pooling_refuses_folds_of_different_runs() -> None:
    table = make_predictions()
    expected, (first, *others) = _expected(table), _folds(table)
    changed = expected.assign(target=expected["target"].where(expected["clip"] != "002_3", "others"))
    for folds, clips, classes, said in (
        ([first.assign(seed=7), *others], expected, CLASSES, "different seeds"),
        ([first, *others], expected, CLASSES[::-1], "other classes"),
        (_folds(make_unit_predictions()), expected, UNITS, "Fold 001 .*other classes"),
        (_folds(table[table["selection"] == "oracle"]), expected, CLASSES, "'last'"),
        ([first, *others], changed, CLASSES, rf"{CLIP} .*'others'.*'repression'"),
    ):
        with pytest.raises(UserError, match=said):
            pool(folds, clips, classes, SINGLE)

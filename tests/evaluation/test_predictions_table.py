import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, make_predictions

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import columns_of, pool, read_predictions, write_predictions
from fdp_lightning.labels import KEY

Change = Callable[[str], str]


def _expected(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[table["selection"] == "last", [*KEY, "target"]].reset_index(drop=True)


def _folds(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [part.reset_index(drop=True) for _, part in table.groupby("fold")]


def test_round_trip_is_exact(tmp_path: Path, predictions: pd.DataFrame) -> None:
    predictions["subject"] = predictions["fold"] = "010"  # neither 10 nor 8
    predictions["clip"] = [f'NA, "{i}"' for i in range(len(predictions))]
    write_predictions(tmp_path / "p.csv", predictions, CLASSES)
    table, classes = read_predictions(tmp_path / "p.csv")
    assert classes == CLASSES
    assert list(table.columns) == columns_of(CLASSES)
    for name in columns_of(CLASSES):
        assert table[name].tolist() == predictions[name].tolist(), name
    write_predictions(tmp_path / "q.csv", table, classes)
    assert (tmp_path / "q.csv").read_bytes() == (tmp_path / "p.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "empty"),
        (lambda text: text.splitlines()[0] + "\n", "no rows"),
        (lambda text: text[:-2], "truncated"),
        (lambda text: text[:-9] + "\n", "row 120 has"),
        (lambda text: text.replace("selection", "chosen", 1), "lack the columns selection"),
        (lambda text: text.replace("subject,clip", "clip,subject", 1), "in this order"),
        (lambda text: text.replace(",101,", ",1e2,", 1), "number was expected"),
        (lambda text: text.replace(",101,", f",{2**63},", 1), "number was expected"),
        (lambda text: re.sub(",happiness,happiness,", ",happiness,disgust,", text, count=1), "highest probability"),
        (lambda text: text.replace(",last,", ",best,", 1), "selection is not one of"),
        (lambda text: text.replace(",001,42", ",,42", 1), "not all given"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, predictions: pd.DataFrame, change: Change, said: str) -> None:
    path = tmp_path / "p.csv"
    write_predictions(path, predictions, CLASSES)
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=said) as raised:
        read_predictions(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("prob_disgust", np.nan, "not a finite number"), ("prob_disgust", np.inf, "not a finite number"),
        ("prob_disgust", -0.5, "negative"), ("prob_disgust", 1.5, "sum to 1"),
        ("prediction", "boredom", "prediction is not a class"), ("target", "boredom", "target is not a class"),
    ],
)  # fmt: skip
def test_unusable_row_is_named(
    tmp_path: Path, predictions: pd.DataFrame, column: str, value: object, said: str
) -> None:
    predictions.loc[3, column] = value
    with pytest.raises(UserError, match=said) as raised:
        write_predictions(tmp_path / "p.csv", predictions, CLASSES)
    assert "synthetic/001/001_4@301" in str(raised.value)
    assert not (tmp_path / "p.csv").exists()


def test_pool_forgets_the_order_of_folds_and_rows() -> None:
    table = make_predictions(selections=("oracle", "inner", "last"))
    pooled = pool(_folds(table), _expected(table), CLASSES)
    shuffled = table.sample(frac=1, random_state=1)
    again = pool(_folds(shuffled)[::-1], _expected(shuffled), CLASSES)
    pd.testing.assert_frame_equal(pooled, again)
    assert list(dict.fromkeys(pooled["selection"])) == ["last", "inner", "oracle"]
    last = pooled[pooled["selection"] == "last"]
    assert last[KEY].to_numpy().tolist() == sorted(last[KEY].to_numpy().tolist())


def test_mixed_runs_fail(predictions: pd.DataFrame) -> None:
    first, *others = _folds(predictions)
    with pytest.raises(UserError, match="different seeds"):
        pool([first.assign(seed=7), *others], _expected(predictions), CLASSES)
    with pytest.raises(UserError, match="other classes"):
        pool(_folds(predictions), _expected(predictions), CLASSES[::-1])
    with pytest.raises(UserError, match="'last'"):
        pool(_folds(predictions[predictions["selection"] == "oracle"]), _expected(predictions), CLASSES)
    expected = _expected(predictions)
    expected.loc[expected["clip"] == "002_3", "target"] = "others"
    with pytest.raises(UserError, match=r"synthetic/002/002_3@201.*'repression', the protocol 'others'"):
        pool(_folds(predictions), expected, CLASSES)
    with pytest.raises(UserError, match="No fold"):
        pool([], _expected(predictions), CLASSES)

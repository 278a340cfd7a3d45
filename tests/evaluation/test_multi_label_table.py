"""The predictions table of action units: it says what it is, keeps '', and refuses what it cannot mean."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_units import UNITS, make_unit_predictions

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


@pytest.fixture
def table() -> pd.DataFrame:
    return make_unit_predictions()


def _expected(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[table["selection"] == "last", [*KEY, "target"]].reset_index(drop=True)


def _folds(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [part.reset_index(drop=True) for _, part in table.groupby("fold")]


def test_round_trip_is_exact_and_keeps_clips_that_show_nothing(tmp_path: Path, table: pd.DataFrame) -> None:
    assert (table["target"] == "").sum() >= 12 and (table["prediction"] == "").any()
    write_predictions(tmp_path / "p.csv", table, UNITS)
    read, classes = read_predictions(tmp_path / "p.csv")
    assert classes == UNITS
    assert label_kind_of(read) is LabelKind.MULTI
    assert list(read.columns) == columns_of(UNITS, LabelKind.MULTI) == [*columns_of(UNITS), "multi_label"]
    for name in read.columns:
        assert read[name].tolist() == table[name].tolist(), name
    write_predictions(tmp_path / "q.csv", read, classes)
    assert (tmp_path / "q.csv").read_bytes() == (tmp_path / "p.csv").read_bytes()


def test_arrays_say_what_names_say(table: pd.DataFrame) -> None:
    target, prediction = label_arrays(table, UNITS)
    assert target.shape == prediction.shape == (len(table), 4) and target.dtype == bool
    for row, (wanted, found) in enumerate(zip(table["target"], table["prediction"], strict=True)):
        assert [name for name, there in zip(UNITS, target[row], strict=True) if there] == (
            wanted.split("+") if wanted else []
        )
        assert "+".join(name for name, there in zip(UNITS, prediction[row], strict=True) if there) == found
    np.testing.assert_array_equal(prediction, table[[f"prob_{unit}" for unit in UNITS]].to_numpy() > 0.5)
    with pytest.raises(ValueError, match="not made of the classes"):
        label_arrays(table.assign(target="AU9"), UNITS)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("target", "AU9", "target is not made of classes"), ("target", "AU1+AU9", "target is not made of classes"),
        ("target", "AU2+AU1", "in the protocol's order"), ("target", "AU1+AU1", "each once"),
        ("target", "AU1+", "target is not made of classes"), ("target", "+", "target is not made of classes"),
        ("prediction", "AU4+AU2", "prediction is not made of classes"),
        ("prediction", "AU1+AU2+AU4+AU12", "prediction is not what has a probability above 0.5"),
        ("prediction", "", "prediction is not what has a probability above 0.5"),
        ("prob_AU4", 0.5, "prediction is not what has a probability above 0.5"),
        ("prob_AU4", np.nan, "not a finite number"), ("prob_AU4", np.inf, "not a finite number"),
        ("prob_AU4", -0.1, "outside 0 to 1"), ("prob_AU4", 1.1, "outside 0 to 1"), ("subject", "", "not all given"),
    ],
)  # fmt: skip
def test_an_unusable_row_is_named(tmp_path: Path, table: pd.DataFrame, column: str, value: object, said: str) -> None:
    # A row whose prediction is AU4 alone: each change makes it wrong in one way.
    for unit, p in zip(UNITS, (0.2, 0.1, 0.9, 0.3), strict=True):
        table.loc[3, f"prob_{unit}"] = p
    table.loc[3, "prediction"] = "AU4"
    write_predictions(tmp_path / "before.csv", table, UNITS)
    table.loc[3, column] = value
    with pytest.raises(UserError, match=said) as raised:
        write_predictions(tmp_path / "p.csv", table, UNITS)
    assert "001_4@301" in str(raised.value)
    assert not (tmp_path / "p.csv").exists()


def test_a_missing_a_doubled_and_a_foreign_clip_fail(table: pd.DataFrame) -> None:
    selection = "oracle"
    rows = (table["clip"] == "002_3") & (table["selection"] == selection)
    with pytest.raises(UserError, match=rf"'{selection}': 1 of 60 clips missing: {CLIP}"):
        pool(_folds(table[~rows]), _expected(table), UNITS, LabelKind.MULTI)
    with pytest.raises(UserError, match=f"more than once: {CLIP}"):
        pool([*_folds(table), table[rows]], _expected(table), UNITS, LabelKind.MULTI)
    expected = _expected(table)
    with pytest.raises(UserError, match=f"not in the protocol: {CLIP}"):
        pool(_folds(table), expected[expected["clip"] != "002_3"], UNITS, LabelKind.MULTI)


def test_folds_of_the_other_kind_are_not_mixed_in(table: pd.DataFrame) -> None:
    first, *others = _folds(table)
    with pytest.raises(UserError, match="fold 001 was run with other classes"):
        pool([first, *others], _expected(table), UNITS)
    with pytest.raises(UserError, match="fold 001 was run with other classes"):
        pool([first.drop(columns="multi_label"), *others], _expected(table), UNITS, LabelKind.MULTI)
    with pytest.raises(UserError, match="other classes"):
        pool([first, *others], _expected(table), UNITS[::-1], LabelKind.MULTI)

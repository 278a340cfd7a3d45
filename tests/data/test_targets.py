"""Targets as text and as numbers, and what counts and splits make of clips that show several action units."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.annotations.targets import class_counts, names_of, target_numbers
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.protocols.counts import count
from fdp_lightning.data.protocols.splits import Fold, make_folds, rows_under_test
from fdp_lightning.labels import LabelKind

UNITS = ["AU1", "AU12", "AU2"]


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=20))
def test_names_and_numbers_say_the_same(shown: list[list[bool]]) -> None:
    texts = pd.Series(["+".join(u for u, there in zip(UNITS, row, strict=True) if there) for row in shown])
    numbers = target_numbers(texts, UNITS, LabelKind.MULTI)
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, np.array(shown))  # AU1 is not found in AU12
    assert class_counts(numbers, 3) == np.array(shown).sum(axis=0).tolist()
    table = pd.DataFrame({"target": texts, "dataset": "d", "subject": "s"})
    assert list(count(table, UNITS, LabelKind.MULTI)["classes"].values()) == class_counts(numbers, 3)


def test_a_class_is_a_number_and_a_stranger_is_an_error() -> None:
    numbers = target_numbers(pd.Series(["b", "a+b", "b"]), ["a+b", "b", "c"], LabelKind.SINGLE)
    assert numbers.tolist() == [1, 0, 1] and numbers.dtype == np.int64
    assert class_counts(numbers, 3) == [1, 2, 0]
    with pytest.raises(ValueError, match="AU9 are not among the classes AU1, AU12, AU2"):
        target_numbers(pd.Series(["AU1+AU9", ""]), UNITS, LabelKind.MULTI)
    with pytest.raises(ValueError, match="d are not among the classes"):
        target_numbers(pd.Series(["d"]), ["a"], LabelKind.SINGLE)
    assert names_of(pd.Series(["x+y", ""]), LabelKind.MULTI).tolist() == ["x", "y", ""]


def test_a_batch_holds_what_its_clips_show(store_folder_path: Path, casme2_clips: pd.DataFrame) -> None:
    classes = ["AU4", "AU12"]
    targets = ["AU4", "AU12", "", "AU4+AU12", ""] * 3
    data = FoldDataModule(
        store_folder_path,
        casme2_clips.assign(target=targets),
        classes,
        Fold("f", tuple(range(10)), tuple(range(10, 15))),
        batch_size=3,
        label_kind=LabelKind.MULTI,
    )
    expected = torch.tensor([[1.0, 0], [0, 1], [0, 0], [1, 1], [0, 0]])
    assert torch.equal(torch.cat([batch["target"] for batch in data.test_dataloader()]), expected)
    assert torch.equal(data.train_set.all_clips()["target"], expected.repeat(2, 1))
    assert data.fitted.class_counts == [4, 4]
    assert data.train_set[3]["target"].dtype == torch.float32


def test_k_folds_spread_each_unit_and_not_each_combination() -> None:
    """Spread by combination, one of these two folds would hold more than its half of some unit."""
    shows = {
        "0": ["AU1+AU2", "AU1+AU4", "AU2"], "1": ["AU4", "AU2+AU4", "AU2"], "2": ["AU1+AU4", "AU1+AU4", "AU1+AU2"],
        "3": ["AU1+AU2", "AU1+AU2", "AU1+AU2"], "4": ["AU2+AU4", "AU1+AU4", "AU1+AU4"],
        "5": ["AU2", "AU2+AU4", "AU2+AU4"],
    }  # fmt: skip
    rows = [(subject, target) for subject, targets in shows.items() for target in targets]
    clips = pd.DataFrame(rows, columns=["subject", "target"]).assign(dataset="d", split="")
    folds = make_folds(clips, "kfold", folds=2, kind=LabelKind.MULTI)
    assert rows_under_test(folds) == list(range(len(clips)))
    for fold in folds:
        test = clips.iloc[list(fold.test_rows)]
        assert test["target"].str.split("+").explode().value_counts().to_dict() == {"AU1": 5, "AU2": 6, "AU4": 5}
        assert not set(test["subject"]) & set(clips["subject"].iloc[list(fold.train_rows)])

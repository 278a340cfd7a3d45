"""Corrections: each with a reason, applied where the wrong value is, and nowhere else."""

import pandas as pd
import pytest

from fdp_lightning.data.annotations.clips import clip_table
from fdp_lightning.data.annotations.corrections import correct, correction_problems, known_errors


def one(dataset: str, subject: str, clip: str, onset: int, apex: int | None, offset: int) -> pd.DataFrame:
    row = {"dataset": dataset, "subject": subject, "clip": clip, "onset": onset, "apex": apex, "offset": offset}
    return clip_table(pd.DataFrame([row]))


def frames(table: pd.DataFrame) -> list[int | None]:
    return [None if pd.isna(value) else int(value) for value in table.loc[0, ["onset", "apex", "offset"]]]


CASES = [
    (("samm", "028", "028_4_1", 1071, 1143, 1134), [1071, 1143, 1134], [1071, None, 1134]),
    (("samm", "032", "032_3_1", 4896, 1930, 4970), [4896, 1930, 4970], [4896, 4930, 4970]),
    (("samm", "013", "013_1_9", 5700, 5720, 5793), [5700, 5720, 5739], [5700, 5720, 5739]),
    (("casme3a", "spNO.149", "d", 112, 83, 180), [112, 83, 180], [112, 160, 180]),
    (("casme3a", "spNO.216", "d", 3647, 2655, 2660), [3647, 2655, 2660], [2647, 2655, 2660]),
    (("casme3a", "spNO.40", "e", 1812, 1830, 0), [1812, 1830, 0], [1812, 1830, 1845]),
    (("casme3a", "spNO.40", "e", 2327, 2350, 0), [2327, 2350, 0], [2327, 2350, 2403]),
    (("casme3a", "spNO.216", "e", 0, 0, 12), [0, 0, 12], [1, 1, 12]),
    (("casme3a", "spNO.214", "c", 20, 27, 3460), [20, 27, 3460], [20, 27, 34]),
]


@pytest.mark.parametrize(("row", "official", "corrected"), CASES, ids=lambda value: str(value[2]))
def test_each_known_error_is_mended_at_its_level_and_named(
    row: tuple[str, str, str, int, int, int], official: list[int], corrected: list[int | None]
) -> None:
    table = one(*row)
    assert frames(correct(table, "none")) == list(row[3:]) == frames(table)
    assert frames(correct(table, "official")) == official
    assert frames(correct(table, "corrected")) == corrected
    named = correction_problems(table)
    assert named
    assert {problem.clip for problem in named} == {f"{row[0]}/{row[1]}/{row[2]}@{row[3]}"}


@pytest.mark.parametrize(("row", "official", "corrected"), CASES, ids=lambda value: str(value[2]))
def test_what_holds_another_value_is_left_alone(
    row: tuple[str, str, str, int, int, int], official: list[int], corrected: list[int | None]
) -> None:
    dataset, subject, clip, onset, *_ = row
    mended = one(dataset, subject, clip, onset + 1000, onset + 1001, onset + 1002)
    elsewhere = one("synthetic", *row[1:])
    for table in (mended, elsewhere):
        assert frames(correct(table, "corrected")) == frames(table)
        assert correction_problems(table) == []


def test_every_row_of_the_table_says_why_and_by_whom() -> None:
    errors = known_errors()
    assert (errors["reason"] != "").all()
    assert (errors["source"] != "").all()
    assert set(errors["level"]) <= {"", "official", "corrected"}
    assert not errors.duplicated(["dataset", "subject", "clip", "onset", "column"]).any()
    mends = errors[errors["level"] != ""]
    assert (mends["annotated"] != mends["corrected"]).all()

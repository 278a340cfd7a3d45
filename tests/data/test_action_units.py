"""Action units in cells of real tables, parsed or reported, and the targets that a protocol derives from them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.action_units import ActionUnit as Unit
from fdp_lightning.data.annotations.action_units import ActionUnits, parse
from fdp_lightning.data.annotations.clips import class_counts, names_of, target_numbers
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings
from fdp_lightning.labels import LabelKind


def either(*units: Unit) -> tuple[Unit, ...]:
    return tuple(replace(unit, uncertain=True) for unit in units)


@pytest.mark.parametrize(
    ("cell", "units"),
    [
        ("12", [Unit(12)]), ("12.0", [Unit(12)]), ("04", [Unit(4)]), ("4+R10", [Unit(4), Unit(10, side="right")]),
        ("r12+l14", [Unit(12, side="right"), Unit(14, side="left")]), ("12L", [Unit(12, side="left")]),
        ("R14A", [Unit(14, side="right", intensity="A")]), ("14AR", [Unit(14, side="right", intensity="A")]),
        ("12D", [Unit(12, intensity="D")]), ("D12+M4", [Unit(12, prefix="D"), Unit(4, prefix="M")]),
        ("D12E", [Unit(12, prefix="D", intensity="E")]), ("DL12", [Unit(12, prefix="D", side="left")]),
        ("M4R", [Unit(4, prefix="M", side="right")]), ("4 ?", [Unit(4, uncertain=True)]),
        ("4 (K), 7", [Unit(4, static=True), Unit(7)]), ("7(k)?", [Unit(7, static=True, uncertain=True)]),
        ("AUs 1, 2", [Unit(1), Unit(2)]), ("L AU 12", [Unit(12, side="left")]), ("AUL12", [Unit(12, side="left")]),
        ("12 L 7", [Unit(12), Unit(7, side="left")]),  # between two numbers: belongs to the second
        ("１２＋Ｌ７；４？", [Unit(12), Unit(7, side="left"), Unit(4, uncertain=True)]),
        ("14or", [Unit(14, uncertain=True)]), ("or 14", [Unit(14, uncertain=True)]), ("", []), ("/", []), ("+\n", []),
    ],
)  # fmt: skip
def test_units_with_side_intensity_doubt_and_prefix(cell: str, units: list[Unit]) -> None:
    assert parse(cell) == ActionUnits(units=tuple(units))
    assert parse(cell).uncertain == any(unit.uncertain for unit in units)


@pytest.mark.parametrize(
    "cell", ["14or23", "14 OR\n23", "AU14 or AU23", "14或23", "14?or23", "(14 or 23)", "14 (or 23)", "(14) or (23)"]
)
def test_alternatives_are_a_group_of_uncertain_units_and_not_among_the_numbers(cell: str) -> None:
    units = parse(cell)
    assert units == ActionUnits(alternatives=(either(Unit(14), Unit(23)),))
    assert (units.uncertain, units.numbers) == (True, ())
    # "or" binds closer than "+" and takes any number of units.
    several = (either(Unit(10, side="right"), Unit(11), Unit(14, intensity="A")),)
    assert parse("12+R10or11or14A+4") == ActionUnits(units=(Unit(12), Unit(4)), alternatives=several)


def test_unknown_and_neutral_cells_and_half_an_alternative() -> None:
    for cell in ("?", "??", " ？ "):
        assert parse(cell) == ActionUnits(unknown=True) and parse(cell).uncertain
    for cell in ("0", "0.0", "AU0"):
        assert parse(cell) == ActionUnits(neutral=True) and not parse(cell).uncertain
    assert parse("4+?") == ActionUnits(units=(Unit(4),), unknown=True)  # AU4 itself is not uncertain
    assert parse("14 or x") == ActionUnits(units=(Unit(14, uncertain=True),), unreadable=("x",))


@pytest.mark.parametrize(
    "word", ["e43", "123", "12.5", "L12R", "LL12", "12AB", "UA12", "C12", "12M", "0?", "nan", "or", "-", "4-7", "(4"]
)
def test_words_that_cannot_be_parsed_are_kept_and_hide_nothing_else(word: str) -> None:
    assert parse(word) == ActionUnits(unreadable=(word,))
    assert parse(f"4+{word}+7") == ActionUnits(units=(Unit(4), Unit(7)), unreadable=(word,))
    for other in ("4²", "12(3)"):  # neither 42 nor 123
        assert (parse(other).numbers, len(parse(other).unreadable)) == ((), 1)


@given(st.text() | st.text(alphabet="0147LRDMABEKaulr+,，、;/& ?()or.x或\u0301\0\n", max_size=12))
def test_any_text_is_parsed_and_the_result_is_stable(text: str) -> None:
    units = parse(text)
    assert parse(str(units)) == units
    assert all(1 <= unit.number <= 99 for group in (units.units, *units.alternatives) for unit in group)


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("A9+12", [9, 12]), ("A1B+A2C", [1, 2]), ("7C+A12B", [7, 12]), ("A9E+ref(10)", [9, 10]), ("T23", [23]),
        ("ref(L10)+A12B", [10, 12]), ("a12b + l14", [12, 14]), ("ad29b+26", [26, 29]), ("AL12C", [12]),
        ("LT10A, TR10", [10]), ("4 + A 12 B", [4, 12]), ("AU-12", [12]), ("12 (B)", [12]), ("(L)12", [12]),
        ("(4+7)", [4, 7]), ("[4,7]", [4, 7]), ("A(12)", [12]), ("ref(R10A, 12)", [10, 12]), ("ref10+4", [4, 10]),
        ("①②", [1, 2]), ("4\u200b+\ufeff7", [4, 7]), ("1 and 2和3与4|5", [1, 2, 3, 4, 5]),
        ("1+2,3，4、5;6；7/8 9&10＋11\n12\u00a0+\u300013", [*range(1, 14)]),
    ],
)  # fmt: skip
def test_every_published_notation_is_parsed(cell: str, numbers: list[int]) -> None:
    units = parse(cell)
    assert units.numbers == tuple(numbers)
    assert not units.unreadable


# The published row of SAMM in CD6ME, the five cells with "or" that its authors decided, and cells that can be parsed
# only with FACS notation.
SAMM_ROW = {
    "AU1": 6, "AU2": 18, "AU4": 23, "AU5": 10, "AU6": 3, "AU7": 46, "AU9": 5, "AU10": 6, "AU12": 28, "AU14": 13,
    "AU15": 4, "AU17": 6,
}  # fmt: skip
WITH_OR = {
    "007/007_6_1": "R12 + R15 or L15", "007/007_6_5": "R12 + (R15 or L15)", "011/011_4_2": "L14 or L12",
    "014/014_5_2": "R14 or R12", "035/035_7_2": "R14A or 20A",
}  # fmt: skip
ODD_CELLS = [
    "A12", "A7", "A9+12", "A1B+A2C", "A14C", "7C+A12B", "A9E+ref(10)", "ref(L10)+A12B", "A12B", "A12C", "T10", "AL12",
    "A14", "ref(R10)", "A7B", "AR12",
]  # fmt: skip


@cache
def cd6me() -> Protocol:
    return settings(Protocol, configuration("protocol=cd6me").protocol)


def samm(cells: dict[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame([name.split("/") for name in cells], columns=["subject", "clip"])
    return frame.assign(dataset="samm", onset=1, emotion="", objective="", split="", action_units=list(cells.values()))


def counted(targets: pd.Series) -> dict[str, int]:
    return targets[targets != ""].str.split("+").explode().value_counts().to_dict()


def test_samm_has_its_published_counts_in_cd6me() -> None:
    odd = {f"099/odd_{n}": cell for n, cell in enumerate(ODD_CELLS)}
    part = cd6me().of("samm")
    from_odd = counted(part.choose(samm(odd))["target"])
    assert sum(from_odd.values()) == 21
    # Alternatives are decided for these five clips only.
    decided = part.choose(samm(WITH_OR | {"006/006_1_2": "L14 or L12"}))["target"]
    assert decided.tolist() == ["AU12+AU15", "AU12+AU15", "AU14", "AU14", "AU14", ""]
    plain = {name: n - from_odd.get(name, 0) - counted(decided).get(name, 0) for name, n in SAMM_ROW.items()}
    cells = odd | {f"098/{name}_{n}": name[2:] for name, count in plain.items() for n in range(count)} | WITH_OR
    assert counted(part.apply(samm(cells))["target"]) == SAMM_ROW
    assert sum(SAMM_ROW.values()) == 168


def test_an_unknown_notation_stops_a_protocol_of_units_and_names_cell_and_clip() -> None:
    clips = samm({"006/006_1_2": "4+x9", "007/007_3_1": "4", "007/007_3_2": "12"})
    with pytest.raises(UserError) as caught:
        cd6me().of("samm").apply(clips)
    for part in ("4+x9", "006/006_1_2", "protocol.read_as", "protocol.strict=false"):
        assert part in str(caught.value)
    assert "007/007_3_1" not in str(caught.value)


def test_a_user_can_state_what_a_cell_means_or_leave_out_the_clip() -> None:
    clips = samm({"006/006_1_2": "4+x9", "007/007_3_1": "4"})
    part = cd6me().of("samm")
    meant = {"006/006_1_2": "4+9", "007/007_3_1": "12"}  # the second cell is unambiguous by itself
    named = Protocol(**{**vars(part), "read_as": meant})
    assert named.apply(clips)["target"].tolist() == ["AU4+AU9", "AU4"]
    accepted = Protocol(**{**vars(part), "strict": False})
    assert accepted.apply(clips)["clip"].tolist() == ["007_3_1"]  # an unknown unit does not count as not shown
    left_out = accepted.left_out(clips)
    assert left_out["clip"].tolist() == ["006_1_2"] and "x9" in left_out["why"][0]
    assert accepted.differences(accepted.choose(clips), clips)


UNITS = ["AU1", "AU12", "AU2"]


def test_classes_are_numbered_and_an_unknown_one_is_refused() -> None:
    numbers = target_numbers(pd.Series(["b", "a+b", "b"]), ["a+b", "b", "c"], LabelKind.SINGLE)
    assert numbers.tolist() == [1, 0, 1] and numbers.dtype == np.int64
    assert class_counts(numbers, 3) == [1, 2, 0]
    shown = target_numbers(pd.Series(["AU1+AU12", "AU12", ""]), UNITS, LabelKind.MULTI)
    assert shown.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]] and shown.dtype == np.float32
    assert class_counts(shown, 3) == [1, 2, 0]
    for target, classes, kind in (("AU1+AU9", UNITS, LabelKind.MULTI), ("AU9", ["a"], LabelKind.SINGLE)):
        with pytest.raises(ValueError, match="AU9"):
            target_numbers(pd.Series([target]), classes, kind)
    assert names_of(pd.Series(["x+y", ""]), LabelKind.MULTI).tolist() == ["x", "y", ""]

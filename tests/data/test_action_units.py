"""Action units in cells of real tables: every notation is read to the unit, or named, and nothing makes it fail."""

from functools import cache

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.action_units import ActionUnit, ActionUnits, parse
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings


def unit(number: int, **more: object) -> ActionUnit:
    return ActionUnit(number, **more)


def either(*units: ActionUnit) -> tuple[ActionUnit, ...]:
    return tuple(ActionUnit(u.number, u.side, u.intensity, True, u.static, u.prefix) for u in units)


@pytest.mark.parametrize(
    ("cell", "units"),
    [
        ("12", [unit(12)]), ("12.0", [unit(12)]), ("04", [unit(4)]), ("4+R10", [unit(4), unit(10, side="right")]),
        ("r12+l14", [unit(12, side="right"), unit(14, side="left")]), ("12L", [unit(12, side="left")]),
        ("R14A", [unit(14, side="right", intensity="A")]), ("14AR", [unit(14, side="right", intensity="A")]),
        ("12D", [unit(12, intensity="D")]), ("D12+M4", [unit(12, prefix="D"), unit(4, prefix="M")]),
        ("D12E", [unit(12, prefix="D", intensity="E")]), ("DL12", [unit(12, prefix="D", side="left")]),
        ("M4R", [unit(4, prefix="M", side="right")]), ("4 ?", [unit(4, uncertain=True)]),
        ("4 (K), 7", [unit(4, static=True), unit(7)]), ("7(k)?", [unit(7, static=True, uncertain=True)]),
        ("AUs 1, 2", [unit(1), unit(2)]), ("L AU 12", [unit(12, side="left")]), ("AUL12", [unit(12, side="left")]),
        ("12 L 7", [unit(12), unit(7, side="left")]),  # between two numbers: the second's
        ("１２＋Ｌ７；４？", [unit(12), unit(7, side="left"), unit(4, uncertain=True)]),
        ("1;2/4&5 6\n7", [unit(n) for n in (1, 2, 4, 5, 6, 7)]), ("4\u00a0+\u30007", [unit(4), unit(7)]),
    ],
)  # fmt: skip
def test_units_with_side_intensity_doubt_and_prefix(cell: str, units: list[ActionUnit]) -> None:
    assert parse(cell) == ActionUnits(units=tuple(units))


@pytest.mark.parametrize("cell", ["14or23", "14 OR\n23", "AU14 or AU23", "14或23", "14?or23"])
def test_alternatives_are_one_group_of_uncertain_units_and_not_among_the_numbers(cell: str) -> None:
    units = parse(cell)
    assert units == ActionUnits(alternatives=(either(unit(14), unit(23)),))
    assert (units.uncertain, units.numbers) == (True, ())


def test_or_binds_closer_than_plus_and_takes_any_number_of_units() -> None:
    units = parse("12+R10or11or14A+4")
    assert units.units == (unit(12), unit(4))
    assert units.alternatives == (either(unit(10, side="right"), unit(11), unit(14, intensity="A")),)
    assert units.numbers == (4, 12)


@pytest.mark.parametrize(
    ("cell", "expected", "uncertain"),
    [
        *((cell, ActionUnits(unknown=True), True) for cell in ("?", "??", " ？ ")),
        ("4+?", ActionUnits(units=(unit(4),), unknown=True), True),  # which does not make that unit uncertain
        *((cell, ActionUnits(), False) for cell in ("", " ", "/", "+", "\n")),
        *((cell, ActionUnits(neutral=True), False) for cell in ("0", "0.0", "AU0")),
        *((cell, ActionUnits(units=(unit(14, uncertain=True),)), True) for cell in ("14or", "or 14")),
        ("14 or x", ActionUnits(units=(unit(14, uncertain=True),), unreadable=("x",)), True),
    ],
)
def test_cells_of_no_or_half_a_unit(cell: str, expected: ActionUnits, uncertain: bool) -> None:
    assert parse(cell) == expected
    assert parse(cell).uncertain == uncertain


@pytest.mark.parametrize(
    "word",
    ["e43", "123", "12.5", "L12R", "LL12", "12AB", "LD12", "12M", "L0", "0?", "nan", "or", "-", "4-7", "(4", "A"],
)
def test_what_is_not_understood_is_kept_as_written_and_hides_nothing_else(word: str) -> None:
    assert parse(word) == ActionUnits(unreadable=(word,))
    assert parse(f"4+{word}+7") == ActionUnits(units=(unit(4), unit(7)), unreadable=(word,))


_UNITS = st.builds(
    ActionUnit,
    number=st.integers(1, 99),
    side=st.sampled_from(["", "left", "right"]),
    intensity=st.sampled_from(["", *"ABCDE"]),
    uncertain=st.booleans(),
    static=st.booleans(),
    prefix=st.sampled_from(["", "A", "U", "T", "B", "AT", "BA", "D", "M", "DT", "MA"]),
    reference=st.booleans(),
)
_CELLS = st.builds(
    ActionUnits,
    units=st.lists(_UNITS, max_size=4).map(tuple),
    alternatives=st.lists(st.lists(_UNITS, min_size=2, max_size=3).map(lambda u: either(*u)), max_size=2).map(tuple),
    unknown=st.booleans(),
    neutral=st.booleans(),
)


@given(_CELLS)
def test_every_reading_is_written_so_that_it_is_read_again(units: ActionUnits) -> None:
    assert parse(str(units)) == units


@given(st.text() | st.text(alphabet="0147LRDMABEKaulr+,，、;/& ?()or.x或\u0301\0\n", max_size=12))
def test_no_text_makes_the_parser_fail_and_its_reading_is_stable(text: str) -> None:
    units = parse(text)
    assert parse(str(units)) == units
    assert all(1 <= unit.number <= 99 for group in (units.units, *units.alternatives) for unit in group)


@given(
    st.lists(st.integers(1, 99), min_size=1), st.sampled_from(["+", ",", "，", "、", ";", "；", "/", " ", "&", "＋"])
)
def test_numbers_between_any_separators_are_all_found(numbers: list[int], separator: str) -> None:
    assert parse(separator.join(map(str, numbers))) == ActionUnits(units=tuple(unit(n) for n in numbers))


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("A9+12", [9, 12]), ("A1B+A2C", [1, 2]), ("7C+A12B", [7, 12]), ("A9E+ref(10)", [9, 10]), ("T23", [23]),
        ("ref(L10)+A12B", [10, 12]), ("a12b + l14", [12, 14]), ("B25", [25]), ("U14", [14]), ("ad29b+26", [26, 29]),
        ("AL12C", [12]), ("LA12", [12]), ("LT10A, TR10", [10]), ("4 + A 12 B", [4, 12]), ("AU A12", [12]),
        ("AU-12", [12]), ("12 (B)", [12]), ("(L)12", [12]), ("12(?)", [12]), ("4+(7)", [4, 7]), ("(4+7)", [4, 7]),
        ("[4,7]", [4, 7]), ("A(12)", [12]), ("L(12B)", [12]), ("Ref(9+L10)", [9, 10]), ("ref(R10A, 12)", [10, 12]),
        ("ref10+4", [4, 10]), ("ref(10)?", [10]), ("1 and 2", [1, 2]), ("1和2", [1, 2]), ("1|2", [1, 2]),
    ],
)  # fmt: skip
def test_every_unit_of_the_notation_is_read(cell: str, numbers: list[int]) -> None:
    units = parse(cell)
    assert units.numbers == tuple(numbers)
    assert not units.unreadable


@pytest.mark.parametrize("cell", ["(4 or 7)", "4 (or 7)", "4(or 7)", "ref(4) or A7", "(A4) or (7B)", "ref(4 or 7)"])
def test_alternatives_are_alternatives_within_parentheses_too(cell: str) -> None:
    units = parse(cell)
    assert [[unit.number for unit in group] for group in units.alternatives] == [[4, 7]]
    assert not units.units and not units.unreadable


@pytest.mark.parametrize("cell", ["12(3)", "UA12", "TB25", "AA12", "C12", "12/b", "x12", "#", "ref()x", "12 (weak)"])
def test_what_nobody_knows_is_kept_and_not_guessed_at(cell: str) -> None:
    assert parse(f"4+{cell}").unreadable
    assert 4 in parse(f"4+{cell}").numbers


# The published row of SAMM in CD6ME, and the five cells with "or" that its authors decided.
SAMM_ROW = {
    "AU1": 6, "AU2": 18, "AU4": 23, "AU5": 10, "AU6": 3, "AU7": 46, "AU9": 5, "AU10": 6, "AU12": 28, "AU14": 13,
    "AU15": 4, "AU17": 6,
}  # fmt: skip
WITH_OR = {
    "007/007_6_1": ("R12 + R15 or L15", "AU12+AU15"),
    "007/007_6_5": ("R12 + (R15 or L15)", "AU12+AU15"),
    "011/011_4_2": ("L14 or L12", "AU14"),
    "014/014_5_2": ("R14 or R12", "AU14"),
    "035/035_7_2": ("R14A or 20A", "AU14"),
}
# 21 labels that only FACS notation gives.
ODD_CELLS = [
    "A12", "A7", "A9+12", "A1B+A2C", "A14C", "7C+A12B", "A9E+ref(10)", "ref(L10)+A12B", "A12B", "A12C", "T10", "AL12",
    "A14", "ref(R10)", "A7B", "AR12",
]  # fmt: skip


@cache
def cd6me() -> Protocol:
    return settings(Protocol, configuration("protocol=cd6me").protocol)


def samm(cells: dict[str, str]) -> pd.DataFrame:
    names = [name.split("/") for name in cells]
    frame = pd.DataFrame(names, columns=["subject", "clip"])
    return frame.assign(dataset="samm", onset=1, emotion="", objective="", split="", action_units=list(cells.values()))


def counted(targets: pd.Series) -> dict[str, int]:
    return targets[targets != ""].str.split("+").explode().value_counts().to_dict()


def test_the_row_of_samm_in_cd6me_is_as_published_with_odd_cells_and_decided_alternatives() -> None:
    cells = {f"099/odd_{n}": cell for n, cell in enumerate(ODD_CELLS)}
    part = cd6me().of("samm")
    from_odd = counted(part.choose(samm(cells))["target"])
    assert sum(from_odd.values()) == 21
    from_or = counted(part.choose(samm({name: cell for name, (cell, _) in WITH_OR.items()}))["target"])
    assert from_or == {"AU12": 2, "AU14": 3, "AU15": 2}
    plain = {name: n - from_odd.get(name, 0) - from_or.get(name, 0) for name, n in SAMM_ROW.items()}
    cells |= {f"098/{name}_{n}": name[2:] for name, count in plain.items() for n in range(count)}
    chosen = part.apply(samm(cells | {name: cell for name, (cell, _) in WITH_OR.items()}))
    assert counted(chosen["target"]) == SAMM_ROW
    assert sum(SAMM_ROW.values()) == 168
    # The decided alternatives are those of the five clips alone.
    cells = {name: cell for name, (cell, _) in WITH_OR.items()} | {"006/006_1_2": "L14 or L12"}
    decided = part.choose(samm(cells))
    targets = dict(zip(decided["subject"] + "/" + decided["clip"], decided["target"], strict=True))
    assert targets == {**{name: target for name, (_, target) in WITH_OR.items()}, "006/006_1_2": ""}


@pytest.mark.parametrize("cell", ["4+x9", "C12"])
def test_a_notation_nobody_knows_stops_a_protocol_of_units_and_names_cell_and_clip(cell: str) -> None:
    clips = samm({"006/006_1_2": cell, "007/007_3_1": "4", "007/007_3_2": "12"})
    with pytest.raises(UserError) as caught:
        cd6me().of("samm").apply(clips)
    for part in (cell, "006/006_1_2", "protocol.read_as", "protocol.strict=false"):
        assert part in str(caught.value)
    assert "007/007_3_1" not in str(caught.value)


def test_a_user_can_say_what_a_cell_means_or_do_without_the_clip() -> None:
    clips = samm({"006/006_1_2": "4+x9", "007/007_3_1": "4"})
    part = cd6me().of("samm")
    named = Protocol(**{**vars(part), "read_as": {"006/006_1_2": "4+9"}})
    assert named.apply(clips)["target"].tolist() == ["AU4+AU9", "AU4"]
    accepted = Protocol(**{**vars(part), "strict": False})
    assert accepted.apply(clips)["clip"].tolist() == ["007_3_1"]  # what is unknown is not "not shown"
    left_out = accepted.left_out(clips)
    assert left_out["clip"].tolist() == ["006_1_2"] and "x9" in left_out["why"][0]
    assert accepted.differences(accepted.choose(clips), clips)

"""The parser of action units: every way a dataset writes them, and nothing that makes it fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.annotations.action_units import ActionUnit, ActionUnits, parse


def unit(number: int, **more: object) -> ActionUnit:
    return ActionUnit(number, **more)


def either(*units: ActionUnit) -> tuple[ActionUnit, ...]:
    return tuple(ActionUnit(u.number, u.side, u.intensity, True, u.static, u.prefix) for u in units)


@pytest.mark.parametrize(
    ("cell", "units"),
    [
        ("12", [unit(12)]),
        ("12.0", [unit(12)]),  # a number that went through a float
        ("04", [unit(4)]),
        ("4+R10", [unit(4), unit(10, side="right")]),
        ("L7+L10", [unit(7, side="left"), unit(10, side="left")]),
        ("12L", [unit(12, side="left")]),
        ("r12+l14", [unit(12, side="right"), unit(14, side="left")]),
        ("R14A", [unit(14, side="right", intensity="A")]),
        ("14AR", [unit(14, side="right", intensity="A")]),
        ("12b", [unit(12, intensity="B")]),
        ("12D", [unit(12, intensity="D")]),
        ("D12+M4", [unit(12, prefix="D"), unit(4, prefix="M")]),
        ("D12E", [unit(12, prefix="D", intensity="E")]),
        ("DL12", [unit(12, prefix="D", side="left")]),
        ("M4R", [unit(4, prefix="M", side="right")]),
        ("4?", [unit(4, uncertain=True)]),
        ("4 ?", [unit(4, uncertain=True)]),
        ("?4", [unit(4, uncertain=True)]),
        ("4+7(k)", [unit(4), unit(7, static=True)]),
        ("4 (K), 7", [unit(4, static=True), unit(7)]),
        ("7(k)?", [unit(7, static=True, uncertain=True)]),
        ("AU4", [unit(4)]),
        ("au 12", [unit(12)]),
        ("AUs 1, 2", [unit(1), unit(2)]),
        ("L AU 12", [unit(12, side="left")]),
        ("AUL12", [unit(12, side="left")]),
        ("12 L", [unit(12, side="left")]),
        ("L 12", [unit(12, side="left")]),
        ("12 L 7", [unit(12), unit(7, side="left")]),  # between two numbers: the second's
        ("1，2、4", [unit(1), unit(2), unit(4)]),
        ("１２＋Ｌ７；４？", [unit(12), unit(7, side="left"), unit(4, uncertain=True)]),
        ("1;2/4&5 6\n7", [unit(n) for n in (1, 2, 4, 5, 6, 7)]),
        ("+4++7+", [unit(4), unit(7)]),
        ("4\u00a0+\u30007", [unit(4), unit(7)]),  # blanks of other kinds
    ],
)
def test_units_with_side_intensity_doubt_and_prefix(cell: str, units: list[ActionUnit]) -> None:
    assert parse(cell) == ActionUnits(units=tuple(units))


@pytest.mark.parametrize("cell", ["14or23", "14 or 23", "14 OR\n23", "AU14 or AU23", "14或23", "14?or23"])
def test_alternatives_are_one_group_of_uncertain_units_and_not_among_the_numbers(cell: str) -> None:
    units = parse(cell)
    assert units == ActionUnits(alternatives=(either(unit(14), unit(23)),))
    assert units.uncertain
    assert units.numbers == ()
    assert units.possible_numbers == (14, 23)


def test_or_binds_closer_than_plus_and_takes_any_number_of_units() -> None:
    units = parse("12+R10or11or14A+4")
    assert units.units == (unit(12), unit(4))
    assert units.alternatives == (either(unit(10, side="right"), unit(11), unit(14, intensity="A")),)
    assert units.numbers == (4, 12)
    assert units.possible_numbers == (4, 10, 11, 12, 14)


@pytest.mark.parametrize(
    ("cell", "unreadable"), [("14or", ()), ("or 14", ()), ("14 or x", ("x",)), ("14or123", ("123",))]
)
def test_an_or_with_one_unit_leaves_that_one_uncertain(cell: str, unreadable: tuple[()] | tuple[str]) -> None:
    assert parse(cell) == ActionUnits(units=(unit(14, uncertain=True),), unreadable=unreadable)


@pytest.mark.parametrize("cell", ["?", "??", " ？ "])
def test_a_lone_question_mark_is_uncertain_without_a_unit(cell: str) -> None:
    assert parse(cell) == ActionUnits(unknown=True)
    assert parse(cell).uncertain


def test_a_lone_question_mark_beside_a_unit_does_not_make_that_unit_uncertain() -> None:
    units = parse("4+?")
    assert units == ActionUnits(units=(unit(4),), unknown=True)
    assert units.uncertain


@pytest.mark.parametrize("cell", ["", " ", "/", "+", "\n"])
def test_a_blank_cell_says_nothing(cell: str) -> None:
    assert parse(cell) == ActionUnits()
    assert not parse(cell).uncertain


@pytest.mark.parametrize("cell", ["0", "0.0", "AU0", "00"])
def test_zero_is_the_neutral_face_and_no_unit(cell: str) -> None:
    assert parse(cell) == ActionUnits(neutral=True)


@pytest.mark.parametrize(
    "word",
    [
        "e43", "123", "12.5", "L12R", "LL12", "12AB", "LD12", "DM12", "12M", "L0", "0?", "nan", "floor", "or", "-",
        "4-7", "(4", "A",
    ],
)  # fmt: skip
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
    assert all(1 <= number <= 99 for number in units.possible_numbers)


@given(
    st.lists(st.integers(1, 99), min_size=1), st.sampled_from(["+", ",", "，", "、", ";", "；", "/", " ", "&", "＋"])
)
def test_numbers_between_any_separators_are_all_found(numbers: list[int], separator: str) -> None:
    assert parse(separator.join(map(str, numbers))) == ActionUnits(units=tuple(unit(n) for n in numbers))

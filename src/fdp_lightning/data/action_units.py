"""Action units (FACS) as the datasets write them: '4+R10', '12L', '14or23', 'R14A', '4(k)', '?'."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast

Side = Literal["", "left", "right"]
Prefix = Literal["", "D", "M"]
Intensity = Literal["", "A", "B", "C", "D", "E"]

_LARGEST = 99  # FACS has no code of three digits
_SEPARATORS = re.compile(r"[+,、;/&]")
_OR = re.compile(r" ?(?:or|或) ?", re.IGNORECASE)
_ALTERNATIVE = "\0"  # what a written "or" is while a cell is taken apart
_UNIT = re.compile(
    r"(?P<doubt_before>\?*)(?:AUS?)?(?P<prefix>[DM]?)(?P<before>[LR]?)(?:AU)?(?P<number>[0-9]{1,3})(?:\.0*)?"
    r"(?P<first>[A-ELR]?)(?P<second>[A-ELR]?)(?P<marks>(?:\?|\(K\))*)",
    re.IGNORECASE | re.ASCII,
)
# Blanks that part nothing: 'AU 12', 'L 12' and '12 L', '4 ?', '4 (k)'. A letter between two numbers is the second's.
_BLANK_BEHIND_PREFIX = re.compile(r"(?<![0-9A-Z])(AUS?|[LRDM]) (?=[LRDM]? ?(?:AU ?)?[0-9])", re.IGNORECASE | re.ASCII)
_BLANK_BEFORE_SUFFIX = re.compile(r"(?<=[0-9A-ELR)?.]) (?=(?:[A-ELR]|\?+|\(K\))(?:[ \0]|$))", re.IGNORECASE | re.ASCII)
_SIDES: dict[str, Side] = {"L": "left", "R": "right"}


@dataclass(frozen=True)
class ActionUnit:
    """One unit of a cell.

    Attributes:
        number: of the unit, 1 to 99.
        side: where a letter L or R before or after the number says so.
        intensity: a letter A (trace) to E (maximum) after the number.
        uncertain: it has a question mark, or is one of several alternatives.
        static: 4DME's "(k)": the unit is there throughout and does not move.
        prefix: D or M before the number, in DFME. What they mean is not documented; the letter is kept.
    """

    number: int
    side: Side = ""
    intensity: Intensity = ""
    uncertain: bool = False
    static: bool = False
    prefix: Prefix = ""

    def __str__(self) -> str:
        return self._code() + ("?" if self.uncertain else "")

    def _code(self) -> str:
        """The unit without its question mark."""
        static = "(k)" if self.static else ""
        return f"{self.prefix}{self.side[:1].upper()}{self.number}{self.intensity}{static}"


@dataclass(frozen=True)
class ActionUnits:
    """What a cell of action units says. `str()` writes it so that `parse` reads the same again.

    Attributes:
        units: those annotated, in the order of the cell; uncertain ones ('4?') are among them.
        alternatives: groups of which one is meant ('14or23'); each unit of a group is uncertain.
        unknown: a lone '?': there is something that the annotators could not name.
        neutral: a 0, which in FACS is the neutral face: looked at, and nothing moves. A blank cell is not that.
        unreadable: the words nobody here understands, as written.
    """

    units: tuple[ActionUnit, ...] = ()
    alternatives: tuple[tuple[ActionUnit, ...], ...] = ()
    unknown: bool = False
    neutral: bool = False
    unreadable: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of `units`, each once, ascending: with the uncertain ones, without `alternatives`."""
        return _distinct(self.units)

    @property
    def possible_numbers(self) -> tuple[int, ...]:
        """The numbers of `units` and of all `alternatives`, each once, ascending."""
        return _distinct([*self.units, *(unit for group in self.alternatives for unit in group)])

    @property
    def uncertain(self) -> bool:
        """Whether anything in the cell is uncertain."""
        return self.unknown or bool(self.alternatives) or any(unit.uncertain for unit in self.units)

    def __str__(self) -> str:
        words = [str(unit) for unit in self.units]
        words += ["or".join(unit._code() for unit in group) for group in self.alternatives]
        words += ["0"] * self.neutral + ["?"] * self.unknown
        return "+".join([*words, *self.unreadable])


def parse(cell: str) -> ActionUnits:
    """Read a cell of action units; any text is read, and what is not understood is in `unreadable`.

    Units are parted by + , 、 ; / & or blanks, full-width or not. A unit is a number ('12', '12.0', 'AU12') with a
    side L or R before or after it, a D or M before it, an intensity A to E after it, and '?' or '(k)', in either case
    of letters. 'or' (also 或) between units makes them alternatives; with nothing on its other side it is a doubt.

    >>> parse("4+R10").numbers
    (4, 10)
    """
    text = _OR.sub(_ALTERNATIVE, " ".join(unicodedata.normalize("NFKC", cell).replace(_ALTERNATIVE, " ").split()))
    units: list[ActionUnit] = []
    alternatives: list[tuple[ActionUnit, ...]] = []
    unreadable: list[str] = []
    unknown = neutral = False
    for chunk in _SEPARATORS.split(text):
        tight = _BLANK_BEFORE_SUFFIX.sub("", _BLANK_BEHIND_PREFIX.sub(r"\1", chunk))
        for word in tight.split():
            parts = word.split(_ALTERNATIVE)
            found = [_read(part) for part in parts]
            if len(parts) > 1 and not any(found):
                # No unit on either side: the letters 'or' belong to a word. Joining can compose its accents anew.
                unreadable.append(unicodedata.normalize("NFKC", word.replace(_ALTERNATIVE, "or")))
                continue
            readings = [reading for reading in found if isinstance(reading, ActionUnit)]
            unknown |= "?" in found
            neutral |= "0" in found
            unreadable += [part for part, reading in zip(parts, found, strict=True) if part and not reading]
            if len(parts) > 1:
                readings = [replace(unit, uncertain=True) for unit in readings]
            if len(readings) > 1:
                alternatives.append(tuple(readings))
            else:
                units += readings
    return ActionUnits(tuple(units), tuple(alternatives), unknown, neutral, tuple(unreadable))


def _read(word: str) -> ActionUnit | Literal["", "?", "0"]:
    """One word without blanks: a unit, '?' for a lone question mark, '0' for the neutral face, or '' for neither."""
    if word and not word.strip("?"):
        return "?"
    match = _UNIT.fullmatch(word)
    if match is None or int(match["number"]) > _LARGEST:
        return ""
    prefix, before, first, second = (match[name].upper() for name in ("prefix", "before", "first", "second"))
    marks = match["doubt_before"] + match["marks"].upper()
    number = int(match["number"])
    if number == 0:
        return "0" if not (prefix or before or first or second or marks) else ""
    sides = [letter for letter in (before, first, second) if letter in _SIDES]
    intensities = [letter for letter in (first, second) if letter and letter in "ABCDE"]
    if len(sides) > 1 or len(intensities) > 1:  # two of a kind contradict each other
        return ""
    return ActionUnit(
        number,
        side=_SIDES[sides[0]] if sides else "",
        intensity=cast(Intensity, intensities[0] if intensities else ""),
        uncertain="?" in marks,
        static="K" in marks,
        prefix=cast(Prefix, prefix),
    )


def _distinct(units: Iterable[ActionUnit]) -> tuple[int, ...]:
    return tuple(sorted({unit.number for unit in units}))

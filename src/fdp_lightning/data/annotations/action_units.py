"""Parsing of action units (FACS) as datasets write them ('4+R10', '12L', '14or23', '4(k)', '?')."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import pandas as pd

from fdp_lightning.data.annotations.clips import name_clips
from fdp_lightning.errors import UserError
from fdp_lightning.labels import JOIN

Side = Literal["", "left", "right"]
Intensity = Literal["", "A", "B", "C", "D", "E"]
_LARGEST = 99  # FACS has no three-digit codes
_FLAGS = re.IGNORECASE | re.ASCII
_SEPARATORS = re.compile(r"[+,、;/&|]|\band\b|和|与", re.IGNORECASE)
_OR = re.compile(r" ?(?:or|或) ?", re.IGNORECASE)
# Placeholders for a written "or", "ref" and "(k)" while a cell is parsed.
_ALTERNATIVE, _REFERENCE, _STATIC = "\0", "\1", "\2"
_LETTERS = "[LRATBU]"
_UNIT = re.compile(
    rf"(?P<doubt_before>\?*)(?P<reference>{_REFERENCE}?)(?:(?:AUS?|AD)[.:#_-]?)?(?P<family>[DM]?)(?P<before>{_LETTERS}{{0,3}}?)"
    r"(?:AU|AD)?(?P<number>[0-9]{1,3})(?:\.0*)?"
    rf"(?P<first>[A-ELR]?)(?P<second>[A-ELR]?)(?P<marks>[?{_STATIC}]*)",
    _FLAGS,
)
_EXCLUSIVE = ("LR", "AU", "TB")  # a unit has at most one letter of each pair
# Spaces within a unit: 'AU 12', 'L 12' and '12 L', '4 ?', '4 (k)'. Between two numbers, the letters D, M, L and R
# belong to the second; other letters belong to the first, because they may be its intensity.
_BLANK_BEHIND_PREFIX = re.compile(
    rf"(?<![0-9A-Z])(AUS?|AD|[LRDM]|(?<![0-9A-Z)?.] ){_LETTERS}{{1,3}}) (?=[DM]?{_LETTERS}{{0,3}} ?(?:AU ?)?[0-9])",
    _FLAGS,
)
_BLANK_BEFORE_SUFFIX = re.compile(
    rf"(?<=[0-9A-ELR{_STATIC}?.]) (?=(?:[A-ELR]|\?+|{_STATIC})(?:[ {_ALTERNATIVE}]|$))", _FLAGS
)
# Parentheses: around a letter or a mark ('12(B)'), in 'ref(…)', around a unit after its letters ('A(12)'), and around
# several units. A number after a number ('12(3)') is none of these: it may be an intensity.
_MARK = re.compile(r"\( ?(\?+|[A-Z]) ?\)", _FLAGS)
_REFERENCES = re.compile(rf"(?<![0-9A-Z])REF\.? ?(?:\(([^()]*)\)|(?={_LETTERS}{{0,3}}[0-9]))", _FLAGS)
_BEHIND_LETTERS = re.compile(rf"(?<![0-9A-Z])({_LETTERS}{{1,3}})\( ?([0-9]+[A-E]?) ?\)", _FLAGS)
_GROUP = re.compile(rf"(?:(?<![0-9A-Z{_STATIC}?])|(?=\( ?{_ALTERNATIVE}))\(([^()]*)\)(?![0-9A-Z])", _FLAGS)
_ITEM = re.compile(rf"(^|[+{_ALTERNATIVE}]) *(?=[^ +{_ALTERNATIVE}])")
_SIDES: dict[str, Side] = {"L": "left", "R": "right"}


@dataclass(frozen=True)
class ActionUnit:
    """One action unit of a cell.

    Attributes:
        number: number of the unit, 1 to 99.
        side: side given by a letter L or R before or after the number; '' if there is none.
        intensity: letter A (trace) to E (maximum) after the number; '' if there is none.
        uncertain: True if the unit has a question mark or is one of several alternatives.
        static: True for 4DME's "(k)": the unit is present throughout and does not move.
        prefix: letters before the number other than the side. In FACS, A is asymmetric, U unilateral, T the top and B
            the bottom of the lips. The meaning of DFME's D and M is undocumented.
        reference: True inside SAMM's 'ref(…)', whose meaning is also undocumented.
    """

    number: int
    side: Side = ""
    intensity: Intensity = ""
    uncertain: bool = False
    static: bool = False
    prefix: str = ""
    reference: bool = False

    def __str__(self) -> str:
        return self.code + "?" * self.uncertain

    @property
    def code(self) -> str:
        """The unit without its question mark."""
        static = "(k)" if self.static else ""
        code = f"{self.prefix}{self.side[:1].upper()}{self.number}{self.intensity}{static}"
        return f"ref({code})" if self.reference else code


@dataclass(frozen=True)
class ActionUnits:
    """Parsed contents of a cell of action units; `parse(str(units))` returns an equal object.

    Attributes:
        units: annotated units in the order of the cell, including uncertain ones ('4?').
        alternatives: groups of which only one unit is meant ('14or23'); each unit of a group is uncertain.
        unknown: True for a lone '?': the annotators saw something they could not name.
        neutral: True for a 0, the neutral face in FACS: examined, and nothing moves. A blank cell does not mean that.
        unreadable: words that cannot be parsed, as written.
    """

    units: tuple[ActionUnit, ...] = ()
    alternatives: tuple[tuple[ActionUnit, ...], ...] = ()
    unknown: bool = False
    neutral: bool = False
    unreadable: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Distinct numbers of `units`, ascending, including uncertain ones but not `alternatives`."""
        return tuple(sorted({unit.number for unit in self.units}))

    @property
    def uncertain(self) -> bool:
        """True if anything in the cell is uncertain."""
        return self.unknown or bool(self.alternatives) or any(unit.uncertain for unit in self.units)

    def __str__(self) -> str:
        words = [str(unit) for unit in self.units]
        words += ["or".join(unit.code for unit in group) for group in self.alternatives]
        words += ["0"] * self.neutral + ["?"] * self.unknown
        return "+".join([*words, *self.unreadable])


def parse(cell: str) -> ActionUnits:
    """Parse a cell of action units; any text is accepted, and words that cannot be parsed go to `unreadable`.

    Units are separated by + , 、 ; / & |, 'and' or spaces, full-width or not. A unit is a number ('12', '12.0', 'AU12',
    'AD19'), optionally with FACS letters before it (A, U, T, B; D and M in DFME), a side L or R before or after it, an
    intensity A to E after it, and '?' or '(k)'. Case is ignored. 'ref(…)' and parentheses may enclose units. 'or' (或)
    joins alternatives; with a unit on one side only, it marks that unit as uncertain.
    """
    text = _without_parentheses(cell)
    units: list[ActionUnit] = []
    alternatives: list[tuple[ActionUnit, ...]] = []
    unreadable: list[str] = []
    unknown = neutral = False
    for chunk in text.split("+"):
        tight = _BLANK_BEFORE_SUFFIX.sub("", _BLANK_BEHIND_PREFIX.sub(r"\1", chunk))
        for word in tight.split():
            parts = word.split(_ALTERNATIVE)
            found = [_read(part) for part in parts]
            if len(parts) > 1 and not any(found):
                unreadable.append(_as_written(word))  # no unit on either side: the letters 'or' are part of a word
                continue
            readings = [reading for reading in found if isinstance(reading, ActionUnit)]
            unknown |= "?" in found
            neutral |= "0" in found
            unreadable += [
                _as_written(part) for part, reading in zip(parts, found, strict=True) if part and not reading
            ]
            if len(parts) > 1:
                readings = [replace(unit, uncertain=True) for unit in readings]
            if len(readings) > 1:
                alternatives.append(tuple(readings))
            else:
                units += readings
    return ActionUnits(tuple(units), tuple(alternatives), unknown, neutral, tuple(unreadable))


def _without_parentheses(cell: str) -> str:
    """Return a cell as one line without resolvable parentheses, with placeholders for 'or', 'ref' and '(k)'."""
    text = unicodedata.normalize("NFKC", "".join(map(_isolated, cell))).translate(
        {0: " ", 1: " ", 2: " ", **dict(zip(b"[]{}", "()()", strict=True))}
    )
    text = _OR.sub(_ALTERNATIVE, _SEPARATORS.sub("+", " ".join(text.split())))
    before = ""
    while text != before:
        before = text
        text = _MARK.sub(lambda mark: _STATIC if mark[1] in "kK" else mark[1], text)
        text = _REFERENCES.sub(lambda found: _ITEM.sub(rf"\g<1>{_REFERENCE}", found[1] or "") or _REFERENCE, text)
        text = _GROUP.sub(r" \1 ", _BEHIND_LETTERS.sub(r"\1\2", text))
        text = re.sub(rf" *{_ALTERNATIVE} *", _ALTERNATIVE, " ".join(text.split()))
    return text


def _isolated(character: str) -> str:
    """Return a character in a form that NFKC does not merge with adjacent digits: '①②' is not 12, '4²' not 42."""
    if unicodedata.category(character) == "Cf":  # invisible, such as the zero-width space
        return ""
    kind = unicodedata.decomposition(character).partition(" ")[0]
    return f" {character} " if kind == "<circle>" else f"^{character}" if kind in ("<super>", "<sub>") else character


def _as_written(word: str) -> str:
    """Return an unreadable word with its placeholders restored, normalised because joining can recombine accents."""
    text = word.replace(_ALTERNATIVE, "or").replace(_REFERENCE, "ref").replace(_STATIC, "(k)")
    return unicodedata.normalize("NFKC", text)


def _read(word: str) -> ActionUnit | Literal["", "?", "0"]:
    """Parse one word without spaces: a unit, '?' for a lone question mark, '0' for the neutral face, else ''."""
    if word and not word.strip("?"):
        return "?"
    match = _UNIT.fullmatch(word)
    if match is None or int(match["number"]) > _LARGEST:
        return ""
    family, before, first, second = (match[name].upper() for name in ("family", "before", "first", "second"))
    marks = match["doubt_before"] + match["marks"]
    number = int(match["number"])
    if number == 0:
        return "0" if not (family or before or first or second or marks or match["reference"]) else ""
    sides = [letter for letter in (*before, first, second) if letter in _SIDES]
    intensities = [letter for letter in (first, second) if letter and letter in "ABCDE"]
    contradicts = any(sum(letter in pair for letter in before) > 1 for pair in _EXCLUSIVE)
    if len(sides) > 1 or len(intensities) > 1 or contradicts:
        return ""
    return ActionUnit(
        number,
        side=_SIDES[sides[0]] if sides else "",
        intensity=cast(Intensity, intensities[0] if intensities else ""),
        uncertain="?" in marks,
        static=_STATIC in marks,
        prefix=family + "".join(letter for letter in before if letter not in _SIDES),
        reference=bool(match["reference"]),
    )


def as_meant(clips: pd.DataFrame, read_as: Mapping[str, str]) -> pd.Series:
    """Return the clips' cells, with ambiguous ones replaced according to `read_as` ('subject/clip' → cell)."""
    meant = (clips["subject"] + "/" + clips["clip"]).map(dict(read_as))
    plain = clips["action_units"].map(lambda cell: _is_plain(parse(cell)))
    return clips["action_units"].where(meant.isna() | plain, meant)


def classes_shown(cell: str, classes: Mapping[str, Sequence[object]]) -> str:
    """Return the classes (name → unit numbers) that a cell shows, joined by '+'; '' if none."""
    shown = {str(number) for number in parse(cell).numbers}
    return JOIN.join(name for name, labels in classes.items() if shown & {str(label) for label in labels})


def unreadable_lines(clips: pd.DataFrame, words: pd.Series) -> list[str]:
    """Return a line on each unreadable notation, with its cells and clips, given the unreadable words of each clip."""
    return [
        f"not an action unit, '{word}' in {', '.join(map(repr, part['action_units'].unique()))}: {len(part)} "
        f"({name_clips(part, most=400)}); state what is meant in protocol.read_as"
        for word, part in clips.assign(words=words)[words != ""].groupby("words")
    ]


def check_units(classes: Mapping[str, Sequence[object]], read_as: Mapping[str, object], protocol: str) -> None:
    """Raise UserError if a class name contains `JOIN`, or a label or a `read_as` cell is not a plain unit."""
    if joined := [name for name in classes if JOIN in name or not name]:
        raise UserError(
            f"protocol.classes of {protocol}: '{joined[0]}' cannot be the name of an action unit, because {JOIN} "
            "joins the units of a clip. Expected a name such as AU12"
        )
    labels = [str(label) for labels in classes.values() for label in labels]
    if unread := [label for label in labels if not (label.isascii() and label.isdigit() and 0 < int(label) < 100)]:
        raise UserError(
            f"protocol.classes of {protocol}: '{unread[0]}' is not an action unit; expected numbers, as in AU12: [12]"
        )
    for clip, cell in read_as.items():
        if not isinstance(cell, str) or not _is_plain(parse(cell)):
            raise UserError(
                f"protocol.read_as of {protocol} reads {clip} as {cell!r}; expected action units in quotes, without "
                '"?" or "or", as in "R12+R15"'
            )


def _is_plain(units: ActionUnits) -> bool:
    return not (units.uncertain or units.unreadable)

"""Kinds of values that an option may have, each with its description for messages."""

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Allowed:
    """The values that an option may have.

    Attributes:
        words: description of the values, placed after "expected" in messages.
        accepts: function that returns True for an allowed value.
        choices: names to choose from, if the option takes a name.
    """

    words: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()

    def or_null(self, meaning: str = "") -> "Allowed":
        """Return these values, or null."""
        words = f"{self.words}, or null{meaning and f' ({meaning})'}"
        return replace(self, words=words, accepts=lambda value: value is None or self.accepts(value))

    def or_one_of(self, *choices: str) -> "Allowed":
        """Return these values, or one of some words."""
        words = f"{self.words}, or {', '.join(choices)}"
        return Allowed(words, lambda value: value in choices or self.accepts(value), (*self.choices, *choices))

    def or_list(self) -> "Allowed":
        """Return one of these values, or a non-empty list of them without duplicates."""

        def accepts(value: Any) -> bool:
            return self.accepts(value) or (
                _is_list(value) and bool(value) and all(map(self.accepts, value)) and len(set(value)) == len(value)
            )

        return replace(self, words=f"{self.words}, or a list of them", accepts=accepts)


def whole(least: int | None = None, most: int | None = None) -> Allowed:
    """Return the whole numbers of a range, ends included."""
    return Allowed(
        f"a whole number{_range(least, most)}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and _within(value, least, most),
    )


def number(
    least: float | None = None, most: float | None = None, above: float | None = None, below: float | None = None
) -> Allowed:
    """Return the numbers of a range; `least` and `most` are included, `above` and `below` are not."""

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            return False  # also NaN, and whole numbers that no float holds
        return _within(value, least, most) and (above is None or value > above) and (below is None or value < below)

    open_ends = [f"{word} {end}" for word, end in (("above", above), ("below", below)) if end is not None]
    return Allowed(" ".join([f"a number{_range(least, most)}", " and ".join(open_ends)]).strip(), accepts)


def one_of(*choices: str) -> Allowed:
    """Return some words; a number that YAML made of a word counts as the word."""
    words = f"one of {', '.join(choices)}"
    return Allowed(words, lambda value: not isinstance(value, bool) and str(value) in choices, choices)


def list_of(kind: Allowed) -> Allowed:
    """Return lists of such values, which may be empty."""
    return Allowed(f"a list, each {kind.words}", lambda value: _is_list(value) and all(map(kind.accepts, value)))


YES_NO = Allowed("true or false", lambda value: isinstance(value, bool))
TEXT = Allowed("text (a number in quotes: \"'1'\")", lambda value: isinstance(value, str))
PLACE = Allowed("a path (of one that is a number: ./1)", lambda value: isinstance(value, str) and value != "")
MAPPING = Allowed("a mapping, {name: value}", lambda value: isinstance(value, Mapping))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return "" if least is None else f" of at least {least}"


def guess(word: str, known: Sequence[str]) -> str:
    """Return ' Did you mean …?' with the known words closest to a word; '' if none is close."""
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if not close:  # max_epochs for trainer.max_epochs
        close = [name for name in known if name.split(".")[-1] == word.split(".")[-1]][:3]
    if not close:  # slurm for submitit_slurm
        close = [name for name in known if word in name.split("_")][:3]
    return f" Did you mean {' or '.join(close)}?" if close else ""

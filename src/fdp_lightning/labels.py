"""Identity of a clip, kinds of labels and names of selections, defined once for all tables."""

from enum import Enum
from typing import Any, NamedTuple


class ClipKey(NamedTuple):
    """Identity of a clip: dataset of the clip table, subject, recording, and frame number of the onset.

    The onset (None if not annotated) is part of it, because some folders hold several clips.
    """

    dataset: str
    subject: str
    clip: str
    onset: int | None

    def __str__(self) -> str:
        """Return the name of the clip for messages and files: 'casme2/01/EP02_01f@46'."""
        return f"{self.owner}/{self.clip}@{'<NA>' if self.onset is None else self.onset}"

    @property
    def owner(self) -> str:
        """The subject, distinguished from those of other datasets: 'casme2/01'."""
        return f"{self.dataset}/{self.subject}"


KEY = list(ClipKey._fields)  # the columns of a clip's identity
OWNER = KEY[:2]  # the columns of a subject's identity

SELECTIONS = ("last", "inner", "oracle")
"""Ways of choosing the epoch that predicts, in the order in which they are listed: the headline first."""

JOIN = "+"
"""Separator of the names in a multi-label target, which are in the protocol's order; '' if a clip shows none."""


def owners_of(table: Any) -> Any:
    """Return `ClipKey.owner` of each row of a table with the columns of `OWNER`."""
    return table[OWNER[0]] + "/" + table[OWNER[1]]


class LabelKind(Enum):
    """SINGLE: a clip has one class. MULTI: it shows any number of action units, or none."""

    SINGLE = "single"
    MULTI = "multi"

    @classmethod
    def of_column(cls, column: str) -> "LabelKind":
        """Return the kind of the labels in a column of the annotation."""
        return cls.MULTI if column == "action_units" else cls.SINGLE

    @classmethod
    def of_flag(cls, multi_label: bool) -> "LabelKind":
        """Return the kind for the flag `multi_label` of metrics.json, checkpoints and model.json."""
        return cls.MULTI if multi_label else cls.SINGLE

    @property
    def is_multi(self) -> bool:
        return self is LabelKind.MULTI

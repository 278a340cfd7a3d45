"""What identifies a clip, which kinds of labels there are, and what selections are called: once, for every table."""

from enum import Enum
from typing import Any, NamedTuple


class ClipKey(NamedTuple):
    """What identifies a clip: the dataset of the clip table, its subject, the recording, and the frame number of the
    onset.

    The onset (None where the annotation has none) belongs to it: some folders hold several clips.
    """

    dataset: str
    subject: str
    clip: str
    onset: int | None

    def __str__(self) -> str:
        """Name the clip in messages and files: 'casme2/01/EP02_01f@46'."""
        return f"{self.owner}/{self.clip}@{'<NA>' if self.onset is None else self.onset}"

    @property
    def owner(self) -> str:
        """The subject, told from those of other datasets: 'casme2/01'."""
        return f"{self.dataset}/{self.subject}"


KEY = list(ClipKey._fields)  # the columns of a clip's identity
OWNER = KEY[:2]  # the columns of a subject's identity

SELECTIONS = ("last", "inner", "oracle")
"""How the epoch that predicts is chosen, in the order in which selections are listed: the headline first."""

JOIN = "+"
"""Between the names of a multi-label target, which come in the protocol's order; '' is a clip that shows none."""


def owners_of(table: Any) -> Any:
    """Return `ClipKey.owner` of each row of a table with the columns of `OWNER`."""
    return table[OWNER[0]] + "/" + table[OWNER[1]]


class LabelKind(Enum):
    """SINGLE: a clip is of one class. MULTI: it shows any number of action units, or none."""

    SINGLE = "single"
    MULTI = "multi"

    @classmethod
    def of_column(cls, column: str) -> "LabelKind":
        """Return the kind of a protocol by the column of the annotation that it reads."""
        return cls.MULTI if column == "action_units" else cls.SINGLE

    @classmethod
    def of_flag(cls, multi_label: bool) -> "LabelKind":
        """Return the kind of what files keep as `multi_label`, true or false: metrics.json, checkpoints, model.json."""
        return cls.MULTI if multi_label else cls.SINGLE

    @property
    def is_multi(self) -> bool:
        return self is LabelKind.MULTI

"""Extras: a recogniser's outputs for a clip other than its class. Reports, logs and predictions draw them by kind."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

KINDS = ("image", "curve", "scalar", "vector")
OF = ("clip", "training")
RESERVED = (
    "dataset", "subject", "clip", "onset", "target", "apex", "frames", "key_frames", "key_frame_numbers", "fold",
    "extras", "face", "index", "probabilities", "accuracy",
)  # fmt: skip
"""Names taken by a fold's own arrays."""

SAME = 1e-12  # mean squared error below which images only differ by rounding to float32


@dataclass(frozen=True)
class Extra:
    """Declaration of an extra.

    Attributes:
        name: name of the array and of files, a Python identifier.
        kind: 'image' with values in [0, 1], (h, w); 'curve', a value per frame, (t,); 'scalar'; or 'vector', (d,), for
            comparing clips, for example on a map; NaN where unknown.
        title: title for readers, in lower case.
        heading: heading of the section in which it is shown, shared by several extras; '': its title.
        note: sentences for the readers of that section.
        of: 'clip'; or 'training', one for all held-out clips of a fold, made by `Objective.of_training`.
        reference: for an image: name of the image that it is compared with; '': none.
        neutral: for an image: pixel value that means "nothing"; None if there is no such value.
        scale: for an image: name of a number of `Objective.of_training` that is the unit of its distances from
            `neutral`, so that images of several folds can be drawn on one scale; '': none.
        over_face: for an image: True to draw it in colour over a frame of its clip.
        standardised: for a curve: True if its mean and deviation carry no information, because each fold has its own.
        rises: for a curve: True if it should rise with time; its order is then compared with that of the frames.
    """

    name: str
    kind: str
    title: str
    heading: str = ""
    note: str = ""
    of: str = "clip"
    reference: str = ""
    neutral: float | None = None
    scale: str = ""
    over_face: bool = False
    standardised: bool = False
    rises: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"extra {self.name} has kind '{self.kind}'; expected one of {', '.join(KINDS)}")
        if self.of not in OF:
            raise ValueError(f"extra {self.name} has of='{self.of}'; expected one of {', '.join(OF)}")
        if not self.name.isidentifier() or self.name in RESERVED:
            raise ValueError(f"an extra is named '{self.name}'; expected an identifier not in {', '.join(RESERVED)}")

    @property
    def section(self) -> str:
        heading = self.heading or self.title
        return heading[:1].upper() + heading[1:]


def as_text(extras: Iterable[Extra]) -> str:
    """Return declarations as JSON, for a fold's outputs.npz."""
    return json.dumps([asdict(extra) for extra in extras])


def from_text(text: str) -> tuple[Extra, ...]:
    """Return the declarations of a JSON text; ValueError if it was not written by `as_text`."""
    try:
        return tuple(Extra(**fields) for fields in json.loads(text))
    except TypeError as error:
        raise ValueError(f"the extras have changed since they were written ({error})") from error


def sections(extras: Iterable[Extra]) -> dict[str, list[Extra]]:
    """Return the extras other than vectors, grouped by heading, in the order of their declaration."""
    found: dict[str, list[Extra]] = {}
    for extra in extras:
        if extra.kind != "vector":
            found.setdefault(extra.section, []).append(extra)
    return found


def number_format(numbers: Iterable[float]) -> str:
    """Return the printf format for the numbers of one heading.

    If none is above 1, as with shares, all get as many decimals as show three digits of the largest, so that 0.95 does
    not appear next to 0.00091. Otherwise each gets four digits.
    """
    largest = max((abs(number) for number in numbers), default=0.0)
    return f"%.{max(3, math.ceil(-math.log10(largest)) + 2)}f" if 0 < largest <= 1 else "%.4g"


def slug(heading: str) -> str:
    """Return a heading as a word for ids and keys: 'Map of strain' → 'map_of_strain'."""
    return "_".join("".join(letter if letter.isalnum() else " " for letter in heading.lower()).split())


def notes(extras: Iterable[Extra]) -> str:
    """Return the joined notes of the extras of a section."""
    return " ".join(extra.note for extra in extras if extra.note)


def of_clip(extras: Sequence[Extra], values: Mapping[str, np.ndarray]) -> Iterator[tuple[Extra, np.ndarray]]:
    """Yield the extras of one clip that can be shown, with their values.

    Extras with non-finite values are left out, and so are images equal to their reference, which is shown already.
    """
    for extra in extras:
        value = values.get(extra.name)
        if extra.of != "clip" or value is None or not np.isfinite(value).all():
            continue
        if extra.kind == "image" and extra.reference in values and same(value, values[extra.reference]):
            continue
        yield extra, value


def same(image: np.ndarray, other: np.ndarray) -> bool:
    """Return True if two images are equal up to rounding."""
    return image.shape == other.shape and bool(np.square(image.astype(np.float64) - other).mean() < SAME)

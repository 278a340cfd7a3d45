"""What a recogniser keeps of a clip besides its class, as it declares it; report, logs and predictions draw by kind."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

KINDS = ("image", "curve", "scalar", "vector")
OF = ("clip", "training")
RESERVED = (
    "dataset", "subject", "clip", "onset", "target", "apex", "frames", "key_frames", "key_frame_numbers", "fold",
    "extras", "face", "index", "probabilities", "accuracy",
)  # fmt: skip
"""Names of a fold's own arrays."""

SAME = 1e-12
"""A mean squared error that float32 rounding can leave: such images are the same."""


@dataclass(frozen=True)
class Extra:
    """Something that is kept of each clip besides its class.

    Attributes:
        name: of the array, a Python identifier: it is the name of files, too.
        kind: 'image' with values of 0..1, (h, w); 'curve', a value per frame, (t,); 'scalar'; or 'vector', (d,), by
            which clips are compared, as on a map of them; NaN where unknown.
        title: for people, in lower case.
        heading: of the section in which it is shown, with all others of the same one; '': its title.
        note: sentences for the readers of that section.
        of: 'clip'; or 'training', one for all held-out clips of a fold, made by `Objective.of_training`.
        reference: of an image: name of the image that it is compared with; '': none.
        neutral: of an image: the value of a pixel at which nothing is; None where no value means that.
        scale: of an image: name of the number of `Objective.of_training` that its distances from `neutral` are in, so
            that images of several folds can be drawn on one scale; '': none.
        over_face: of an image: it is shown in colour over a frame of its clip.
        standardised: of a curve: its mean and deviation mean nothing, as every fold has its own.
        rises: of a curve: it is meant to rise with time, and its order is compared with it.
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
            raise ValueError(f"extra {self.name} is of kind '{self.kind}'; expected one of {', '.join(KINDS)}")
        if self.of not in OF:
            raise ValueError(f"extra {self.name} is of '{self.of}'; expected one of {', '.join(OF)}")
        if not self.name.isidentifier() or self.name in RESERVED:
            raise ValueError(f"an extra is called '{self.name}'; expected a word other than {', '.join(RESERVED)}")

    @property
    def section(self) -> str:
        """Heading of the section in which it is shown."""
        heading = self.heading or self.title
        return heading[:1].upper() + heading[1:]


def as_text(extras: Iterable[Extra]) -> str:
    """Write declarations as JSON, for a fold's outputs.npz."""
    return json.dumps([asdict(extra) for extra in extras])


def from_text(text: str) -> tuple[Extra, ...]:
    """Read declarations back.

    Raises:
        ValueError: it is not what `as_text` wrote.
    """
    try:
        return tuple(Extra(**fields) for fields in json.loads(text))
    except TypeError as error:
        raise ValueError(f"extras are not as they were written ({error})") from error


def sections(extras: Iterable[Extra]) -> dict[str, list[Extra]]:
    """Group extras by the heading that they are shown under, in the order of their declaration; vectors have none."""
    found: dict[str, list[Extra]] = {}
    for extra in extras:
        if extra.kind == "vector":
            continue
        found.setdefault(extra.section, []).append(extra)
    return found


def slug(heading: str) -> str:
    """Return a heading as a word for ids and keys: 'Map of strain' is 'map_of_strain'."""
    return "_".join("".join(letter if letter.isalnum() else " " for letter in heading.lower()).split())


def notes(extras: Iterable[Extra]) -> str:
    """Join the notes of the extras of a section."""
    return " ".join(extra.note for extra in extras if extra.note)


def of_clip(extras: Sequence[Extra], values: Mapping[str, np.ndarray]) -> Iterator[tuple[Extra, np.ndarray]]:
    """Yield what there is to show of one clip.

    An extra with a value that is no number is left out, and an image that is its reference itself, which is shown
    already.

    Args:
        extras: declared.
        values: of the clip, by name.
    """
    for extra in extras:
        value = values.get(extra.name)
        if extra.of != "clip" or value is None or not np.isfinite(value).all():
            continue
        if extra.kind == "image" and extra.reference in values and same(value, values[extra.reference]):
            continue
        yield extra, value


def same(image: np.ndarray, other: np.ndarray) -> bool:
    """Return True if two images are the same but for rounding."""
    return image.shape == other.shape and bool(np.square(image.astype(np.float64) - other).mean() < SAME)

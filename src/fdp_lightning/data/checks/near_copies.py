"""Clips under different subjects that show the same moment of the same face, though not byte for byte.

Encoded anew, made smaller, mirrored, cut short: whoever trains on one of them has seen the other. Two looks: a small
picture of each against all others by one matrix product, then, of the few pairs that are much alike, one against the
other after the one has been moved and turned onto it. Only clips of different subjects are compared: those of one
subject may come from one recording, and being alike leaks nothing there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 64
"""Of the pictures that are compared, pixels."""

PICTURES = 4
"""Of each clip, from its beginning to its end: whatever is cut off, one of them has its like in the copy."""

_SMALL = 16
LEAST_SIDE = 32
"""Smaller pictures show too little to be compared, pixels."""

_LIKE = 0.93
ALIGNED, WHOLE = 0.93, 0.97
"""Correlations of high-passed pictures: at side 16 worth a second look, and at side 64 of a copy, of faces aligned anew
and of whole pictures, which hold more that different subjects share (ours). Of 300 drawn clips, whose twelve subjects
are all made from one photograph, different subjects reach 0.95 and 0.89; copies that are encoded badly, made smaller,
brighter or mirrored do not fall below 0.94 and 0.97 if aligned anew, and 0.99 both if whole."""

_LEAST_DETAIL = 3.0
"""Grey levels by which details deviate, below which a picture is taken for empty; those of faces, by 25 and more."""

_MOST_LOOKS = 1000
"""Second looks, the most alike first: a few seconds, should all clips of a dataset show one picture."""

_ROWS = 512
"""Pictures that are compared with all others at once."""


class Pair(NamedTuple):
    """Two clips that are near copies, and the pictures that show it.

    Attributes:
        one: place of a clip.
        other: place of another, of another subject, behind the first.
        picture: of the one.
        other_picture: of the other.
        mirrored: whether the one is the other's mirror image.
    """

    one: int
    other: int
    picture: int
    other_picture: int
    mirrored: bool


def places(length: int) -> np.ndarray:
    """Which frames of a clip are compared, ascending."""
    return np.unique(np.linspace(0, length - 1, PICTURES).round().astype(np.int64))


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """A picture as it is compared: grey, uint8, shape (SIDE, SIDE).

    Args:
        picture: uint8, shape (h, w) or (h, w, 3).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def near_copies(owners: Sequence[str], clips: Sequence[Sequence[np.ndarray]], least: float = ALIGNED) -> list[Pair]:
    """The pairs of clips under different owners that show the same, by place.

    Args:
        owners: of each clip, its subject.
        clips: thumbnails of each clip.
        least: correlation of a copy, `ALIGNED` or `WHOLE`.
    """
    clip_of = np.repeat(np.arange(len(clips)), [len(pictures) for pictures in clips])
    first_of = np.cumsum([0, *(len(pictures) for pictures in clips)])
    if not len(clip_of):
        return []
    thumbnails = [picture for pictures in clips for picture in pictures]
    straight = np.stack([_small(picture) for picture in thumbnails])
    mirrored = np.ascontiguousarray(straight.reshape(-1, _SMALL, _SMALL)[..., ::-1]).reshape(straight.shape)
    owner_of = np.unique(np.asarray(owners), return_inverse=True)[1][clip_of]
    alike: dict[tuple[int, int], tuple[float, Pair]] = {}
    for begin in range(0, len(straight), _ROWS):
        rows = slice(begin, begin + _ROWS)
        foreign = owner_of[rows, None] != owner_of[None, begin:]
        for flipped, pictures in ((False, straight), (True, mirrored)):
            likeness = np.where(foreign, pictures[rows] @ straight[begin:].T, 0)
            for row, column in zip(*np.nonzero(likeness >= _LIKE), strict=True):
                one, other = sorted((begin + int(row), begin + int(column)))
                pair = Pair(
                    int(clip_of[one]),
                    int(clip_of[other]),
                    one - int(first_of[clip_of[one]]),
                    other - int(first_of[clip_of[other]]),
                    flipped,
                )
                found = float(likeness[row, column])
                if found > alike.get(pair[:2], (0.0,))[0]:
                    alike[pair[:2]] = found, pair
    looks = [pair for _, pair in sorted(alike.values(), reverse=True)[:_MOST_LOOKS]]
    return sorted(
        pair
        for pair in looks
        if is_copy(clips[pair.one][pair.picture], clips[pair.other][pair.other_picture], pair.mirrored, least)
    )


def is_copy(one: np.ndarray, other: np.ndarray, mirrored: bool, least: float = ALIGNED) -> bool:
    """Whether two thumbnails show the same, once one of them is shifted and turned onto the other."""
    other = np.ascontiguousarray(other[:, ::-1]) if mirrored else other
    if min(one.std(), other.std()) < 1:
        return False
    start, everywhere = np.eye(2, 3, dtype=np.float32), np.full(one.shape, 255, np.uint8)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    try:
        likeness, _ = cv2.findTransformECC(
            _details(one), _details(other), start, cv2.MOTION_EUCLIDEAN, stop, everywhere, 1
        )
    except cv2.error:  # it does not converge: they are too different
        return False
    return bool(likeness >= least)


def _small(picture: np.ndarray) -> np.ndarray:
    """The details of a picture in few pixels, as a vector of length 1; of an even one, of length 0."""
    details = _details(cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA))
    details = (details - details.mean()).ravel()
    norm = float(np.linalg.norm(details))
    return details / norm if norm > _LEAST_DETAIL * _SMALL else np.zeros_like(details)


def _details(picture: np.ndarray) -> np.ndarray:
    """What is smaller than an eighth of a picture: light from one side, or another brightness, is not seen."""
    picture = picture.astype(np.float32)
    return picture - cv2.GaussianBlur(picture, (0, 0), len(picture) / 8)

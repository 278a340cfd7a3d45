"""Search for clips of different subjects that show the same moment of the same face, though not byte for byte.

A re-encoded, resized, mirrored or shortened copy of a clip leaks it into the training. Thumbnails of all clips are
compared by one matrix product, then the most similar pairs after registering one onto the other by shift and rotation.
Clips of one subject may come from one recording, and their likeness leaks nothing: they are not compared.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fdp_lightning.data.checks.problems import Problem, some
from fdp_lightning.data.faces.alignment import align, alignment, find_face
from fdp_lightning.data.faces.frames import UnreadableImageError, decoded, read_image
from fdp_lightning.data.loading.sampling import uniform

SIDE = 64  # side of the thumbnails, pixels
PICTURES = 4  # pictures compared per clip, spread over all of it, so that a shortened copy still matches one
_SMALL = 16
LEAST_SIDE = 32  # side in pixels below which pictures show too little to be compared
_LIKE = 0.93
ALIGNED, WHOLE = 0.93, 0.97
"""Least correlation of high-passed pictures, at side 16 for a second comparison and at side 64 for a copy: of aligned
faces, and of whole pictures, in which different subjects share more (ours). On 300 drawn clips of one photograph,
different subjects reach 0.95 at side 16 and 0.89 at side 64; copies that are badly encoded, shrunk, brightened or
mirrored stay above 0.94 and 0.97 if re-aligned, and above 0.99 at both if whole."""

_LEAST_DETAIL = 3.0  # deviation of details, in grey levels, below which a picture counts as empty; faces have 25
_MOST_LOOKS = 1000  # pairs in the second stage, the most similar first: a few seconds if all clips look alike
_ROWS = 512  # pictures compared with all others per matrix product


class Pair(NamedTuple):
    """Indices of two clips of different subjects that are near copies, and of the pictures that show it."""

    one: int
    other: int
    picture: int
    other_picture: int
    mirrored: bool


def places(length: int) -> np.ndarray:
    """Return the positions of the compared frames in a clip of `length` frames, ascending."""
    return np.unique(uniform(length, PICTURES))


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Return a grey thumbnail, uint8, (SIDE, SIDE), of a grey or RGB picture, uint8, (h, w) or (h, w, 3)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def near_copies(owners: Sequence[str], clips: Sequence[Sequence[np.ndarray]], least: float = ALIGNED) -> list[Pair]:
    """Return the pairs of clips of different owners that show the same, by index; `least`: `ALIGNED` or `WHOLE`."""
    found_at = [(clip, place) for clip, pictures in enumerate(clips) for place in range(len(pictures))]
    if not found_at:
        return []
    straight = np.stack([_small(picture) for pictures in clips for picture in pictures])
    mirrored = np.ascontiguousarray(straight.reshape(-1, _SMALL, _SMALL)[..., ::-1]).reshape(straight.shape)
    owner_of = np.unique([owners[clip] for clip, _ in found_at], return_inverse=True)[1]
    alike: dict[tuple[int, int], tuple[float, Pair]] = {}
    for begin in range(0, len(straight), _ROWS):
        rows = slice(begin, begin + _ROWS)
        foreign = owner_of[rows, None] != owner_of[None, begin:]
        for flipped, pictures in ((False, straight), (True, mirrored)):
            likeness = np.where(foreign, pictures[rows] @ straight[begin:].T, 0)
            for row, column in zip(*np.nonzero(likeness >= _LIKE), strict=True):
                (one, place), (other, other_place) = sorted((found_at[begin + row], found_at[begin + column]))
                pair = Pair(one, other, place, other_place, flipped)
                found = float(likeness[row, column])
                if found > alike.get(pair[:2], (0.0,))[0]:
                    alike[pair[:2]] = found, pair
    looks = [pair for _, pair in sorted(alike.values(), reverse=True)[:_MOST_LOOKS]]
    shown = [(clips[pair.one][pair.picture], clips[pair.other][pair.other_picture]) for pair in looks]
    return sorted(pair for pair, two in zip(looks, shown, strict=True) if is_copy(*two, pair.mirrored, least))


def is_copy(one: np.ndarray, other: np.ndarray, mirrored: bool, least: float = ALIGNED) -> bool:
    """Return True if two thumbnails show the same after shifting and rotating one onto the other."""
    other = np.ascontiguousarray(other[:, ::-1]) if mirrored else other
    if min(one.std(), other.std()) < 1:
        return False
    start, everywhere = np.eye(2, 3, dtype=np.float32), np.full(one.shape, 255, np.uint8)
    how = (cv2.MOTION_EUCLIDEAN, (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4), everywhere, 1)
    try:
        return bool(cv2.findTransformECC(_details(one), _details(other), start, *how)[0] >= least)
    except cv2.error:  # no convergence: they are too different
        return False


def _small(picture: np.ndarray) -> np.ndarray:
    """Return the details of a picture in few pixels, as a unit vector; zero for a uniform picture."""
    details = _details(cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA))
    details = (details - details.mean()).ravel()
    norm = float(np.linalg.norm(details))
    return details / norm if norm > _LEAST_DETAIL * _SMALL else np.zeros_like(details)


def _details(picture: np.ndarray) -> np.ndarray:
    """Return the structures smaller than an eighth of a picture, which removes brightness and light from one side."""
    picture = picture.astype(np.float32)
    return picture - cv2.GaussianBlur(picture, (0, 0), len(picture) / 8)


_MOST_FACES = 200  # largest number of pairs whose faces are detected and compared


def copy_problems(
    clips: Sequence[tuple[str, list[Path]]], workers: int, progress: Callable[[int, int], None]
) -> list[Problem]:
    """Return each clip of `checks.clips.pictures` that shows the same as one of another subject, by its face too:
    whole pictures that are alike may show two people in front of one wall.
    """
    chosen = [[paths[place] for place in places(len(paths))] for _, paths in clips]
    readable = list(decoded(_thumbnails, chosen, workers, progress))
    owners = ["/".join(name.split("/")[:2]) for name, _ in clips]
    paths = [[path for path, _ in of_clip] for of_clip in readable]
    pictures = [[picture for _, picture in of_clip] for of_clip in readable]
    copies: dict[int, list[Pair]] = {}
    for number, pair in enumerate(near_copies(owners, pictures, WHOLE)):
        if number >= _MOST_FACES or _shows_one_face(pair, paths):
            copies.setdefault(pair.other, []).append(pair)
    found = []
    for other, pairs in sorted(copies.items()):
        first = pairs[0]
        shows = f"{paths[other][first.other_picture]} shows what {paths[first.one][first.picture]} does"
        named = f"clips of another subject are near copies of this one: {some(clips[pair.one][0] for pair in pairs)}"
        found.append(Problem(clips[other][0], "near_copy", f"{shows}: {named}"))
    return found


def _thumbnails(paths: list[Path]) -> list[tuple[Path, np.ndarray]]:
    """Return thumbnails with their paths; pictures that cannot be read are reported by another check."""
    found = []
    for path in paths:
        with suppress(UnreadableImageError):
            picture = read_image(path)
            if min(picture.shape[:2]) >= LEAST_SIDE:
                found.append((path, thumbnail(picture)))
    return found


def _shows_one_face(pair: Pair, paths: Sequence[Sequence[Path]]) -> bool:
    """Return True if a pair shows the same face; pictures without a face count as alike."""
    aligned: list[np.ndarray] = []
    for path in (paths[pair.one][pair.picture], paths[pair.other][pair.other_picture]):
        picture = read_image(path)
        if (face := find_face(picture)) is None:
            return True
        aligned.append(align(picture, alignment(face.landmarks, SIDE), SIDE))
    return is_copy(aligned[0], aligned[1], pair.mirrored)

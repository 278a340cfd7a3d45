"""Search for near copies: clips of different subjects that show the same moment of the same face.

A re-encoded, resized, mirrored or shortened copy of a test clip leaks it into the training set. Thumbnails of all clips
are compared by one matrix product; the most similar pairs are then compared after registration by shift and rotation.
Clips of one subject are not compared: they may come from one recording, and their similarity leaks nothing.
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
IMAGES = 4  # images compared per clip, spread over the whole clip, so that one still matches in a shortened copy
_SMALL = 16
LEAST_SIDE = 32  # side in pixels below which images show too little detail to be compared
_SIMILAR = 0.93
ALIGNED, WHOLE = 0.93, 0.97
"""Lowest correlation of high-pass filtered images (ours). `_SIMILAR`: at side 16, for a closer look; `ALIGNED` and
`WHOLE`: at side 64, for a copy, of aligned faces or of whole images, in which different subjects share more. On 300
drawn clips of one photograph, different subjects reach 0.95 at side 16 and 0.89 at side 64; copies that are badly
encoded, shrunk, brightened or mirrored stay above 0.94 and 0.97 if re-aligned, and above 0.99 at both if whole."""

_LEAST_DETAIL = 3.0  # standard deviation of details, in grey levels, below which an image is empty; faces have 25
_MOST_CANDIDATES = 1000  # largest number of pairs in the second stage, most similar first: a few seconds at worst
_ROWS = 512  # images compared with all others per matrix product


class Pair(NamedTuple):
    """Indices of two clips of different subjects that are near copies, and of the images that match."""

    one: int
    other: int
    image: int
    other_image: int
    mirrored: bool


def places(length: int) -> np.ndarray:
    """Return the positions of the compared frames in a clip of `length` frames, ascending."""
    return np.unique(uniform(length, IMAGES))


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return a grey thumbnail, uint8, (SIDE, SIDE), of a grey or RGB image, uint8, (h, w) or (h, w, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def near_copies(owners: Sequence[str], clips: Sequence[Sequence[np.ndarray]], least: float = ALIGNED) -> list[Pair]:
    """Return the pairs of near copies among clips (thumbnails of each) of different owners, sorted; `least` is the
    lowest correlation of a copy, `ALIGNED` or `WHOLE`.
    """
    origins = [(clip, place) for clip, images in enumerate(clips) for place in range(len(images))]
    if not origins:
        return []
    straight = np.stack([_small(image) for images in clips for image in images])
    mirrored = np.ascontiguousarray(straight.reshape(-1, _SMALL, _SMALL)[..., ::-1]).reshape(straight.shape)
    owner_of = np.unique([owners[clip] for clip, _ in origins], return_inverse=True)[1]
    similar: dict[tuple[int, int], tuple[float, Pair]] = {}
    for begin in range(0, len(straight), _ROWS):
        rows = slice(begin, begin + _ROWS)
        foreign = owner_of[rows, None] != owner_of[None, begin:]
        for flipped, images in ((False, straight), (True, mirrored)):
            correlations = np.where(foreign, images[rows] @ straight[begin:].T, 0)
            for row, column in zip(*np.nonzero(correlations >= _SIMILAR), strict=True):
                (one, place), (other, other_place) = sorted((origins[begin + row], origins[begin + column]))
                pair = Pair(one, other, place, other_place, flipped)
                found = float(correlations[row, column])
                if found > similar.get(pair[:2], (0.0,))[0]:
                    similar[pair[:2]] = found, pair
    candidates = [pair for _, pair in sorted(similar.values(), reverse=True)[:_MOST_CANDIDATES]]
    thumbnails = [(clips[pair.one][pair.image], clips[pair.other][pair.other_image]) for pair in candidates]
    return sorted(pair for pair, two in zip(candidates, thumbnails, strict=True) if is_copy(*two, pair.mirrored, least))


def is_copy(one: np.ndarray, other: np.ndarray, mirrored: bool, least: float = ALIGNED) -> bool:
    """Return True if two thumbnails match after one is registered onto the other by shift and rotation."""
    other = np.ascontiguousarray(other[:, ::-1]) if mirrored else other
    if min(one.std(), other.std()) < 1:
        return False
    start, everywhere = np.eye(2, 3, dtype=np.float32), np.full(one.shape, 255, np.uint8)
    how = (cv2.MOTION_EUCLIDEAN, (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4), everywhere, 1)
    try:
        return bool(cv2.findTransformECC(_details(one), _details(other), start, *how)[0] >= least)
    except cv2.error:  # no convergence: they are too different
        return False


def _small(image: np.ndarray) -> np.ndarray:
    """Return the details of an image at side 16 as a unit vector; zeros for a uniform image."""
    details = _details(cv2.resize(image, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA))
    details = (details - details.mean()).ravel()
    norm = float(np.linalg.norm(details))
    return details / norm if norm > _LEAST_DETAIL * _SMALL else np.zeros_like(details)


def _details(image: np.ndarray) -> np.ndarray:
    """Return structures smaller than an eighth of the image, without overall brightness and light from one side."""
    image = image.astype(np.float32)
    return image - cv2.GaussianBlur(image, (0, 0), len(image) / 8)


_MOST_FACES = 200  # largest number of pairs whose faces are detected and compared


def copy_problems(
    clips: Sequence[tuple[str, list[Path]]], workers: int, progress: Callable[[int, int], None]
) -> list[Problem]:
    """Return each clip of `checks.clips.images_of` that is a near copy of another subject's clip.

    The faces are compared too, because similar whole images may show two people in front of the same wall.
    """
    chosen = [[paths[place] for place in places(len(paths))] for _, paths in clips]
    readable = list(decoded(_thumbnails, chosen, workers, progress))
    owners = ["/".join(name.split("/")[:2]) for name, _ in clips]
    paths = [[path for path, _ in of_clip] for of_clip in readable]
    images = [[image for _, image in of_clip] for of_clip in readable]
    copies: dict[int, list[Pair]] = {}
    for number, pair in enumerate(near_copies(owners, images, WHOLE)):
        if number >= _MOST_FACES or _shows_one_face(pair, paths):
            copies.setdefault(pair.other, []).append(pair)
    found = []
    for other, pairs in sorted(copies.items()):
        first = pairs[0]
        shows = f"{paths[other][first.other_image]} shows the same as {paths[first.one][first.image]}"
        named = f"clips of another subject are near copies of this one: {some(clips[pair.one][0] for pair in pairs)}"
        found.append(Problem(clips[other][0], "near_copy", f"{shows}: {named}"))
    return found


def _thumbnails(paths: list[Path]) -> list[tuple[Path, np.ndarray]]:
    """Return thumbnails with their paths; images that cannot be read are reported by another check."""
    found = []
    for path in paths:
        with suppress(UnreadableImageError):
            image = read_image(path)
            if min(image.shape[:2]) >= LEAST_SIDE:
                found.append((path, thumbnail(image)))
    return found


def _shows_one_face(pair: Pair, paths: Sequence[Sequence[Path]]) -> bool:
    """Return True if a pair shows the same face; images without a face count as the same."""
    aligned: list[np.ndarray] = []
    for path in (paths[pair.one][pair.image], paths[pair.other][pair.other_image]):
        image = read_image(path)
        if (face := find_face(image)) is None:
            return True
        aligned.append(align(image, alignment(face.landmarks, SIDE), SIDE))
    return is_copy(aligned[0], aligned[1], pair.mirrored)

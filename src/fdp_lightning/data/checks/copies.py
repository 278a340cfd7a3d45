"""Search for clips that are near copies of another subject's, by decoding and comparing a few pictures of each."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from fdp_lightning.data.checks.near_copies import LEAST_SIDE, SIDE, WHOLE, Pair, is_copy, near_copies, places, thumbnail
from fdp_lightning.data.checks.problems import Problem, some
from fdp_lightning.data.faces.alignment import align, alignment, find_face
from fdp_lightning.data.faces.frames import UnreadableImageError, read_image

_MOST_FACES = 200
"""Largest number of pairs whose faces are detected and compared."""


def copy_problems(
    clips: Sequence[tuple[str, list[Path]]], workers: int, progress: Callable[[int, int], None]
) -> list[Problem]:
    """Return each clip that shows the same as a clip of another subject.

    Whole pictures that are alike may still show two people in front of one wall, so their faces are compared too.

    Args:
        clips: names and files of clips from `checks.pictures`, of all members of a composite.
        workers: number of threads; decoding releases the GIL.
        progress: callback with (clips done, clips).
    """
    chosen = [[paths[place] for place in places(len(paths))] for _, paths in clips]
    pictures = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            for done, thumbnails in enumerate(pool.map(_thumbnails, chosen), start=1):
                pictures.append(thumbnails)
                progress(done, len(clips))
    finally:
        cv2.setNumThreads(threads)
    owners = ["/".join(name.split("/")[:2]) for name, _ in clips]
    readable = [[picture for picture in thumbnails if picture is not None] for thumbnails in pictures]
    paths = [
        [path for path, picture in zip(of_clip, thumbnails, strict=True) if picture is not None]
        for of_clip, thumbnails in zip(chosen, pictures, strict=True)
    ]
    copies: dict[int, list[Pair]] = {}
    for number, pair in enumerate(near_copies(owners, readable, WHOLE)):
        if number >= _MOST_FACES or _shows_one_face(pair, paths):
            copies.setdefault(pair.other, []).append(pair)
    return [
        Problem(
            clips[other][0],
            "near_copy",
            f"{paths[other][pairs[0].other_picture]} shows what {paths[pairs[0].one][pairs[0].picture]} does: clips of "
            f"another subject are near copies of this one: {some(clips[pair.one][0] for pair in pairs)}",
        )
        for other, pairs in sorted(copies.items())
    ]


def _thumbnails(paths: list[Path]) -> list[np.ndarray | None]:
    """Return thumbnails; None for a picture that cannot be read, which another check reports."""
    found: list[np.ndarray | None] = []
    for path in paths:
        try:
            picture = read_image(path)
        except UnreadableImageError:
            found.append(None)
            continue
        found.append(thumbnail(picture) if min(picture.shape[:2]) >= LEAST_SIDE else None)
    return found


def _shows_one_face(pair: Pair, paths: Sequence[Sequence[Path]]) -> bool:
    """Return True if a pair shows the same face; pictures without a face count as alike."""
    aligned: list[np.ndarray] = []
    for path in (paths[pair.one][pair.picture], paths[pair.other][pair.other_picture]):
        picture = read_image(path)
        face = find_face(picture)
        if face is None:
            return True
        aligned.append(align(picture, alignment(face.landmarks, SIDE), SIDE))
    one, other = aligned
    return is_copy(one, other, pair.mirrored)

"""The synthetic data set: settings, and the writing of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from fdp_lightning.data.synthetic.clip_files import ClipTruth, write_clip, write_ground_truth
from fdp_lightning.data.synthetic.course import COURSES
from fdp_lightning.data.synthetic.layouts import LAYOUTS, NOTICE
from fdp_lightning.data.synthetic.photograph import (
    ASTRONAUT_CREDIT,
    Photograph,
    find_portraits,
    portrait_files,
)
from fdp_lightning.errors import UserError
from fdp_lightning.files import atomic_folder
from fdp_lightning.processes import end_with_parent, forkserver

GENERATOR_VERSION = 3  # raise it whenever the same settings would give other pictures
CONTROLS = ("none", "static", "reversed")
MANIFEST = "synthetic.json"


@dataclass(frozen=True)
class SyntheticFaces:
    """Pseudo-subjects showing subtle action units, in CASME II's or SAMM's own layout.

    Starts from a photograph in the public domain (or the user's own, one face each), so that the set may be
    used by anyone. Classes are balanced; `ground_truth.csv` and `synthetic.json` lie beside the annotations.

    Attributes:
        subjects: number of pseudo-subjects.
        clips_per_emotion: clips of each class per subject.
        min_frames: shortest clip, onset to offset inclusive.
        max_frames: longest clip; lengths are uniform between the two.
        height: frame height in pixels.
        width: frame width in pixels; the face takes about a third of it.
        amplitude: factor on the displacement by action units; 1 peaks at about 2.5 px on a face 110 px wide.
        noise: factor on head drift, flicker and sensor noise together; up to 1 also on the blinks and turns of "wild".
        control: "static" repeats each neutral frame under new noise; "reversed" stores "none" backwards.
        course: when the motion happens. "plain": from the first frame to the last, most of it still there at the end.
            "wild": in 45 to 60 % of the frames, at rest before and after, with the apex anywhere in 20 to 80 % of the
            clip, at uneven speed; and in some clips a blink or a slow turn of the head that means nothing.
        layout: "casme2" or "samm".
        portraits: a folder of pictures to use in place of the astronaut.
        seed: everything random follows from it.
    """

    subjects: int = 12
    clips_per_emotion: int = 5
    min_frames: int = 18
    max_frames: int = 30
    height: int = 240
    width: int = 320
    amplitude: float = 1.0
    noise: float = 1.0
    control: str = "none"
    course: str = "plain"
    layout: str = "casme2"
    portraits: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.control in CONTROLS, "control", self.control, f"one of {', '.join(CONTROLS)}")
        _require(self.course in COURSES, "course", self.course, f"one of {', '.join(COURSES)}")
        _require(self.layout in LAYOUTS, "layout", self.layout, f"one of {', '.join(LAYOUTS)}")
        layout = LAYOUTS[self.layout]
        bounds = {
            "subjects": (1, layout.max_subjects),
            "clips_per_emotion": (1, layout.max_clips // len(layout.emotions)),
            "min_frames": (8, 1000),
            "max_frames": (self.min_frames, 1000),
            "height": (120, 1080),
            "width": (120, 1920),
            "seed": (0, 2**32 - 1),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            inside = isinstance(value, int) and least <= value <= most
            _require(inside, name, value, f"a whole number from {least} to {most}")
        for name in ("amplitude", "noise"):
            value = getattr(self, name)
            inside = isinstance(value, int | float) and 0 <= value <= 10
            _require(inside, name, value, "a number from 0 to 10")
        if self.portraits is not None:
            portrait_files(Path(self.portraits))

    def digest(self) -> str:
        """Eight hexadecimal characters for the settings, the portraits and the generator's version."""
        text = json.dumps([GENERATOR_VERSION, self._settings()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def write(self, root: Path, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> None:
        """Write the data set; nothing is under `root` until all of it is.

        The files are the same for any number of workers. A script that asks for more than one needs the usual
        `if __name__ == "__main__":` guard, because each worker imports it.

        Args:
            root: folder to make; if it already holds this very data set nothing is done.
            workers: processes.
            progress: called with (clips done, clips in all) after each clip.

        Raises:
            UserError: `root` holds something else, or a portrait shows no face.
        """
        root = Path(root)
        if self._is_at(root):
            return
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(f"{root} exists and is not the synthetic data set asked for; move it or choose another.")
        with atomic_folder(root, self._is_at) as folder:
            truths = self._write_clips(folder, workers, progress)
            truths.sort(key=lambda truth: (truth.row.subject, truth.row.clip))
            LAYOUTS[self.layout].write_annotations(folder, [truth.row for truth in truths])
            write_ground_truth(folder / "ground_truth.csv", truths, self.course)
            manifest = {
                "synthetic": True,
                "notice": NOTICE,
                "digest": self.digest(),
                "generator_version": GENERATOR_VERSION,
                "settings": self._settings(),
                "photographs": ASTRONAUT_CREDIT if self.portraits is None else "the user's own; not licensed by us",
                "clips": len(truths),
            }
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")

    def _write_clips(self, folder: Path, workers: int, progress: Callable[[int, int], None] | None) -> list[ClipTruth]:
        photographs = (Photograph(),) if self.portraits is None else find_portraits(Path(self.portraits))
        clips = len(LAYOUTS[self.layout].emotions) * self.clips_per_emotion
        tasks = [(subject, clip) for subject in range(self.subjects) for clip in range(clips)]
        truths = []
        for truth in _map(partial(write_clip, self, photographs, folder), tasks, workers):
            truths.append(truth)
            if progress is not None:
                progress(len(truths), len(tasks))
        return truths

    def _is_at(self, root: Path) -> bool:
        manifest = root / MANIFEST
        return manifest.is_file() and json.loads(manifest.read_text()).get("digest") == self.digest()

    def _settings(self) -> dict[str, Any]:
        """The settings with 1 and 1.0 alike, and portraits by name and size wherever their folder lies."""
        settings = asdict(self) | {"amplitude": float(self.amplitude), "noise": float(self.noise)}
        if self.course == "plain":  # as before there was another: equal files keep their name
            del settings["course"]
        if self.portraits is not None:
            files = portrait_files(Path(self.portraits))
            settings["portraits"] = [[file.name, file.stat().st_size] for file in files]
        return settings


def _map(
    write: Callable[[tuple[int, int]], ClipTruth], tasks: list[tuple[int, int]], workers: int
) -> Iterator[ClipTruth]:
    """Results in the order of the tasks; an exception, here or where they are used, cancels the rest."""
    if workers <= 1:
        yield from map(write, tasks)
        return
    pool = ProcessPoolExecutor(workers, forkserver(), initializer=_start_worker)
    try:
        yield from pool.map(write, tasks)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


def _require(holds: bool, option: str, value: object, wanted: str) -> None:
    if not holds:
        raise UserError(f"{option}={value!r}: expected {wanted}.")

"""The synthetic dataset: its settings, and how it is written clip by clip in several processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from fdp_lightning.console.option_values import require_settings
from fdp_lightning.data.synthetic.action_units import Emotion, code
from fdp_lightning.data.synthetic.clip import Scene, plan_clip, render, stage
from fdp_lightning.data.synthetic.identity import (
    ASTRONAUT_CREDIT,
    Identity,
    Photograph,
    draw_identity,
    find_portraits,
    portrait_files,
    zoom_of,
)
from fdp_lightning.data.synthetic.layouts import LAYOUTS, NOTICE, DrawnRow
from fdp_lightning.errors import UserError
from fdp_lightning.files import atomic_folder
from fdp_lightning.processes import in_pool

GENERATOR_VERSION = 3  # increased whenever the same settings would produce other images
MANIFEST = "synthetic.json"
# A subject's random stream has an index that no clip has, because SeedSequence would pad a shorter key with zeros.
SUBJECT_STREAM = 0xFACE


@dataclass(frozen=True)
class SyntheticFaces:
    """Pseudo-subjects showing subtle action units, in the layout of CASME II or SAMM, drawn from a photograph in the
    public domain (or the user's portraits). Classes are balanced; `ground_truth.csv` and `synthetic.json` are stored
    with the annotations.

    Attributes:
        subjects: number of pseudo-subjects.
        clips_per_emotion: clips of each class per subject.
        min_frames: length of the shortest clip, onset and offset included.
        max_frames: length of the longest clip; lengths are uniformly distributed between the two.
        height: frame height in pixels.
        width: frame width in pixels; the face takes about a third of it.
        amplitude: factor on the displacement by action units; 1 peaks at about 2.5 px on a face 110 px wide.
        noise: factor on head drift, flicker and sensor noise together; up to 1, also on the blinks and turns of "wild".
        control: "static" repeats each neutral frame with new noise; "reversed" stores the clips of "none" backwards.
        course: time course of the motion. "plain": from the first frame to the last, with most of it left at the end.
            "wild": in 45 to 60 % of the frames, at rest before and after, with the apex anywhere in 20 to 80 % of the
            clip, at uneven speed, and in some clips with a meaningless blink or slow turn of the head.
        layout: "casme2" or "samm".
        portraits: folder of portraits, with one face each, that replace the astronaut.
        seed: seed of everything random.
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
    portraits: str | Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_settings("data.generate", self)
        layout = LAYOUTS[self.layout]
        most_clips = layout.max_clips // len(layout.emotions)
        for name, holds, expected in (
            ("subjects", self.subjects <= layout.max_subjects, f"at most {layout.max_subjects}"),
            ("clips_per_emotion", self.clips_per_emotion <= most_clips, f"at most {most_clips}"),
            ("max_frames", self.max_frames >= self.min_frames, f"at least min_frames, {self.min_frames}"),
        ):
            if not holds:
                raise UserError(f"data.generate.{name} is {getattr(self, name)}; expected {expected}")
        if self.portraits is not None:
            portrait_files(Path(self.portraits))

    def digest(self) -> str:
        """Return eight hexadecimal characters for the settings, the portraits and the generator's version."""
        text = json.dumps([GENERATOR_VERSION, self._settings()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def write(self, root: Path, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> None:
        """Write the dataset to `root` atomically, unless it is already there. The files do not depend on `workers`;
        more than one worker needs the usual `if __name__ == "__main__":` guard. Raises UserError if `root` contains
        something else, or a portrait shows no face.
        """
        root = Path(root)
        if self._is_at(root):
            return
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(f"{root} exists but is not the requested synthetic dataset; move it or choose another.")
        with atomic_folder(root, self._is_at) as folder:
            clips = sorted(self._write_clips(folder, workers, progress), key=lambda clip: (clip.subject, clip.clip))
            LAYOUTS[self.layout].write_annotations(folder, clips)
            write_ground_truth(folder / "ground_truth.csv", clips, self.course)
            manifest = {
                "synthetic": True,
                "notice": NOTICE,
                "digest": self.digest(),
                "generator_version": GENERATOR_VERSION,
                "settings": self._settings(),
                "photographs": ASTRONAUT_CREDIT if self.portraits is None else "the user's own; not licensed by us",
                "clips": len(clips),
            }
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")

    def scene(self, identity: Identity, emotion: Emotion, rng: np.random.Generator) -> Scene:
        lengths, zoom = (self.min_frames, self.max_frames), zoom_of(self.height, self.width)
        plan = plan_clip(emotion, lengths, identity.framing, zoom, rng, self.course)
        return stage(identity, plan, self.height, self.width, self.amplitude)

    def place(self, frame: int, frames: int) -> int:
        """Return the index of a frame in the stored clip, given its index in time."""
        return frames - 1 - frame if self.control == "reversed" else frame

    def _write_clips(self, folder: Path, workers: int, progress: Callable[[int, int], None] | None) -> list[DrawnRow]:
        photographs = (Photograph(),) if self.portraits is None else find_portraits(Path(self.portraits))
        clips = len(LAYOUTS[self.layout].emotions) * self.clips_per_emotion
        tasks = [(subject, clip) for subject in range(self.subjects) for clip in range(clips)]
        rows = []
        write = partial(write_clip, self, photographs, folder)
        for row in map(write, tasks) if workers <= 1 else in_pool(write, tasks, workers):
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(tasks))
        return rows

    def _is_at(self, root: Path) -> bool:
        try:
            return bool(json.loads((root / MANIFEST).read_text())["digest"] == self.digest())
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return False  # none, or not ours

    def _settings(self) -> dict[str, Any]:
        """Return the settings in canonical form: 1 equals 1.0, and portraits count by name and size in any folder."""
        settings = asdict(self) | {"amplitude": float(self.amplitude), "noise": float(self.noise)}
        if self.course == "plain":  # omitted as before the option existed, so that equal files keep their digest
            del settings["course"]
        if self.portraits is not None:
            files = portrait_files(Path(self.portraits))
            settings["portraits"] = [[file.name, file.stat().st_size] for file in files]
        return settings


@lru_cache(maxsize=2)
def subject_of(
    settings: SyntheticFaces, photographs: tuple[Photograph, ...], index: int
) -> tuple[Identity, list[str], list[int]]:
    """Draw a pseudo-subject, the names of its clips and the class index of each, in shuffled order."""
    layout = LAYOUTS[settings.layout]
    rng = np.random.default_rng(np.random.SeedSequence([settings.seed, index, SUBJECT_STREAM]))
    # Every second use of a photograph is mirrored.
    mirror = bool((index // len(photographs)) % 2)
    photograph = photographs[index % len(photographs)]
    identity = draw_identity(photograph, mirror, settings.height, settings.width, rng)
    labels = list(range(len(layout.emotions))) * settings.clips_per_emotion
    rng.shuffle(labels)
    return identity, layout.clip_names(layout.subject(index), len(labels), rng), labels


def write_clip(
    settings: SyntheticFaces, photographs: tuple[Photograph, ...], root: Path, task: tuple[int, int]
) -> DrawnRow:
    """Draw and write the frames of the clip `task` (subject index, clip index), independently of all other clips."""
    layout = LAYOUTS[settings.layout]
    subject, clip = task
    identity, names, labels = subject_of(settings, photographs, subject)
    sequence = np.random.SeedSequence([settings.seed, subject, clip])
    seed = int(sequence.generate_state(1)[0])
    # Separate streams, so that names, lengths and labels do not depend on the draws for the images.
    plan_rng, name_rng, frame_rng = (np.random.default_rng(child) for child in sequence.spawn(3))
    scene = settings.scene(identity, layout.emotions[labels[clip]], plan_rng)
    plan = scene.plan
    static = settings.control == "static"
    onset, digits = layout.numbering(name_rng)
    apex, *moving = (onset + settings.place(frame, plan.frames) for frame in (scene.apex, *plan.moving))
    # In a static clip nothing moves, regardless of its label.
    row = DrawnRow(
        subject=layout.subject(subject),
        clip=names[clip],
        emotion=plan.emotion,
        actions=plan.actions,
        onset=onset,
        apex=apex,
        offset=onset + plan.frames - 1,
        digits=digits,
        peak=0.0 if static else settings.amplitude * float(scene.displacement.max()),
        residual=0.0 if static else plan.residual,
        seed=seed,
        moving=() if static else tuple(sorted(moving)),
        nuisance="none" if static or plan.nuisance is None else plan.nuisance.kind,
    )
    for frame, image in enumerate(render(scene, settings.noise, static, frame_rng)):
        path = root / layout.frame_path(row, onset + settings.place(frame, plan.frames))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if layout.grey else image))
    return row


def jpeg(image: np.ndarray) -> bytes:
    """Encode an image, uint8 BGR (h, w, 3) or grey (h, w), like the frames of the dataset."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def write_ground_truth(path: Path, rows: Iterable[DrawnRow], course: str) -> None:
    """Write what the annotations lack: peak displacement, residual motion (of reversed clips in the first frame) and
    seed of every clip, and for wild clips the interval of the motion and the nuisance.
    """
    lines = []
    for row in rows:
        line: dict[str, object] = {"subject": row.subject, "clip": row.clip, "emotion": row.emotion}
        line |= {"action_units": code(row.actions), "onset": row.onset, "apex": row.apex, "offset": row.offset}
        line |= {"peak_px": f"{row.peak:.4f}", "residual": f"{row.residual:.4f}", "clip_seed": row.seed}
        if course == "wild":
            start, end = row.moving or ("", "")
            line |= {"motion_start": start, "motion_end": end, "nuisance": row.nuisance}
        lines.append(line)
    pd.DataFrame(lines).to_csv(path, index=False, lineterminator="\n")

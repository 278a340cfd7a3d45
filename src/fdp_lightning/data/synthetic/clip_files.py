"""From settings and a clip's index to its files: the unit of work that is shared out among processes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fdp_lightning.data.synthetic.action_units import code
from fdp_lightning.data.synthetic.clip import plan_clip, render, stage
from fdp_lightning.data.synthetic.identity import Identity, draw_identity, zoom_of
from fdp_lightning.data.synthetic.layouts import LAYOUTS, ClipRow
from fdp_lightning.data.synthetic.photograph import Photograph

if TYPE_CHECKING:
    from fdp_lightning.data.synthetic.generator import SyntheticFaces

JPEG_QUALITY = 95
# A subject's own stream sits beside its clips' at an index no clip has. (A shorter key would not do:
# SeedSequence pads with zeros, so [seed, subject] is [seed, subject, 0], the first clip's.)
SUBJECT_STREAM = 0xFACE


@dataclass(frozen=True)
class ClipTruth:
    """What was really drawn.

    Attributes:
        row: what the annotations say.
        peak: largest displacement, in pixels of the frame.
        residual: fraction of it left at the end.
        seed: of the clip.
        moving: numbers of the first and the last frame in which a unit is not at rest; None if none ever moves.
        nuisance: what happens besides and means nothing: none, blink or turn.
    """

    row: ClipRow
    peak: float
    residual: float
    seed: int
    moving: tuple[int, int] | None
    nuisance: str


@lru_cache(maxsize=2)
def subject_of(
    settings: SyntheticFaces, photographs: tuple[Photograph, ...], index: int
) -> tuple[Identity, list[str], list[int]]:
    """A pseudo-subject, the names of its clips and the class index of each, in shuffled order."""
    layout = LAYOUTS[settings.layout]
    rng = np.random.default_rng(np.random.SeedSequence([settings.seed, index, SUBJECT_STREAM]))
    # Every second use of a photograph is its mirror image.
    mirror = bool((index // len(photographs)) % 2)
    photograph = photographs[index % len(photographs)]
    identity = draw_identity(photograph, mirror, settings.height, settings.width, rng)
    labels = list(range(len(layout.emotions))) * settings.clips_per_emotion
    rng.shuffle(labels)
    return identity, layout.clip_names(layout.subject(index), len(labels), rng), labels


def write_clip(
    settings: SyntheticFaces, photographs: tuple[Photograph, ...], root: Path, task: tuple[int, int]
) -> ClipTruth:
    """Draw and write the frames of clip (subject index, clip index); depends on no other clip."""
    layout = LAYOUTS[settings.layout]
    subject, clip = task
    identity, names, labels = subject_of(settings, photographs, subject)
    sequence = np.random.SeedSequence([settings.seed, subject, clip])
    seed = int(sequence.generate_state(1)[0])
    # Separate streams, so that names, lengths and labels are the same whatever is drawn for the pictures.
    plan_rng, name_rng, frame_rng = (np.random.default_rng(child) for child in sequence.spawn(3))
    lengths = (settings.min_frames, settings.max_frames)
    zoom = zoom_of(settings.height, settings.width)
    plan = plan_clip(layout.emotions[labels[clip]], lengths, identity.framing, zoom, plan_rng, settings.course)
    scene = stage(identity, plan, settings.height, settings.width, settings.amplitude)

    static, backwards = settings.control == "static", settings.control == "reversed"
    onset, digits = layout.numbering(name_rng)
    offset = onset + plan.frames - 1
    apex = offset - scene.apex if backwards else onset + scene.apex
    name = layout.subject(subject)
    row = ClipRow(name, names[clip], plan.emotion, plan.actions, onset, apex, offset, digits)
    for index, picture in enumerate(render(scene, settings.noise, static, frame_rng)):
        path = root / layout.frame_path(row, offset - index if backwards else onset + index)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if layout.grey else picture
        path.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    if static:  # nothing moves in it, whatever its label says
        return ClipTruth(row, 0.0, 0.0, seed, None, "none")
    first, last = plan.moving
    moving = (offset - last, offset - first) if backwards else (onset + first, onset + last)
    peak = settings.amplitude * float(scene.displacement.max())
    nuisance = "none" if plan.nuisance is None else plan.nuisance.kind
    return ClipTruth(row, peak, plan.residual, seed, moving, nuisance)


def write_ground_truth(path: Path, truths: Iterable[ClipTruth], course: str) -> None:
    """Write what the annotations do not say: peak displacement, residual and seed of every clip.

    Of a wild clip also when its motion is, and its nuisance; a plain one moves throughout and has none. The residual of
    a reversed clip is what it shows at its first frame.
    """
    labels = ["subject", "clip", "emotion", "action_units"]
    figures = ["onset", "apex", "offset", "peak_px", "residual", "clip_seed"]
    if course == "wild":
        figures += ["motion_start", "motion_end", "nuisance"]
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(labels + figures)
        for truth in truths:
            row = truth.row
            line: list[object] = [row.subject, row.clip, row.emotion, code(row.actions)]
            line += [
                row.onset,
                row.apex,
                row.offset,
                f"{truth.peak:.4f}",
                f"{truth.residual:.4f}",
                truth.seed,
            ]
            if course == "wild":
                line += [*(truth.moving or ("", "")), truth.nuisance]
            table.writerow(line)

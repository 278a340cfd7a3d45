"""What a model says of a clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdp_lightning.extras import Extra


@dataclass(frozen=True)
class FaceUsed:
    """The face that a clip is aligned by.

    Attributes:
        box: left, top, right, bottom, pixels of the picture as it is shown.
        confidence: MTCNN's probability; None where no face was looked for and the box is the whole picture.
        frame: number of the frame it was found on.
        count: faces on that frame; this one is the largest.
        turned: quarter turns, counter-clockwise, after which the picture is upright.
    """

    box: tuple[float, float, float, float]
    confidence: float | None
    frame: int
    count: int
    turned: int = 0


@dataclass(frozen=True)
class Prediction:
    """What a model says of one clip.

    Attributes:
        name: of the clip.
        label: its class; of a model of action units those above 0.5, joined by '+', '' for none.
        probabilities: class → probability; of action units each for itself.
        frame_numbers: of the frames used, (t,): counted from 0 in a video, of a folder those of its files; between
            two numbers for a blend of two frames.
        seconds: of these frames since the first of the footage, shape (t,); None where the frame rate is unknown.
        motion: how far the frame that differs most from the first does, mean absolute difference of values of 0..1.
        face: by which the clip is aligned.
        transform: picture pixels → aligned pixels, shape (2, 3).
        frames: aligned, as the network sees them but for its normalisation: uint8, shape (t, h, w) or (t, h, w, 3).
        extras: what else the recogniser gives of the clip, by name; what each is stands in `declared`.
        declared: kind and title of each of them, in order.
        length: frames of the clip.
        timing: seconds of reading the footage, of finding the face, and of the network.
        warnings: sentences on what makes this prediction worth less.
    """

    name: str
    label: str
    probabilities: dict[str, float]
    frame_numbers: np.ndarray
    seconds: np.ndarray | None
    motion: float
    face: FaceUsed
    transform: np.ndarray
    frames: np.ndarray
    length: int
    timing: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    declared: tuple[Extra, ...] = ()

    def of_kind(self, kind: str) -> list[tuple[Extra, np.ndarray]]:
        """The extras of a kind, in order."""
        return [(extra, self.extras[extra.name]) for extra in self.declared if extra.kind == kind]

    def facts(self) -> dict[str, Any]:
        """All but the pictures, as plain data: an entry of predict.json."""
        seconds = self.seconds
        return {
            "clip": self.name,
            "class": self.label,
            "probabilities": self.probabilities,
            "extras": {
                extra.name: {"kind": extra.kind, "title": extra.title}
                | ({} if extra.kind == "image" else {"values": self.extras[extra.name].tolist()})
                for extra in self.declared
            },
            "frames_used": self.frame_numbers.tolist(),
            "seconds": None if seconds is None else seconds.tolist(),
            "length": self.length,
            "motion": self.motion,
            "face": {
                "box": list(self.face.box),
                "confidence": self.face.confidence,
                "found_on_frame": self.face.frame,
                "faces_there": self.face.count,
                "turned": self.face.turned * 90,
            },
            "transform": self.transform.tolist(),
            "timing": self.timing,
            "warnings": self.warnings,
        }

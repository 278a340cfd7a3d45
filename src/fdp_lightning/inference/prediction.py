"""Prediction of a clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdp_lightning.extras import Extra


@dataclass(frozen=True)
class FaceUsed:
    """The face that a clip is aligned by.

    `box` is left, top, right, bottom, in pixels of the displayed image. `confidence` is MTCNN's, or None if no face was
    detected and the box is the whole image. The face is the largest of `count` in frame number `frame`; `turned`
    counter-clockwise quarter turns make the image upright.
    """

    box: tuple[float, float, float, float]
    confidence: float | None
    frame: int
    count: int
    turned: int = 0


@dataclass(frozen=True, kw_only=True)
class ReadClip:
    """The frames of a clip that a model sees.

    Attributes:
        frames: aligned frames before the network's normalisation, uint8, shape (t, h, w) or (t, h, w, 3).
        frame_numbers: numbers of the frames used, shape (t,): counted from 0 in a video, those of the files in a
            folder; between two numbers for a blend of two frames.
        seconds: times of these frames since the first of the video, shape (t,); None if the frame rate is unknown.
        face: face that the clip is aligned by.
        transform: affine transform from image pixels to aligned pixels, shape (2, 3).
        length: number of frames of the clip.
        timing: seconds spent on reading the video, finding the face and, for a prediction, running the network.
        warnings: sentences on what makes a prediction less reliable.
    """

    frames: np.ndarray
    frame_numbers: np.ndarray
    seconds: np.ndarray | None
    face: FaceUsed
    transform: np.ndarray
    length: int
    timing: dict[str, float]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Prediction(ReadClip):
    """Prediction of one clip by a model, with what it read of the clip (`ReadClip`).

    Attributes:
        name: name of the clip.
        label: predicted class; for action units those above 0.5, joined by '+', '' for none.
        probabilities: class → probability; for action units each independent of the others.
        motion: mean absolute difference, of values in [0, 1], between the first frame and the most different one.
        extras: further outputs of the recogniser by name, described by `declared`.
        declared: kind and title of each extra, in order.
    """

    name: str
    label: str
    probabilities: dict[str, float]
    motion: float
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    declared: tuple[Extra, ...] = ()

    def of_kind(self, kind: str) -> list[tuple[Extra, np.ndarray]]:
        return [(extra, self.extras[extra.name]) for extra in self.declared if extra.kind == kind]

    def facts(self) -> dict[str, Any]:
        """Return everything but the images as plain data: an entry of predict.json."""
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


def differences_from_first(prediction: Prediction) -> np.ndarray:
    """Return the mean absolute difference of each frame from the first, in grey values, shape (t,)."""
    frames = prediction.frames.reshape(len(prediction.frames), -1).astype(np.int16)
    return np.abs(frames - frames[0]).mean(axis=1)

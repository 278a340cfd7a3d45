"""A stand-in for a trained model that decodes videos and predicts by simple arithmetic.

Run as a program, it serves its demo and reports connections and files opened for writing on stderr.
"""

import io
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import av
import numpy as np

from fdp_lightning.errors import UserError
from fdp_lightning.extras import Extra
from fdp_lightning.inference.prediction import FaceUsed, Prediction

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]
FACTS = {
    "name": "FDP on synthetic_5c, all subjects", "synthetic": True, "licence": "Apache-2.0", "classes": CLASSES,
    "multi_label": False,
    "training": {"dataset": "synthetic", "protocol": "synthetic_5c", "clips": 300, "subjects": ["synthetic/01"]},
    "scores": {
        "uf1": 0.5, "uf1_interval": [0.25, 0.75], "n_subjects": 12, "floors": {"chance": {"uf1": 0.2}}, "caveats": [],
    },
}  # fmt: skip


def film(frames: int = 12) -> bytes:
    """Return a small MP4 of rising brightness."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=25)
        track.width, track.height, track.pix_fmt = 160, 120, "yuv420p"
        ramp = np.linspace(0, 120, 160)[None, :, None] * np.ones((120, 1, 3))
        for i in range(frames):
            image = (ramp + 100 * i / frames).astype(np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(track.encode())
    return stream.getvalue()


class StandIn:
    """Has the interface of `Model`; some names of videos provoke faults."""

    def __init__(self) -> None:
        self.facts, self._one = FACTS, threading.Lock()

    def look(self, source: BinaryIO, name: str = "") -> Any:
        """Predict on videos of up to two seconds; scan longer ones."""
        if not self._one.acquire(blocking=False):
            raise RuntimeError("two predictions at once")
        try:
            if name == "bug":
                raise RuntimeError("a bug")
            while name == "endless":
                source.seek(0)
                time.sleep(0.01)
            while name == "slow" and not Path("go on").exists():  # in the demo's folder
                time.sleep(0.01)
            try:
                frames = frames_of(source.read())
            except av.FFmpegError as error:
                raise UserError(f"{name} is no video that can be read ({error.strerror})") from error
            clip = answer(frames, name)
            return clip if len(frames) <= 50 else scan(clip, len(frames))
        finally:
            self._one.release()

    def explained(self, result: Any) -> Any:
        return result


def frames_of(video: bytes) -> np.ndarray:
    """Return grey frames, shape (t, h, w)."""
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="gray8") for frame in container.decode(video=0)])


def answer(frames: np.ndarray, name: str) -> Prediction:
    """Return a prediction that depends only on the frames, shape (t, h, w), and the name."""
    places = np.linspace(0, len(frames) - 1, 8)
    small = frames[places.astype(int), 4:116, 24:136][:, ::2, ::2]
    weights = 1 + np.arange(5) + small.mean() / 10
    shares = weights / weights.sum()
    scores = small.mean((1, 2)) / 50 + 0.1 * np.sin(places)
    return Prediction(
        name=name, label=CLASSES[int(shares.argmax())], probabilities=dict(zip(CLASSES, shares.tolist(), strict=True)),
        frame_numbers=places, seconds=places / 25, frames=small, length=len(frames), motion=0.02,
        face=FaceUsed((24.0, 4.0, 136.0, 116.0), 0.998, 0, 1), transform=np.eye(2, 3),
        timing={"reading": 0.01, "face": 0.02, "network": 0.03},
        warnings=["There are 2 faces on its first frame; the largest is used."],
        extras={"score": scores, "last": small[-1] / 255, "first": small[0] / 255, "strength": np.float64(0.25)},
        declared=(
            Extra("score", "curve", "rank score"), Extra("first", "image", "first frame", "pictures"),
            Extra("last", "image", "last frame", "pictures", "A note on pictures."),
            Extra("strength", "scalar", "strength"),
        ),
    )  # fmt: skip


def scan(strongest: Prediction, length: int) -> Any:
    """Return a scan with the given strongest window and one window without a face."""
    windows = []
    for i in range(length // 6):
        shares = dict(zip(CLASSES, np.roll(list(strongest.probabilities.values()), i).tolist(), strict=True))
        seen: dict[str, Any] = {"label": None, "probabilities": None, "motion": None}
        if i != 3:
            seen = {"label": max(shares, key=shares.__getitem__), "probabilities": shares}
            seen["motion"] = 0.01 + 0.03 * (i == 5) + 0.001 * i
        windows.append(SimpleNamespace(start=i / 4, end=i / 4 + 0.48, **seen))
    facts = {
        "clip": strongest.name, "seconds": (length - 1) / 25, "length": length, "warnings": [],
        "timing": {"reading": 0.5},
    }  # fmt: skip
    return SimpleNamespace(name=strongest.name, windows=windows, strongest=strongest, warnings=[], facts=lambda: facts)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.mkdir", "os.rename"):
        os.write(2, f"AUDIT {event} {arguments}\n".encode())


if __name__ == "__main__":
    from fdp_lightning.inference.demo.app import demo_app
    from fdp_lightning.tasks.demo import listening, serve

    with listening(0) as place:
        most_bytes, most_seconds = int(sys.argv[1]), float(sys.argv[2])
        application = demo_app(StandIn(), lambda _: film(), most_bytes, most_seconds)
        frames_of(film())  # triggers imports and compilation of first use
        sys.addaudithook(_watch)
        serve(application, place, FACTS["name"])

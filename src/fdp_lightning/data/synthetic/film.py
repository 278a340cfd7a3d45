"""A drawn clip as a video file or a folder of frames, of a pseudo-subject that is in no synthetic dataset."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.data.synthetic.action_units import Action
from fdp_lightning.data.synthetic.clip import render
from fdp_lightning.data.synthetic.generator import SUBJECT_STREAM, SyntheticFaces, jpeg
from fdp_lightning.data.synthetic.identity import Photograph, draw_identity, find_portraits
from fdp_lightning.data.synthetic.layouts import LAYOUTS
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic

FPS = 60.0  # 18 to 30 frames, the default, then last 0.3 to 0.5 s, like a micro-expression
FILM_STREAM = 0xF117  # used in place of a subject index, which is below 100 in datasets: none contains this subject


_H264 = ("libx264", "yuv420p", {"crf": "4", "preset": "veryfast"})
# Suffix → container, codec, pixel format and options of FFmpeg. Nearly lossless except for the colours, of which the
# usual formats keep every second row and column.
CODINGS = {
    ".mp4": ("mp4", *_H264),
    ".mov": ("mov", *_H264),
    ".mkv": ("matroska", *_H264),
    ".avi": ("avi", "mjpeg", "yuvj420p", {"qmin": "1", "qmax": "2"}),
    ".webm": ("webm", "libvpx-vp9", "yuv420p", {"crf": "4", "b": "0", "deadline": "realtime", "cpu-used": "8"}),
}


@dataclass(frozen=True)
class DrawnClip:
    """A clip from onset to offset.

    Attributes:
        emotion: class name.
        actions: units shown.
        apex: index of the frame with the largest displacement.
        images: frames in order of time, uint8 BGR, each (h, w, 3).
        moved: displacement of each pixel by the units at the apex, in pixels, (h, w) float32: the places that an
            explanation of the clip should point to; 0 for a static clip.
    """

    emotion: str
    actions: tuple[Action, ...]
    apex: int
    images: list[np.ndarray]
    moved: np.ndarray


def draw_clip(emotion: str | int, seed: int = 0, settings: SyntheticFaces | None = None) -> DrawnClip:
    """Draw one clip of an emotion, given by name or index among those of `settings.layout` (else UserError). All
    emotions of a seed show the same pseudo-subject. Size, length, amplitude, noise, control, course and portraits of
    the settings are used.
    """
    settings = replace(settings or SyntheticFaces(), seed=seed)
    emotions = {known.name: known for known in LAYOUTS[settings.layout].emotions}
    names = list(emotions)
    if isinstance(emotion, int) and 0 <= emotion < len(names):
        emotion = names[emotion]
    if emotion not in emotions:
        raise UserError(f"emotion {emotion!r}: expected one of {', '.join(names)}, or its index from 0.")
    photograph = Photograph() if settings.portraits is None else find_portraits(Path(settings.portraits))[0]
    subject_rng = np.random.default_rng(np.random.SeedSequence([seed, FILM_STREAM, SUBJECT_STREAM]))
    mirror = bool(subject_rng.integers(2))
    identity = draw_identity(photograph, mirror, settings.height, settings.width, subject_rng)
    sequence = np.random.SeedSequence([seed, FILM_STREAM, names.index(emotion)])
    plan_rng, frame_rng = (np.random.default_rng(child) for child in sequence.spawn(2))
    scene = settings.scene(identity, emotions[emotion], plan_rng)
    static = settings.control == "static"
    images = list(render(scene, settings.noise, static, frame_rng))
    images = [images[settings.place(frame, len(images))] for frame in range(len(images))]
    apex = settings.place(scene.apex, len(images))
    return DrawnClip(emotion, scene.plan.actions, apex, images, scene.moved() * (0 if static else 1))


def draw_film(
    path: Path, emotion: str | int, seed: int = 0, fps: float = FPS, settings: SyntheticFaces | None = None
) -> DrawnClip:
    """Draw a clip and write it as a video, see `draw_clip` and `write_film`."""
    clip = draw_clip(emotion, seed, settings)
    write_film(path, clip.images, fps)
    return clip


def write_film(path: Path, images: Iterable[np.ndarray], fps: float = FPS) -> None:
    """Write a video without sound, atomically; `images` are encoded one by one.

    The suffix, one of `CODINGS`, selects the format. All images have the same shape, (h, w, 3), uint8 BGR, with even
    sides. Raises ValueError if the suffix is unknown, there is no image, a side is odd, or an image has another shape.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    suffix = path.suffix.lower()
    if suffix not in CODINGS:
        raise ValueError(f"{path}: expected one of {', '.join(CODINGS)}")
    container_format, codec, pixels, options = CODINGS[suffix]
    rest = iter(images)
    if (first := next(rest, None)) is None:
        raise ValueError(f"{path}: there is no image to write")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"images are {width}x{height}; expected even numbers: colours are stored per 2x2 pixels")
    content = BytesIO()
    with av.open(content, "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        context = stream.codec_context
        context.thread_count = 2
        # Stated explicitly, because players otherwise guess it from the size of the image.
        context.colorspace = Colorspace.SMPTE170M
        context.color_range = ColorRange.JPEG if pixels.startswith("yuvj") else ColorRange.MPEG
        # Without these, FFmpeg's fast conversion is half a grey level too dark.
        exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
        for image in chain([first], rest):
            if image.shape != (height, width, 3):
                raise ValueError(f"an image is {image.shape}; expected ({height}, {width}, 3) like the first")
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            converted = frame.reformat(format=pixels, dst_colorspace=context.colorspace, interpolation=exact, threads=1)
            container.mux(stream.encode(converted))
        container.mux(stream.encode())
    write_atomic(path, content.getvalue())


def write_frames(folder: Path, images: Iterable[np.ndarray], first: int = 1) -> None:
    """Write img1.jpg, img2.jpg … from images, uint8 BGR, (h, w, 3), encoded like the frames of the dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, first):
        (folder / f"img{number}.jpg").write_bytes(jpeg(image))

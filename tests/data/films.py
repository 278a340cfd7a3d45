"""Videos of all kinds, encoded on the fly."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def pictures(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Return different RGB images that codecs preserve well and whose corners all differ."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 60, 200, cv2.NORM_MINMAX)
    smooth[: height // 3, : width // 3] //= 3
    return [np.roll(smooth, 2 * step, axis=1) for step in range(count)]


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    rotation: int = 0,
    mirrored: bool = False,
    pixel: Fraction | None = None,
    milliseconds: Sequence[int] | None = None,
    sound: bool = False,
    matrix: int = 5,
    transfer: int = 0,
    kind: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a video of 8- or 16-bit images, at 25 frames per second or at the times `milliseconds`.

    `matrix`, `transfer` and `kind` are as in FFmpeg: colour matrix (and primaries), transfer curve, pixel format.
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {"crf": "2", "g": "10", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else kind
        colour_range = 2 if codec == "mjpeg" else 1
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, colour_range
        if transfer:
            stream.codec_context.color_trc, stream.codec_context.color_primaries = transfer, matrix
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000) if sound else None
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24" if frame.dtype == np.uint8 else "rgb48le").reformat(
                format=stream.pix_fmt, dst_colorspace=matrix, dst_color_range=colour_range, interpolation=4 | 262144
            )
            if milliseconds:
                picture.pts, picture.time_base = milliseconds[index], Fraction(1, 1000)
            if transfer:
                picture.color_trc, picture.color_primaries = transfer, matrix
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if audio:
            write_sound(container, audio, len(frames) / 25)
    return path


def write_sound(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    """Write a quiet tone."""
    wave = 0.1 * np.sin(np.arange(int(48000 * seconds)) / 20, dtype=np.float32)
    sound = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
    sound.sample_rate = 48000
    container.mux(stream.encode(sound))
    container.mux(stream.encode())

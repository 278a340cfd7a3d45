"""Input videos as timed frames, and video files decoded by FFmpeg (PyAV), without the frames affected by damage."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import av
import numpy as np
from av.stream import Disposition

from fdp_lightning.console.option_values import require_allowed
from fdp_lightning.data.checks.problems import some
from fdp_lightning.data.faces.frames import MOST_PIXELS, unreadable
from fdp_lightning.data.input_video.decoded_frame import HDR, UNUSUAL, Clock, Orientation, Upright, orientation
from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Frame:
    """One frame of an input video, decoded to pixels on demand."""

    number: int  # frame number: counted from 0 in a video file, taken from the file name in a folder
    seconds: float | None  # time since the first frame, seconds; None if the frame rate is unknown
    read: Callable[[], np.ndarray]  # function that returns the upright image, RGB, uint8, shape (h, w, 3)


class InputVideo(Protocol):
    """A clip or long recording, with a `name` for messages and files, and `warnings`, complete after iterating."""

    name: str
    warnings: list[str]

    def frames(self) -> Iterator[Frame]:
        """Yield all frames in order of time, each call from the beginning; only a few are in memory at a time.

        Raises UserError if the video cannot be read or holds no frame, or a frame cannot be decoded.
        """


_UNUSABLE = re.compile(r"[^\w.()+@ -]")  # all characters but those allowed in folder names on every system


def folder_name(name: str) -> str:
    """Turn a name into a safe folder name: never empty, hidden, or a path to elsewhere."""
    return _UNUSABLE.sub("_", name)[:100].strip(". ") or "clip"


class Decoding:
    """Frames of a stream that were decoded from undamaged data.

    After damage, decoders predict frames that look nearly right but contain motion that never happened. All frames up
    to the next key frame are discarded, while `damaged` is True; if it is True at the end, the end is missing.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self.damaged = False
        self._since: int | None = None
        self._resumed_at: list[int] = []

    def frames(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield each frame with its number, which counts all decoded frames."""
        number = 0
        for packet in self._packets():
            if packet.is_corrupt:
                self._damage(packet.pts)
            try:
                decoded = packet.decode()
            except av.EOFError:  # already flushed
                continue
            except av.FFmpegError:
                self._damage(packet.pts)
                continue
            for frame in decoded:
                if self._is_whole(frame, number):
                    yield number, frame
                number += 1

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError:
            self._damage(None)

    def _is_whole(self, frame: av.VideoFrame, number: int) -> bool:
        if frame.is_corrupt:
            self._damage(frame.pts)
            return False
        if self.damaged:
            # Frames come out later than their packets go in: a key frame from before the damage does not end it.
            is_later = self._since is None or frame.pts is None or frame.pts > self._since
            if not (frame.key_frame and is_later):
                return False
            self.damaged, self._since = False, None
            self._resumed_at.append(number)
        return True

    def _damage(self, stamp: int | None) -> None:
        self.damaged = True
        if stamp is not None:
            self._since = stamp if self._since is None else max(self._since, stamp)

    def warnings(self, used: int) -> list[str]:
        """Return warnings about damage; call this after the last of the `used` frames."""
        found = []
        if self._resumed_at:
            before = some(self._resumed_at)
            found.append(f"the video is damaged: frames before {before} cannot be decoded and are left out")
        if self.damaged:
            found.append(f"the video ends after {used} frames because the rest cannot be decoded")
        return found


# FFmpeg also reads playlists and scripts (hls, concat, dash, sdp …), which make it open other files or addresses. Only
# these self-contained formats are accepted, regardless of the file's name.
FORMATS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,av1,ivf,flv,asf,ogg,mxf,dv,gif,nut,rm,wtv,"
    "yuv4mpegpipe,vc1"
)
THREADS = 2  # decoder threads; each holds a frame in memory
# Seconds (or frames, if there is no other track) by which a file may last longer than its frames without a warning
# (ours): sound is often a little longer; without it, the last frame's duration and rounding cause the difference.
CUT_SECONDS, CUT_FRAMES = 0.5, 3
_WANTED = "expected a video (mp4, mov, avi, webm, mkv …)"


class VideoFile:
    """First video track of a file; sound, subtitles and cover images are ignored.

    Times are those of the stream, even if the frame rate varies. Frame numbers count all frames of the decoder,
    including unusable ones. Raises UserError if `fps` is not a positive number.

    Args:
        source: path, or seekable file open for reading; only one loop may run over an open file at a time, and closing
            it ends the loop.
        name: name for messages if the source is not a path.
        fps: frames per second to use instead of the file's times, because camera software may store another rate than
            that of the recording (slow motion); None: the file's times.
    """

    def __init__(self, source: Path | BinaryIO, name: str = "", fps: float | None = None) -> None:
        self._source = source
        self._label = str(source) if isinstance(source, Path) else name or "the video"
        self.name = folder_name(name or (source.stem if isinstance(source, Path) else "video"))
        require_allowed({"predict.fps": fps})
        self.fps = fps
        self.warnings: list[str] = []

    def frames(self) -> Iterator[Frame]:
        """See `InputVideo.frames`. A frame keeps its unconverted pixels in memory as long as it exists."""
        self.warnings = []
        with self._opened() as file, self._container(file) as container:
            stream = self._stream(container)
            yield from self._checked(Decoding(container, stream), container, stream)

    def _checked(self, decoding: Decoding, container: Any, stream: Any) -> Iterator[Frame]:
        clock = Clock(stream.time_base, stream.average_rate or stream.guessed_rate)
        size = (0, 0)
        way: Orientation | None = None
        odd: list[int] = []
        transfers: set[int] = set()
        crooked, used, last, first = False, 0, None, 0
        for number, decoded in decoding.frames():
            if way is None or decoded.rotation != way.angle:
                way = orientation(decoded)
            upright = Upright(decoded, way, stream.sample_aspect_ratio)
            if not used:
                size, first = upright.size, number
            if upright.size != size:
                odd.append(number)
                continue
            crooked |= way.crooked
            transfers.add(upright.transfer)
            used += 1
            last = clock.seconds(decoded.pts)
            seconds = last if self.fps is None else (number - first) / self.fps
            yield Frame(number, seconds, partial(self._read, number, upright))
            if not isinstance(self._source, Path) and self._source.closed:
                raise ValueError(f"{self._label} was closed")
        if not used:
            raise UserError(
                f"{self._label} has a video track ({stream.codec_context.name}), but none of its frames can be "
                f"decoded; {_WANTED}. Is the file complete?"
            )
        self.warnings += decoding.warnings(used)
        if odd:
            self.warnings.append(f"frames {some(odd)} are not {size[0]}x{size[1]} like the first: left out")
        if hdr := [name for transfer, name in HDR.items() if transfer in transfers]:
            self.warnings.append(
                f"the video has a high dynamic range ({', '.join(hdr)}): its grey levels are converted to the standard "
                "range by ITU-R BT.2408; record in the standard range if possible"
            )
        if unusual := [name for transfer, name in UNUSUAL.items() if transfer in transfers]:
            self.warnings.append(
                f"the video's grey levels follow a curve ({', '.join(unusual)}) that is not converted: convert it to "
                "BT.709, or expect wrong contrast"
            )
        if crooked:
            self.warnings.append("the video's rotation is not a multiple of 90°; the nearest multiple is used")
        if self.fps is None and clock.guessed:
            self.warnings.append(
                f"{clock.guessed} of {used} frames have no usable time stamp: the average rate is used"
            )
        duration = (container.duration or 0) / av.time_base
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        if self.fps is not None and abs(rate - self.fps) > 0.01 * self.fps:
            stated = f"{rate:g} frames per second" if rate else "no frame rate"
            self.warnings.append(f"predict.fps={self.fps:g} is used; the file itself states {stated}")
        tolerance = CUT_FRAMES / rate if rate and len(container.streams) == 1 else CUT_SECONDS
        if last is not None and duration - last > tolerance and not decoding.damaged:
            self.warnings.append(f"the file lasts {duration:.2f} s, but its frames only {last:.2f} s: is it cut off?")

    def _read(self, number: int, upright: Upright) -> np.ndarray:
        try:
            return upright.read()
        except av.FFmpegError as error:
            raise UserError(
                f"frame {number} of {self._label} cannot be converted to RGB ({error}); convert the video to H.264"
            ) from error

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the file and pass it to FFmpeg without its path, so that FFmpeg cannot open other files by name."""
        if not isinstance(self._source, Path):
            if not self._source.seek(0, os.SEEK_END):
                raise UserError(f"{self._label} is empty (0 bytes); {_WANTED}.")
            self._source.seek(0)
            yield self._source
            return
        if trouble := unreadable(self._source):
            raise UserError(f"{trouble}; {_WANTED} on this machine: addresses are not followed.")
        with self._source.open("rb") as file:
            yield file

    @contextmanager
    def _container(self, file: BinaryIO) -> Iterator[Any]:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "none", "max_pixels": str(MOST_PIXELS)}
        try:
            container = av.open(file, options=options, metadata_errors="replace")
        except av.FFmpegError as error:
            raise UserError(
                f"{self._label} cannot be read as a video ({error.strerror}); {_WANTED}. Is it a file of another kind, "
                "a playlist, or an interrupted recording?"
            ) from error
        with container:
            yield container

    def _stream(self, container: Any) -> Any:
        tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
        if not tracks:
            kinds = ", ".join(sorted({track.type for track in container.streams})) or "nothing"
            raise UserError(f"{self._label} has no video track, only {kinds} or a cover image; {_WANTED}.")
        stream = tracks[0]
        context = stream.codec_context
        if context is None:
            raise UserError(f"{self._label} has a video track without a decoder; convert it to H.264 in mp4.")
        if context.width * context.height > MOST_PIXELS:
            raise UserError(
                f"{self._label} is {context.width}x{context.height}; expected {MOST_PIXELS} pixels at most."
            )
        stream.thread_type, context.thread_count = "AUTO", THREADS
        context.options = {"max_pixels": str(MOST_PIXELS)}  # the size may change within a stream
        return stream

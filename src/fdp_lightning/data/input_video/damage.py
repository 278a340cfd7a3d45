"""Decoding that discards damaged parts of a video up to the next key frame."""

from collections.abc import Iterator
from typing import Any

import av

from fdp_lightning.data.checks.problems import some


class Decoding:
    """Frames of a stream that were decoded from undamaged data.

    Frames after damage are predicted from it: decoders output pictures that look nearly right, with motion that never
    happened. So all frames up to the next key frame are discarded.

    Attributes:
        damaged: True while frames are discarded; after the last frame: True if the end is missing.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self.damaged = False
        self._since: int | None = None
        self._mended: list[int] = []

    def frames(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the number, counted over all decoded frames, and the frame."""
        number = 0
        for packet in self._packets():
            if packet.is_corrupt:
                self._damage(packet.pts)
            try:
                decoded = packet.decode()
            except av.EOFError:  # flushed already
                continue
            except av.FFmpegError:
                self._damage(packet.pts)
                continue
            for frame in decoded:
                if self._is_whole(frame, number):
                    yield number, frame
                number += 1

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                self._damage(None)
                return
            yield packet

    def _is_whole(self, frame: av.VideoFrame, number: int) -> bool:
        if frame.is_corrupt:
            self._damage(frame.pts)
            return False
        if self.damaged:
            # Frames are output later than their packets go in: a key frame from before the damage ends nothing.
            is_later = self._since is None or frame.pts is None or frame.pts > self._since
            if not (frame.key_frame and is_later):
                return False
            self.damaged, self._since = False, None
            self._mended.append(number)
        return True

    def _damage(self, stamp: int | None) -> None:
        self.damaged = True
        if stamp is not None:
            self._since = stamp if self._since is None else max(self._since, stamp)

    def warnings(self, used: int) -> list[str]:
        """Return warnings about the damage, to be called after the last of `used` frames."""
        found = []
        if self._mended:
            found.append(f"the video is damaged: frames before {some(self._mended)} cannot be decoded and are left out")
        if self.damaged:
            found.append(f"the video ends after {used} frames because the rest cannot be decoded")
        return found

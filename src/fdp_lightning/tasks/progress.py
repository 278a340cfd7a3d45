"""Progress with time left: bars in a terminal, lines in a log."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger("fdp_lightning")

_LINE_EVERY_S = 15.0


def console() -> Console:
    """Where progress and messages go: standard error, so that results on standard output can be piped."""
    return Console(stderr=True)


def new_progress(screen: Console) -> Progress:
    """The columns all bars of this project have."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
        console=screen,
    )


class Meter:
    """One quantity that grows to its total: `meter(done, total)`."""

    def __init__(self, what: str, unit: str, progress: Progress | None) -> None:
        self._what, self._unit, self._progress = what, unit, progress
        self._task: TaskID | None = None
        self._left, self._last_line = TimeLeft(), time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are finished."""
        if self._progress is not None:
            if self._task is None:
                self._task = self._progress.add_task(self._what, total=total, unit=self._unit)
            self._progress.update(self._task, completed=done, total=total)
            return
        now, left = time.monotonic(), self._left(done, total)
        if done == total or now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            log.info("%s: %d/%d %s, %s", self._what, done, total, self._unit, left)


@contextmanager
def meter(what: str, unit: str) -> Iterator[Meter]:
    """A meter in a terminal's bar, or in lines of the log."""
    screen = console()
    if not screen.is_terminal:
        yield Meter(what, unit, None)
        return
    with new_progress(screen) as progress:
        yield Meter(what, unit, progress)


class TimeLeft:
    """'1:05 left' if the rest goes as fast as what was done since the first call; the time taken when all is done.

    What comes before the first call is start-up: processes that import torch or load a face detector, once.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._first: tuple[float, float] | None = None

    def __call__(self, done: float, total: float) -> str:
        """Say it of `done` of `total`; call at every step of the progress, whether or not it is shown."""
        now = time.monotonic()
        if done >= total:
            return f"in {clock(now - self._start)}"
        if self._first is None and done > 0:
            self._first = (now, done)
        if self._first is None or done <= self._first[1]:
            return "time left unknown"
        since, before = self._first
        return f"{clock((now - since) / (done - before) * (total - done))} left"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

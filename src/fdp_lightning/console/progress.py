"""Progress with the time left: bars in a terminal, lines in a log."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

log = logging.getLogger("fdp_lightning")

_LINE_EVERY_S = 15.0
_MOST_START_UP = 20


def console() -> Console:
    """Return the console of progress and messages: standard error, so that standard output can be piped."""
    return Console(stderr=True, markup=False)


def new_progress(screen: Console) -> Progress:
    """Return a progress display with the columns of all bars of this project."""
    return Progress(
        TextColumn("{task.description}", markup=False),  # names of files may hold brackets
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        _LeftColumn(),
        console=screen,
    )


class _LeftColumn(ProgressColumn):
    """The time left of each bar, estimated as in the log."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[TaskID, TimeLeft] = {}

    def render(self, task: Task) -> Text:
        left = self._of.setdefault(task.id, TimeLeft())
        return Text("" if task.finished or task.total is None else f"· {left(task.completed, task.total)}")


class Meter:
    """Progress of one quantity towards its total: `meter(done, total)`."""

    def __init__(self, what: str, unit: str, progress: Progress | None) -> None:
        self._what, self._unit, self._progress = what, unit, progress
        self._task: TaskID | None = None
        self._left, self._last_line = TimeLeft(), time.monotonic()

    def __call__(self, done: int, total: int) -> None:
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
    """Yield a meter: a bar in a terminal, otherwise lines in the log."""
    screen = console()
    if not screen.is_terminal:
        yield Meter(what, unit, None)
        return
    with new_progress(screen) as progress:
        yield Meter(what, unit, progress)


class TimeLeft:
    """Estimate of the time left, '1:05 left', at the speed since the start-up; at the end, the time taken.

    The start-up is the time before the first call and the first twentieth of the work, when processes import torch and
    load a face detector one after the other. The first estimate follows after the same amount of work again.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._before: float | None = None
        self._since: tuple[float, float] | None = None

    def __call__(self, done: float, total: float) -> str:
        """Return the estimate for `done` of `total`; call it at every step, even if the result is not shown."""
        now = time.monotonic()
        if done >= total:
            return f"in {clock(now - self._start)}"
        if self._before is None:
            self._before = done  # finished by an earlier command
        enough = min(_MOST_START_UP, max(1.0, (total - self._before) / 20))
        if self._since is None and done >= self._before + enough:
            self._since = (now, done)
        if self._since is None or done < self._since[1] + enough:
            return "time left unknown"
        since, before = self._since
        return f"{clock((now - since) / (done - before) * (total - done))} left"


def clock(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""Progress of folds with the time left: bars in a terminal, lines in a log."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

from rich.progress import Progress, TaskID

from fdp_lightning.console.progress import Meter, TimeLeft, console, new_progress
from fdp_lightning.engine.plan import FoldPlan, epochs_of, time_needed

log = logging.getLogger("fdp_lightning")

_LINE_EVERY_S = 300.0  # while several folds train and none has ended


class Display:
    """Progress of folds, and, once, an estimate of the time they take.

    A terminal shows one bar for the epochs of all folds and one per running fold; a log gets a line per finished fold
    with the time left and, for a single fold, also its epochs.
    """

    def __init__(self, folds: int, epochs: int, estimate: Callable[[float], str], progress: Progress | None) -> None:
        self._folds, self._epochs, self._total, self._ended = folds, epochs, folds * epochs, 0
        self._done: dict[str, int] = {}
        self._estimate: Callable[[float], str] | None = estimate
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._left, self._last_line = TimeLeft(), time.monotonic()
        self._single = Meter("training", "epochs", None) if folds == 1 else None
        if progress is not None:
            self._all = progress.add_task(f"folds 0/{folds}", total=self._total, unit="epochs")

    @property
    def done(self) -> int:
        return sum(self._done.values())

    def step_time(self, seconds: float) -> None:
        """Show the estimate from the first fold that measured its steps."""
        if self._estimate is not None and (text := self._estimate(seconds)):
            if self._progress is None:
                log.info("%s", text)
            else:
                self._progress.console.print(text, highlight=False)
        self._estimate = None

    def epoch(self, fold: str, done: int) -> None:
        self._done[fold] = done
        if self._progress is not None:
            if fold not in self._bars:
                self._bars[fold] = self._progress.add_task(f"  {fold}", total=self._epochs, unit="epochs")
            self._progress.update(self._all, completed=self.done)
            self._progress.update(self._bars[fold], completed=done)
        elif self._single is None:
            left = self._left(self.done, self._total)
            if time.monotonic() - self._last_line >= _LINE_EVERY_S and self.done < self._total:
                self._last_line = time.monotonic()
                log.info("training: %d/%d epochs of all folds, %s", self.done, self._total, left)
        elif done < self._epochs:
            self._single(done, self._epochs)

    def end(self, fold: str, success: bool) -> None:
        """Show the end of a fold; all its epochs count as done, even if it reported fewer."""
        self._ended += 1
        self._done[fold] = self._epochs
        if self._progress is None:
            self._last_line = time.monotonic()
            left = self._left(self.done, self._total)
            log.info("fold %s %s (%d/%d), %s", fold, "done" if success else "FAILED", self._ended, self._folds, left)
            return
        self._progress.update(self._all, description=f"folds {self._ended}/{self._folds}", completed=self.done)
        if fold in self._bars:
            self._progress.remove_task(self._bars.pop(fold))
        if not success:
            self._progress.console.print(f"fold {fold} FAILED")


@contextmanager
def fold_display(plans: Sequence[FoldPlan], at_once: int) -> Iterator[Display]:
    """Yield the display of these folds, to be updated by its `epoch`, `step_time` and `end`."""
    folds, epochs = len(plans), max(map(epochs_of, plans))
    screen, estimate = console(), partial(time_needed, plans=plans, at_once=at_once)
    with new_progress(screen) if screen.is_terminal else nullcontext() as progress:
        yield Display(folds, epochs, estimate, progress)

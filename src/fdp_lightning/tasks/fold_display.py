"""Progress of folds with the time left: bars in a terminal, lines in a log."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.progress import Progress, TaskID

from fdp_lightning.tasks.budget import Budget, steps_of_epoch
from fdp_lightning.tasks.fold import FoldPlan
from fdp_lightning.tasks.progress import Meter, console, new_progress, time_left

log = logging.getLogger("fdp_lightning")


def epochs_of(plan: FoldPlan) -> int:
    """The epochs a fold will take, for the time left; 1 where only `trainer.max_time` ends it."""
    steps = steps_of_epoch(len(plan.fold.train_rows), plan.config["data"]["batch_size"])
    return Budget.of(plan.config["trainer"]).epochs_of(steps) or 1


class _Lines:
    """Progress where there is no terminal: a line per finished fold, with the time left; of a single fold, lines of its
    epochs too.
    """

    def __init__(self, folds: int, epochs: int) -> None:
        self._folds, self._epochs = folds, epochs
        self._done: dict[str, int] = {}
        self._ended = 0
        self._start = time.monotonic()
        self._single = Meter("training", "epochs", None) if folds == 1 else None

    def epoch(self, fold: str, done: int) -> None:
        """One fold has trained `done` epochs."""
        self._done[fold] = done
        if self._single is not None and done < self._epochs:
            self._single(done, self._epochs)

    def end(self, fold: str, success: bool) -> None:
        """One fold has ended."""
        self._ended += 1
        self._done[fold] = self._epochs
        left = time_left(time.monotonic() - self._start, sum(self._done.values()), self._folds * self._epochs)
        log.info("fold %s %s (%d/%d), %s", fold, "done" if success else "FAILED", self._ended, self._folds, left)


class _Bars:
    """Progress in a terminal: a bar over all epochs of all folds, and one per running fold."""

    def __init__(self, progress: Progress, folds: int, epochs: int) -> None:
        self._progress, self._folds, self._epochs = progress, folds, epochs
        self._all = progress.add_task(f"folds 0/{folds}", total=folds * epochs, unit="epochs")
        self._bars: dict[str, TaskID] = {}
        self._ended = 0

    def epoch(self, fold: str, done: int) -> None:
        """One fold has trained `done` epochs."""
        if fold not in self._bars:
            self._bars[fold] = self._progress.add_task(f"  {fold}", total=self._epochs, unit="epochs")
        self._progress.advance(self._all)
        self._progress.update(self._bars[fold], completed=done)

    def end(self, fold: str, success: bool) -> None:
        """One fold has ended."""
        self._ended += 1
        self._progress.update(self._all, description=f"folds {self._ended}/{self._folds}")
        if fold in self._bars:
            self._progress.remove_task(self._bars.pop(fold))
        if not success:
            self._progress.console.print(f"fold {fold} FAILED")


@contextmanager
def fold_display(plans: Sequence[FoldPlan]) -> Iterator[_Lines | _Bars]:
    """What shows these folds: call its `epoch` and `end`."""
    folds, epochs = len(plans), max(map(epochs_of, plans))
    screen = console()
    if not screen.is_terminal:
        yield _Lines(folds, epochs)
        return
    with new_progress(screen) as progress:
        yield _Bars(progress, folds, epochs)

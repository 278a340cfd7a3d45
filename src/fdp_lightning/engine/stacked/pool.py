"""Parallel stacks of folds, each in a process of its own (`loso.engine=stacked`)."""

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from fdp_lightning.disk import disk_trouble
from fdp_lightning.engine.budget import steps_of_epoch
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.engine.process import Tell, log_file
from fdp_lightning.errors import DiskError
from fdp_lightning.processes import end_with_parent, forkserver
from fdp_lightning.runs.claims import Gpus, claim

log = logging.getLogger("fdp_lightning")

_ASK_AGAIN_S = 0.5  # for what another run holds


def stacks_of(plans: Sequence[FoldPlan], workers: int, largest: int | None) -> list[list[FoldPlan]]:
    """Group folds into stacks, whose folds have equally many and equally large batches.

    Args:
        plans: plans of the folds.
        workers: stacks at once; there are at least as many, if there are enough folds.
        largest: largest number of folds in a stack; None: any.

    Returns:
        Stacks; those of equal batches differ by at most one fold in size.
    """
    alike: dict[tuple[int, int], list[FoldPlan]] = {}
    for plan in plans:
        clips, batch_size = len(plan.fold.train_rows), plan.config["data"]["batch_size"]
        alike.setdefault((min(batch_size, clips), steps_of_epoch(clips, batch_size)), []).append(plan)
    bound = min(largest or len(plans), -(-len(plans) // workers))
    stacks = []
    for group in alike.values():
        pieces = -(-len(group) // bound)
        stacks += [group[piece * len(group) // pieces : (piece + 1) * len(group) // pieces] for piece in range(pieces)]
    return stacks


@dataclass
class _Running:
    """A stack in training: its process, its messages, and the locks it holds."""

    plans: list[FoldPlan]
    held: contextlib.ExitStack
    process: BaseProcess
    news: Connection | None
    device: tuple[int, ...] = field(default=())


class StackPool:
    """Run stacks of folds, some at once; one that fails does not stop the others.

    Args:
        workers: stacks at once.
        gpus: GPUs to claim one for each stack from; None: they run on the CPU.
        on_epoch: called with (fold, epochs done).
        on_end: called with (fold, True if it succeeded).
    """

    def __init__(
        self,
        workers: int,
        gpus: Gpus | None,
        on_epoch: Callable[[str, int], None],
        on_end: Callable[[str, bool], None],
    ) -> None:
        self._workers, self._gpus = workers, gpus
        self._on_epoch, self._on_end = on_epoch, on_end
        self._context = forkserver()
        self._running: list[_Running] = []

    def run(self, stacks: Sequence[list[FoldPlan]]) -> dict[str, Path]:
        """Run the stacks.

        Folds that another process trains meanwhile are waited for, and run only if they are not finished then.

        Returns:
            The failed folds and the log file of each.
        """
        waiting, failed = list(stacks), dict[str, Path]()
        try:
            while waiting or self._running:
                still: list[list[FoldPlan]] = []
                for plans in waiting:
                    left = self._start(plans) if len(self._running) < self._workers else plans
                    still += [left] if left else []
                waiting = still
                self._wait(None if not waiting or len(self._running) == self._workers else _ASK_AGAIN_S)
                for one in list(self._running):
                    ended = not one.process.is_alive()
                    self._hear(one)
                    if ended:
                        self._running.remove(one)
                        failed |= self._end(one)
        finally:
            for one in self._running:
                one.process.terminate()
                one.process.join()
                one.held.close()
        return failed

    def _start(self, plans: list[FoldPlan]) -> list[FoldPlan]:
        """Start the folds that no other process holds; return the others."""
        with contextlib.ExitStack() as held:
            free: list[FoldPlan] = []
            for plan in plans:
                if lock := claim(plan.unfinished.with_name(f"{plan.fold.name}.lock")):
                    held.callback(lock.release)
                    if plan.is_done:  # by another process, since it was planned
                        self._on_end(plan.fold.name, True)
                        plans = [other for other in plans if other is not plan]
                    else:
                        free.append(plan)
            device = None
            if free and self._gpus is not None:
                claimed = self._gpus.claim(1)
                if claimed is None:
                    return plans
                device = claimed[0][0]
                held.push(claimed[1])
            if free:
                news, send = self._context.Pipe(duplex=False)
                process = self._context.Process(
                    target=_run, args=(free, device, send), name=f"stack-{free[0].fold.name}"
                )
                process.start()
                send.close()
                self._running.append(_Running(free, held.pop_all(), process, news))
        return [plan for plan in plans if plan not in free]

    def _wait(self, seconds: float | None) -> None:
        if not self._running:
            time.sleep(seconds or 0)
            return
        wait([handle for one in self._running for handle in (one.news, one.process.sentinel) if handle], seconds)

    def _hear(self, one: _Running) -> None:
        try:
            while one.news is not None and one.news.poll():
                heard: tuple[str, int] | str | DiskError = one.news.recv()
                if isinstance(heard, DiskError):
                    raise heard
                if isinstance(heard, str):
                    log.warning("%s", heard)
                else:
                    self._on_epoch(*heard)
        except (EOFError, OSError):  # its end is closed
            one.news = None

    def _end(self, one: _Running) -> dict[str, Path]:
        one.process.join()
        one.held.close()
        failed = {}
        for plan in one.plans:
            done = plan.is_done
            if not done:
                failed[plan.fold.name] = log_file(plan)
            self._on_end(plan.fold.name, done)
        return failed


def _run(plans: list[FoldPlan], device: int | None, news: Connection) -> None:
    """Run a stack in its process; its output becomes the log of each of its folds."""
    end_with_parent()
    log.addHandler(Tell(news))
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    path = log_file(plans[0]).with_name(f"stack-{plans[0].fold.name}.txt")
    try:
        _train_logged(plans, device, news, path)
    except Exception as error:
        if (words := disk_trouble(error)) is None:
            raise
        news.send(DiskError(words))


def _train_logged(plans: list[FoldPlan], device: int | None, news: Connection, path: Path) -> None:
    from fdp_lightning.engine.stacked.train import (
        train_stack,  # torch, which the process that starts this one never needs
    )

    path.parent.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    with path.open("w", buffering=1) as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            failed = train_stack(plans, device, lambda fold, done: news.send((fold, done)))
        except BaseException as error:
            if disk_trouble(error):  # which leaves no room for logs
                raise
            trace = traceback.format_exc()
            failed = {plan.fold.name: trace for plan in plans if not plan.folder.is_dir()}
    said = path.read_text()
    for plan in plans:
        trouble = failed.get(plan.fold.name)
        place = plan.folder / "log.txt" if trouble is None else log_file(plan)
        place.write_text(said + (trouble or ""))
    path.unlink()

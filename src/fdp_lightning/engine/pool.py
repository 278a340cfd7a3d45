"""Folds in parallel, each in its own processes, so that seeds, loggers and accelerator state stay separate."""

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fdp_lightning.engine.display import Display
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.engine.process import FoldProcess, LocalProcesses, log_file
from fdp_lightning.errors import DiskError
from fdp_lightning.processes import forkserver
from fdp_lightning.runs.claims import Gpus, claim

log = logging.getLogger("fdp_lightning")

_ASK_AGAIN_S = 0.5  # interval of attempts to get what another run holds
_MOMENT_S = 0.02


@dataclass
class _Running:
    """A fold in training: its processes, their connection for epochs and errors, and the locks it holds."""

    plan: FoldPlan
    held: contextlib.ExitStack
    processes: Sequence[FoldProcess] = ()
    news: Connection | None = None

    @property
    def handles(self) -> list[Any]:
        here = [process for process in self.processes if isinstance(process, BaseProcess)]
        sentinels: list[Any] = [process.sentinel for process in here if process.is_alive()]
        return sentinels if self.news is None else [*sentinels, self.news]

    def end(self) -> bool:
        """Return True if it has ended; if one process fails, the others are stopped."""
        if any(process.exitcode not in (None, 0) for process in self.processes):
            self.stop()
        return not any(process.is_alive() for process in self.processes)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()


class FoldPool:
    """Run folds, `workers` at a time; a fold that fails does not stop the others.

    Each process claims one of the `gpus`; None: the folds run on the CPU, or the starter has its devices.
    """

    def __init__(self, workers: int, starter: LocalProcesses, gpus: Gpus | None, display: Display) -> None:
        self._workers, self._starter, self._gpus, self._display = workers, starter, gpus, display
        self._context = forkserver()
        self._running: list[_Running] = []

    def run(self, plans: Sequence[FoldPlan]) -> dict[str, Path]:
        """Run the folds, and return the failed ones with the log file of each.

        If another process is training a fold, wait for it, and run the fold only if it is still unfinished then. A full
        or unwritable disk is a DiskError, which stops the other folds too.
        """
        waiting, failed = list(plans), dict[str, Path]()
        try:
            while waiting or self._running:
                for plan in list(waiting):
                    if len(self._running) < self._workers and self._start(plan):
                        waiting.remove(plan)
                self._wait(ask_again=len(waiting) > 0 and len(self._running) < self._workers)
                for one in list(self._running):
                    ended = one.end()
                    self._hear(one)
                    if ended:
                        self._running.remove(one)
                        one.held.close()
                        success = all(process.exitcode == 0 for process in one.processes)
                        if not success:
                            failed[one.plan.fold.name] = log_file(one.plan)
                        self._display.end(one.plan.fold.name, success)
        finally:
            for one in self._running:
                one.stop()
                one.held.close()
        return failed

    def _wait(self, ask_again: bool) -> None:
        """Wait until a fold reports or ends, or until it is time to try locks of other processes again."""
        if not all(one.handles for one in self._running):  # one has ended and sends no event
            time.sleep(_MOMENT_S)
        else:
            handles = [handle for one in self._running for handle in one.handles]
            wait(handles, timeout=min(_ASK_AGAIN_S, self._starter.look_s) if ask_again else self._starter.look_s)

    def _start(self, plan: FoldPlan) -> bool:
        """Start a fold; False if another process holds its lock or the GPUs."""
        lock = claim(plan.unfinished.with_name(f"{plan.fold.name}.lock"))
        if lock is None:
            return False
        with contextlib.ExitStack() as held:
            held.callback(lock.release)
            if plan.is_done:  # by another process, since it was planned
                self._display.end(plan.fold.name, True)
                return True
            devices: tuple[int, ...] = ()
            if self._gpus is not None:
                claimed = self._gpus.claim(self._starter.ranks)
                if claimed is None:
                    return False
                devices = claimed[0]
                held.push(claimed[1])
            one = _Running(plan, held.pop_all())
        self._running.append(one)
        one.news, send = self._context.Pipe(duplex=False)
        one.processes = self._starter.start(plan, devices, send)
        send.close()
        return True

    def _hear(self, one: _Running) -> None:
        try:
            while one.news is not None and one.news.poll():
                heard: int | float | str | DiskError = one.news.recv()
                if isinstance(heard, DiskError):  # the other folds would fail in the same way
                    raise DiskError(f"fold {one.plan.fold.name} could not be written: {heard}")
                if isinstance(heard, str):
                    log.warning("%s", heard)
                elif isinstance(heard, float):  # the seconds of a step
                    self._display.step_time(heard)
                else:
                    self._display.epoch(one.plan.fold.name, heard)
        except (EOFError, OSError):  # its end is closed
            one.news = None

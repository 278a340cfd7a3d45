"""Run one fold in this process, and start the processes of a fold, which report to the fold pool."""

import contextlib
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from fdp_lightning.data.protocols.leak_guard import subjects_of
from fdp_lightning.engine.devices import ALONE, Rank, free_port
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.errors import DiskError, disk_trouble
from fdp_lightning.files import atomic_folder
from fdp_lightning.processes import end_with_parent, forkserver
from fdp_lightning.runs.seal import finished, seal

log = logging.getLogger("fdp_lightning")


class FoldProcess(Protocol):
    """One process of a fold, here or on another machine: a `multiprocessing.Process`, or an object like one."""

    @property
    def exitcode(self) -> int | None: ...
    def is_alive(self) -> bool: ...
    def terminate(self) -> None: ...
    def join(self) -> None: ...


class LocalProcesses:
    """Starter of a fold's processes, `ranks` of them, on this machine; other starters are subclasses."""

    look_s = 5.0  # interval of checks for processes that ended unnoticed, between a check and the wait

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks

    def start(self, plan: FoldPlan, devices: Sequence[int], news: Connection) -> Sequence[FoldProcess]:
        """Start the processes of one fold, one on each accelerator (none: on the CPU); the first one reports."""
        port = free_port() if self.ranks > 1 else 0
        ranks = [
            Rank(number, self.ranks, port=port, device=devices[number] if devices else None)
            for number in range(self.ranks)
        ]
        return [start_process(plan, rank, news) for rank in ranks]


def start_process(plan: FoldPlan, rank: Rank, news: Connection | None) -> BaseProcess:
    """Start one process of a fold; only the first one gets `news`."""
    arguments = (plan, rank, news if rank.first else None)
    process = forkserver().Process(target=_run, args=arguments, name=f"fold-{plan.fold.name}")
    process.start()
    return process


def log_file(plan: FoldPlan, number: int = 0) -> Path:
    return plan.run / "logs" / (f"{plan.fold.name}.rank{number}.txt" if number else f"{plan.fold.name}.txt")


class Tell(logging.Handler):
    """Send warnings to the process that shows them."""

    def __init__(self, news: Connection) -> None:
        super().__init__(logging.WARNING)
        self._news = news

    def emit(self, record: logging.LogRecord) -> None:
        self._news.send(record.getMessage())


@contextlib.contextmanager
def logged(path: Path, news: Connection | None) -> Iterator[None]:
    """Write what this process prints to a log file; an exception is written there too, and ends the process.

    A full disk leaves no room for that, so it is reported to the parent over `news`, if this process has it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", buffering=1) as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            try:
                yield
            except BaseException:
                with contextlib.suppress(OSError):
                    traceback.print_exc()
                raise
    except BaseException as error:
        if news is not None and (words := disk_trouble(error)):
            news.send(DiskError(words))
        sys.exit(1)


def _run(plan: FoldPlan, rank: Rank, news: Connection | None) -> None:
    """Run a rank of a fold; output goes to a log file, epochs and warnings to the parent."""
    end_with_parent()
    if news is not None:
        log.addHandler(Tell(news))
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)  # torchrun's; a fold has its own rendezvous
    path = log_file(plan, rank.number)
    tell: Callable[[float], None] = (lambda number: None) if news is None else news.send
    with logged(path, news):
        run_fold(plan, tell, rank, tell)  # epochs are whole numbers, the seconds of a step are not
        if rank.first:
            path.replace(plan.folder / "log.txt")
        else:
            path.unlink()


def run_fold(
    plan: FoldPlan,
    on_epoch: Callable[[int], None] = lambda done: None,
    rank: Rank = ALONE,
    on_step_time: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Train and predict in this process; the fold's folder appears only when it is complete.

    The arguments are those of `train_fold.train_fold`; the first rank writes.
    """
    # Imported here: a run whose folds are all finished never needs torch.
    from fdp_lightning.engine.classical import fit_fold, is_classical
    from fdp_lightning.engine.train_fold import train_fold

    train = fit_fold if is_classical(plan.config["model"]) else train_fold
    if not rank.first:
        train(plan, None, on_epoch, rank, on_step_time)
        return
    start = time.monotonic()
    with atomic_folder(plan.folder, lambda place: finished(place, plan.fingerprint)[0]) as partial:
        training = train(plan, partial, on_epoch, rank, on_step_time)
        facts = {
            "fold": plan.fold.name,
            "fingerprint": plan.fingerprint,
            "model": plan.model,
            "seed": plan.config["seed"],
            "subjects": subjects_of(plan.fold, plan.clips),
            "train_clips": len(plan.fold.train_rows),
            "inner_clips": len(plan.fold.inner_rows),
            "test_clips": len(plan.fold.test_rows),
            "seconds": round(time.monotonic() - start, 2),
        }
        seal(partial, {**facts, **training})
    shutil.rmtree(plan.unfinished, ignore_errors=True)

"""Folds side by side, each in a process of its own: seeds, loggers and accelerator state stay apart."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from fdp_lightning.processes import end_with_parent, forkserver
from fdp_lightning.tasks.fold import FoldPlan, run_fold


@dataclass
class _Running:
    plan: FoldPlan
    process: BaseProcess
    epochs: Connection


def run_folds(
    plans: Sequence[FoldPlan],
    workers: int,
    on_epoch: Callable[[str, int], None],
    on_end: Callable[[str, bool], None],
) -> dict[str, Path]:
    """Run folds, `workers` at once; a fold that fails does not stop the others.

    Args:
        plans: the folds to run.
        workers: processes at once; worker i uses accelerator i.
        on_epoch: called with (fold, epochs done).
        on_end: called with (fold, whether it succeeded).

    Returns:
        The failed folds and the log file of each.
    """
    context = forkserver()
    waiting, running = list(plans), dict[int, _Running]()
    failed: dict[str, Path] = {}
    try:
        while waiting or running:
            for slot in range(workers):
                if slot not in running and waiting:
                    running[slot] = _start(context, replace(waiting.pop(0), device=slot))
            wait([one.process.sentinel for one in running.values()] + [one.epochs for one in running.values()])
            for slot, one in list(running.items()):
                ended = not one.process.is_alive()
                with contextlib.suppress(EOFError):
                    while one.epochs.poll():
                        on_epoch(one.plan.fold.name, one.epochs.recv())
                if ended:
                    one.process.join()
                    one.epochs.close()
                    del running[slot]
                    if one.process.exitcode != 0:
                        failed[one.plan.fold.name] = _log_file(one.plan)
                    on_end(one.plan.fold.name, one.process.exitcode == 0)
    finally:
        for one in running.values():
            one.process.terminate()
        for one in running.values():
            one.process.join()
    return failed


def _start(context, plan: FoldPlan) -> _Running:  # type: ignore[no-untyped-def]
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(plan, send), name=f"fold-{plan.fold.name}")
    process.start()
    send.close()
    return _Running(plan, process, receive)


def _log_file(plan: FoldPlan) -> Path:
    return plan.run / "logs" / f"{plan.fold.name}.txt"


def _child(plan: FoldPlan, epochs: Connection) -> None:
    """What a fold's process runs: its output goes to a log file, its epochs to the parent."""
    end_with_parent()
    path = _log_file(plan)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", buffering=1) as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            run_fold(plan, epochs.send)
            path.replace(plan.folder / "log.txt")
        except KeyboardInterrupt:
            sys.exit(130)
        except BaseException:
            traceback.print_exc()
            sys.exit(1)

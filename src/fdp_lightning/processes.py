"""Worker processes that start quickly: they are forked from a server that has done the slow imports."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from typing import TypeVar

from fdp_lightning.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

_PRELOAD = ["fdp_lightning.with_parent", "__main__", "fdp_lightning.preloaded"]

PARENT = "FDP_LIGHTNING_PARENT"
"""Environment variable with the process id of whoever starts a forkserver."""

CORES = "FDP_LIGHTNING_CORES"
"""Environment variable with the number of cores of a job, where several jobs run in parallel."""


def forkserver(*more: str) -> ForkServerContext:
    """Start the server of all workers of this project, unless it runs, and return its multiprocessing context.

    The server does the slow imports, and those of `more`, in parallel with this process. A plain fork would copy
    threads and CUDA state in an undefined condition; spawn would import torch in each worker.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ[PARENT] = str(os.getpid())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOAD[0], *more, *_PRELOAD[1:]])  # has no effect on a server that is running
    resource_tracker.ensure_running()  # otherwise the next one starts it, which unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        ensure_running()  # Ctrl-C waits until the server ignores it, see `with_parent`
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def in_worker(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a process of the forkserver, which has done the slow imports, and return its result.

    The function must belong to a module other than `__main__`, and its arguments must be plain data. Its exceptions are
    raised here, and the process prints the traceback of any but a UserError. RuntimeError as in `in_pool`.
    """
    try:
        (result,) = in_pool(partial(_call, function), [arguments], workers=1, wait=False)
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.terminate()  # otherwise this process would wait for it before exiting
        raise
    return result


def _call(function: Callable[..., Result], arguments: Sequence[object]) -> Result:
    try:
        return function(*arguments)
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()  # not every exception can be sent to another process
        raise


def in_pool(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int, at_a_time: int = 1, wait: bool = True
) -> Iterator[Result]:
    """Yield the results of a function, in the order of the tasks, from processes of one thread each.

    An exception, here or in the caller, cancels the tasks that have not begun and, if `wait`, waits for the others. The
    function must belong to a module other than `__main__`, or be a partial of such a function. Tasks are plain data; a
    process takes `at_a_time` of them together. RuntimeError that names the function if a process was killed.
    """
    # Several processes with one thread per core each would slow one another down.
    pool = ProcessPoolExecutor(max(1, min(workers, len(tasks))), forkserver(), initializer=_begin_worker)
    try:
        yield from pool.map(function, tasks, chunksize=at_a_time)
    except BaseException as error:
        pool.shutdown(wait, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError(
                f"a worker process ended abruptly while it ran {_name(function)}: killed, often because memory ran out "
                "(the kernel's log says so), or crashed in a library"
            ) from error
        raise
    pool.shutdown()


def _name(function: Callable[..., object]) -> str:
    """Return the name of the function that a task really runs, inside partials and `in_worker`."""
    while isinstance(function, partial):
        function = function.args[0] if function.func is _call else function.func
    return f"{function.__module__}.{function.__qualname__}"


def _begin_worker() -> None:
    import cv2
    import torch

    end_with_parent()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def end_with_parent() -> None:
    """End this worker when its parent has ended.

    Workers of a pool hold each other's pipes open: after a SIGKILL of their parent they would wait for work forever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


def cpu_count() -> int:
    """Return the number of cores this process may use: all that a container or taskset allows, or its share of them."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, int(os.environ.get(CORES, allowed))))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute with one thread in this context, so that results do not depend on the number of cores.

    With more threads, sums are computed in another order, which changes the last bits on some CPUs (those with AVX2 but
    not AVX-512). For a single face or clip more threads are not faster, and much slower if another process delays one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

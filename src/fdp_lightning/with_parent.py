"""First import of the forkserver, from which all workers are forked: it ends with its parent and ignores Ctrl-C.

During its imports, which take seconds, the forkserver would otherwise notice neither: a command that has ended would
leave it behind, holding the command's standard error open. A parent that ends while starting a worker leaves a worker
without work, which exits silently.
"""

import ctypes
import os
import signal
import sys
from types import TracebackType

from fdp_lightning.processes import PARENT

_PR_SET_PDEATHSIG = 1
"""Constant of Linux's prctl.h: the signal that the system sends when the parent ends. Children do not inherit it."""


def _without_work(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # multiprocessing itself prints the exceptions of the worker's task.
    if kind is not EOFError:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _without_work
signal.signal(signal.SIGINT, signal.SIG_IGN)  # workers inherit it: a terminal sends Ctrl-C to everyone
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked since `forkserver` started this process
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):  # it ended before the system was asked
        os._exit(1)

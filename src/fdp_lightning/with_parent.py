"""The first import of the forkserver, in which all workers begin: it ends with its parent, and leaves Ctrl-C to it.

While the forkserver imports what workers need, which takes it seconds, it would notice neither; a command that has
ended would leave it behind, with the command's standard error open. A parent that ends while it starts a worker leaves
one without work, which ends in silence.
"""

import ctypes
import signal
import sys
from types import TracebackType

_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl.h: the signal that the system sends when the parent is gone. Children do not inherit it."""


def _without_work(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # Of the worker's own work multiprocessing prints exceptions by itself.
    if kind is not EOFError:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _without_work
signal.signal(signal.SIGINT, signal.SIG_IGN)  # workers inherit it: a terminal sends Ctrl-C to everyone
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

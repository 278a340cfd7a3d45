"""Ctrl-C (SIGINT) always ends the command.

Python turns SIGINT into a KeyboardInterrupt, wherever the main thread is at that moment, and not every place lets it
through: the import of compiled modules and finalisers drop it, and the command would go on. So while nothing is at work
yet the signal ends the process at once; later an interrupt that nobody is handling a moment after it was raised does.
"""

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code, as shells give it to what SIGINT has ended."""

_MESSAGE = "\nfdp_lightning: interrupted. Finished folds are kept; the same command goes on from there.\n"
_LOOK_S = 1.0
_MOST_LOOKS = 30
_END_S = 3.0
_looks = 0
_ending = False


def end_at_once() -> None:
    """Let SIGINT end this process at once from now on; where it is ignored, as after `command &`, it stays ignored."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


def tidy_up_first() -> None:
    """Let SIGINT raise KeyboardInterrupt from now on, where it has ended the process: there is work to wind up."""
    if signal.getsignal(signal.SIGINT) == _end:
        signal.signal(signal.SIGINT, _interrupt)


def was_interrupted() -> bool:
    """Return True if SIGINT has come and the process is to end."""
    return _looks > 0


def end() -> NoReturn:
    """Say that the command was interrupted and end it; what libraries do at its end may take a few seconds.

    Raises:
        SystemExit: with the exit code of an interrupt.
    """
    global _ending
    _ending = True
    sys.stderr.write(_MESSAGE)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda number, frame: os._exit(INTERRUPTED))
        signal.setitimer(signal.ITIMER_REAL, _END_S)
    sys.exit(INTERRUPTED)


def _leave() -> None:
    """Skip the interpreter's own end, which forgets handlers: the alarm would then kill with another exit code."""
    if _ending:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


atexit.register(_leave)  # before all others are, and so the last one to be called


def is_dealt_with() -> None:
    """Let the process go on: what ran has taken the interrupt as its usual end, and is at its end."""
    if was_interrupted() and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _looks
    _looks = 1
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _look)
        signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)
    raise KeyboardInterrupt


def _look(number: int, frame: FrameType | None) -> None:
    """End the process unless the main thread is in an `except`, `finally` or `with` that the interrupt has reached."""
    global _looks
    _looks += 1
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None or _looks > _MOST_LOOKS:
        _end(number, frame)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, _MESSAGE.encode())  # no buffered stream: the signal may have come while one was being written
    os._exit(INTERRUPTED)

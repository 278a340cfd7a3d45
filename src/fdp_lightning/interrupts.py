"""Ctrl-C (SIGINT) always ends the command.

Python turns SIGINT into a KeyboardInterrupt wherever the main thread is, and not every place lets it through: imports
of compiled modules and finalisers drop it, and the command would continue. So before a task starts, the signal ends the
process immediately; afterwards, the process ends if the interrupt has not soon reached a handler.
"""

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # exit code, as shells report it for a command ended by SIGINT

_MESSAGE = "\nfdp_lightning: interrupted. Finished folds are kept; the same command resumes from there.\n"
_LOOK_S = 1.0
_MOST_LOOKS = 30
_END_S = 3.0
_looks = 0
_ending = False


def end_at_once() -> None:
    """Let SIGINT end this process immediately; if it is ignored, as after `command &`, it stays ignored."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


def tidy_up_first() -> None:
    """Let SIGINT raise KeyboardInterrupt if it used to end the process immediately: now there is work to clean up."""
    if signal.getsignal(signal.SIGINT) == _end:
        signal.signal(signal.SIGINT, _interrupt)


def was_interrupted() -> bool:
    return _looks > 0


def end() -> NoReturn:
    """Report that the command was interrupted, and exit; the clean-up of libraries may take a few seconds."""
    global _ending
    _ending = True
    sys.stderr.write(_MESSAGE)
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(INTERRUPTED))
    signal.setitimer(signal.ITIMER_REAL, _END_S)
    sys.exit(INTERRUPTED)


def _leave() -> None:
    """Skip the interpreter's shutdown, which resets handlers: the alarm would then kill with another exit code."""
    if _ending:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


atexit.register(_leave)  # registered before all others, and therefore called last


def is_dealt_with() -> None:
    """Cancel the pending end of the process: the task has treated the interrupt as its usual end and has finished."""
    if was_interrupted():
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _looks
    _looks = 1
    signal.signal(signal.SIGALRM, _look)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_S, _LOOK_S)
    raise KeyboardInterrupt


def _look(number: int, frame: FrameType | None) -> None:
    """End the process unless the interrupt has reached an `except`, `finally` or `with` of the main thread."""
    global _looks
    _looks += 1
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None or _looks > _MOST_LOOKS:
        _end(number, frame)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, _MESSAGE.encode())  # not a buffered stream, which may have been in use when the signal arrived
    os._exit(INTERRUPTED)

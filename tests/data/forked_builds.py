"""Builds in separate processes that are killed, run concurrently or lack space; started by test_store_resume.py.

Everything is imported once; each build is a fork of this process, made before it runs a network.

    python forked_builds.py <clips.parquet> <parent of the cases' folders>
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import store_builds

from fdp_lightning.data.store import build, sources
from fdp_lightning.errors import UserError

CLIPS, PLACE = pd.read_parquet(sys.argv[1]), Path(sys.argv[2])


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def forked(work: Callable[[], object]) -> int:
    """Start work in a fork and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def ends(*pids: int) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def killed_after_clip(number: int) -> None:
    store_builds.build(PLACE / f"clip {number}", CLIPS, progress=lambda done, total: die() if done == number else None)


def killed_in(case: str, owner: object, name: str, death: Callable[..., None] = die) -> None:
    """Build with a function replaced by one that kills the process."""
    setattr(owner, name, death)
    store_builds.build(PLACE / case, CLIPS)


def second_dies(*arguments: str, replace: Callable[..., None] = os.replace, calls: list[int] = []) -> None:  # noqa: B006
    calls.append(1)
    if len(calls) == 2:
        die()
    replace(*arguments)


def without_space(most_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    try:
        store_builds.build(PLACE / f"space {most_bytes}", CLIPS)
    except UserError as error:
        (PLACE / f"message {most_bytes}.txt").write_text(str(error))
        raise


def at_once(start: float, policy: str) -> None:
    time.sleep(max(0.0, start - time.monotonic()))
    store_builds.build(PLACE / "at once", CLIPS, policy)


def main() -> None:
    """Run all cases and check how each ends."""
    kills: list[Callable[[], object]] = [
        *(partial(killed_after_clip, number) for number in (0, 1, len(CLIPS))),
        partial(killed_in, "writing", os, "replace", second_dies),
        partial(killed_in, "joining", build, "checksummed"),
        partial(killed_in, "rename", Path, "rename"),
        partial(killed_in, "cleaning", sources.Parts, "remove"),
    ]
    assert [ends(forked(kill))[0] for kill in kills] == [-signal.SIGKILL] * len(kills)
    for most in (30_000, 100_000):
        assert ends(forked(lambda most=most: without_space(most))) == [1]
    start = time.monotonic() + 0.2
    together = [forked(lambda policy=policy: at_once(start, policy)) for policy in ("strict", "strict", "skip")]
    assert ends(*together) == [0, 0, 0]


if __name__ == "__main__":
    main()

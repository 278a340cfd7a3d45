"""Where the processes of one command that torchrun or srun started once per device hear of each other.

A store of keys on the first one's machine, torch's own: torchrun brings it, and under srun the first process holds it.
As in every group of torch's, whoever may write to the port is believed.

The keys: `say/<i>`, what the leader says, in order; `stop/<i>`, that it wants the fold of message i ended;
`ended/<i>/<rank>`, the exit code of a process of that fold; `beat/<rank>`, that a follower lives; `left/<rank>`, that
it has heard the end.
"""

import pickle
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fdp_lightning.engine.multinode.launch import Launch
from fdp_lightning.errors import UserError

_MEET_S = 600  # imports from a cluster's file system take minutes when all begin at once
_BEAT_S = 2.0
_SILENT_S = 60.0
POLL_S = 0.1


class LeaderGoneError(Exception):
    """The first process has ended without a word."""


class Meeting:
    """One process's way to the others.

    Args:
        launch: which of them this is.

    Raises:
        UserError: the others did not come.
    """

    def __init__(self, launch: Launch) -> None:
        from torch.distributed import DistError, PrefixStore, TCPStore

        self._launch, self._errors = launch, (DistError, RuntimeError)
        try:
            store = TCPStore(
                launch.host,
                launch.port,
                world_size=launch.of,
                is_master=launch.by == "srun" and launch.number == 0,  # torchrun's own process holds the store
                timeout=timedelta(seconds=_MEET_S),
            )
        except self._errors as error:
            raise UserError(
                f"{launch.by} started {launch.of} processes, but they did not find each other at "
                f"{launch.host}:{launch.port} (MASTER_ADDR, MASTER_PORT): {error}"
            ) from error
        self._store = PrefixStore("fdp_lightning", store)
        self._said = 0
        self._beat = 0
        self._beat_at = 0.0
        self._heard: dict[int, tuple[bytes, float]] = {}

    def say(self, message: Any) -> int:
        """Tell all followers; returns the message's number."""
        self._store.set(f"say/{self._said}", pickle.dumps(message))  # type: ignore[arg-type]  # it takes bytes
        self._said += 1
        return self._said - 1

    def hear(self, number: int) -> Any:
        """The leader's message of that number; waits for it.

        Raises:
            LeaderGoneError: it can say nothing any more.
        """
        while not self._asked(f"say/{number}"):
            time.sleep(POLL_S)
        return pickle.loads(self._store.get(f"say/{number}"))

    def stop(self, fold: int) -> None:
        """Ask for the end of the fold that message `fold` announced."""
        self._store.set(f"stop/{fold}", "")

    def stopped(self, fold: int) -> bool:
        """Whether the leader wants it ended."""
        return self._asked(f"stop/{fold}")

    def report(self, fold: int, code: int) -> None:
        """Tell the leader how this process's part of the fold ended."""
        self._store.set(f"ended/{fold}/{self._launch.number}", str(code))

    def ended(self, fold: int, rank: int) -> int | None:
        """The exit code of a rank's part of a fold; None while it runs."""
        key = f"ended/{fold}/{rank}"
        return int(self._store.get(key)) if self._store.check([key]) else None

    def silent(self, rank: int) -> bool:
        """Whether a follower has shown no sign of life for a minute."""
        key = f"beat/{rank}"
        beat = self._store.get(key) if self._store.check([key]) else b""
        if rank not in self._heard or self._heard[rank][0] != beat:
            self._heard[rank] = beat, time.monotonic()
        return time.monotonic() - self._heard[rank][1] > _SILENT_S

    def leave(self) -> None:
        """A follower's last word."""
        self._store.set(f"left/{self._launch.number}", "")

    def wait_for_leaving(self, ranks: Sequence[int], seconds: float) -> None:
        """Hold the store until the followers have heard the end, or long enough."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._store.check([f"left/{rank}" for rank in ranks]):
            time.sleep(POLL_S)

    def _asked(self, key: str) -> bool:
        """Whether there is such a key; shows the leader that this process lives."""
        try:
            if time.monotonic() - self._beat_at > _BEAT_S:
                self._beat, self._beat_at = self._beat + 1, time.monotonic()
                self._store.set(f"beat/{self._launch.number}", str(self._beat))
            return bool(self._store.check([key]))
        except self._errors as error:
            raise LeaderGoneError(str(error)) from error

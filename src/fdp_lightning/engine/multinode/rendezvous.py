"""Messages among the DDP processes of one command that torchrun or srun started once per device.

They go through torch's key-value store on the first process's machine: torchrun provides it, under srun the first
process holds it. As in every process group of torch, anybody who can write to the port is trusted.

Keys: `say/<i>`, the leader's messages in order; `stop/<i>`, a request to end the fold of message i; `ended/<i>/<rank>`,
the exit code of a process of that fold; `beat/<rank>`, a follower's heartbeat; `left/<rank>`, a follower that has
received the end.
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
    """Raised when the first process has ended without a message."""


class Rendezvous:
    """Connection of one DDP process to the others.

    Raises:
        UserError: the others did not connect.
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
        self._announced = 0
        self._beat = 0
        self._beat_at = 0.0
        self._heard: dict[int, tuple[bytes, float]] = {}

    def announce(self, message: Any) -> int:
        """Send a message to all followers and return its number."""
        self._store.set(f"say/{self._announced}", pickle.dumps(message))  # type: ignore[arg-type]  # it takes bytes
        self._announced += 1
        return self._announced - 1

    def receive(self, number: int) -> Any:
        """Wait for the leader's message of that number and return it.

        Raises:
            LeaderGoneError: the leader is gone.
        """
        while not self._asked(f"say/{number}"):
            time.sleep(POLL_S)
        return pickle.loads(self._store.get(f"say/{number}"))

    def stop(self, fold: int) -> None:
        """Request the end of the fold that message `fold` announced."""
        self._store.set(f"stop/{fold}", "")

    def stopped(self, fold: int) -> bool:
        """Return True if the leader requested the end of that fold."""
        return self._asked(f"stop/{fold}")

    def report(self, fold: int, code: int) -> None:
        """Report the exit code of this process's part of the fold."""
        self._store.set(f"ended/{fold}/{self._launch.number}", str(code))

    def ended(self, fold: int, rank: int) -> int | None:
        """Return the exit code of a rank's part of a fold; None while it runs."""
        key = f"ended/{fold}/{rank}"
        return int(self._store.get(key)) if self._store.check([key]) else None

    def silent(self, rank: int) -> bool:
        """Return True if a follower has sent no heartbeat for a minute."""
        key = f"beat/{rank}"
        beat = self._store.get(key) if self._store.check([key]) else b""
        if rank not in self._heard or self._heard[rank][0] != beat:
            self._heard[rank] = beat, time.monotonic()
        return time.monotonic() - self._heard[rank][1] > _SILENT_S

    def leave(self) -> None:
        """Report that this follower has received the end."""
        self._store.set(f"left/{self._launch.number}", "")

    def wait_for_leaving(self, ranks: Sequence[int], seconds: float) -> None:
        """Hold the store until the followers have received the end, or for so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._store.check([f"left/{rank}" for rank in ranks]):
            time.sleep(POLL_S)

    def _asked(self, key: str) -> bool:
        """Return True if the key exists, and send a heartbeat."""
        try:
            if time.monotonic() - self._beat_at > _BEAT_S:
                self._beat, self._beat_at = self._beat + 1, time.monotonic()
                self._store.set(f"beat/{self._launch.number}", str(self._beat))
            return bool(self._store.check([key]))
        except self._errors as error:
            raise LeaderGoneError(str(error)) from error

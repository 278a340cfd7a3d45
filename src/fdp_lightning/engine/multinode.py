"""Leader and followers of a command that torchrun or srun started once per device.

If each of them ran the command, each would run the whole sweep, and their ranks would match only by chance. Instead,
the first process plans, displays, pools and writes as if it were the only one. A follower reads no configuration: for
each fold that the leader announces, it starts its rank of that fold on its own machine and device, and it exits with
the leader's exit code. All machines need the run folder and the store, and therefore a shared file system, on which
the commands have the same working folder.
"""

import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from fdp_lightning.engine.devices import GPUS, Rank, free_port
from fdp_lightning.engine.launch import Launch
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.engine.process import FoldProcess, LocalProcesses, start_process
from fdp_lightning.errors import UserError
from fdp_lightning.processes import forkserver

_MEET_S = 600  # imports from a cluster's file system take minutes when all processes start together
_BEAT_S = 2.0
_SILENT_S, _GOODBYE_S = 60.0, 15.0
POLL_S = 0.1


class LeaderGoneError(Exception):
    """Raised when the first process has ended without a message."""


class Rendezvous:
    """Connection of one DDP process to the others, through torch's key-value store on the first one's machine.

    torchrun provides the store; under srun the first process holds it. As in every process group of torch, anybody who
    can write to the port is trusted. Keys: `say/<i>`, the leader's messages in order; `stop/<i>`, a request to end the
    fold of message i; `ended/<i>/<rank>`, the exit code of a process of that fold; `beat/<rank>`, a follower's
    heartbeat; `left/<rank>`, a follower that has received the end.

    Raises:
        UserError: the others did not connect.
    """

    def __init__(self, launch: Launch) -> None:
        from torch.distributed import PrefixStore, TCPStore

        self._launch = launch
        try:
            store = TCPStore(
                launch.host,
                launch.port,
                world_size=launch.of,
                is_master=launch.by == "srun" and launch.number == 0,  # torchrun's own process holds the store
                timeout=timedelta(seconds=_MEET_S),
            )
        except RuntimeError as error:
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
        self._store.set(f"say/{self._announced}", pickle.dumps(message))  # type: ignore[arg-type]  # it takes bytes
        self._announced += 1
        return self._announced - 1

    def receive(self, number: int) -> Any:
        """Wait for the leader's message of that number; LeaderGoneError if the leader is gone."""
        while not self.asked(f"say/{number}"):
            time.sleep(POLL_S)
        return pickle.loads(self._store.get(f"say/{number}"))

    def put(self, key: str, value: str = "") -> None:
        self._store.set(key, value)

    def get(self, key: str) -> bytes | None:
        return self._store.get(key) if self._store.check([key]) else None

    def silent(self, rank: int) -> bool:
        """Return True if a follower has sent no heartbeat for a minute."""
        beat = self.get(f"beat/{rank}") or b""
        if rank not in self._heard or self._heard[rank][0] != beat:
            self._heard[rank] = beat, time.monotonic()
        return time.monotonic() - self._heard[rank][1] > _SILENT_S

    def wait_for_leaving(self) -> None:
        """Keep the store open until the followers have received the end, for at most a quarter of a minute."""
        until, left = time.monotonic() + _GOODBYE_S, [f"left/{rank}" for rank in range(1, self._launch.of)]
        while time.monotonic() < until and not self._store.check(left):
            time.sleep(POLL_S)

    def asked(self, key: str) -> bool:
        """Return True if the leader has set the key, and send a heartbeat; LeaderGoneError if the leader is gone."""
        try:
            if time.monotonic() - self._beat_at > _BEAT_S:
                self._beat, self._beat_at = self._beat + 1, time.monotonic()
                self._store.set(f"beat/{self._launch.number}", str(self._beat))
            return bool(self._store.check([key]))
        except RuntimeError as error:
            raise LeaderGoneError(str(error)) from error


class Leader(LocalProcesses):
    """The first process, as the fold pool's starter: each fold is trained by all DDP processes of the command."""

    look_s = 0.2  # a process on another machine sends no event

    def __init__(self, launch: Launch, rendezvous: Rendezvous) -> None:
        super().__init__(launch.of)
        self._launch, self._rendezvous = launch, rendezvous

    def start(self, plan: FoldPlan, devices: Sequence[int], news: Connection) -> Sequence[FoldProcess]:
        """Start the first process of a fold and announce it to the others."""
        gone = [number for number in range(1, self.ranks) if self._rendezvous.silent(number)]
        if gone:
            raise RuntimeError(f"processes {gone} of {self._launch.by} are gone. The same command resumes from here")
        first = Rank(0, self.ranks, _address(self._launch), free_port(), _device(plan, self._launch))
        number = self._rendezvous.announce((plan, first))
        others = [_Elsewhere(self._rendezvous, number, rank) for rank in range(1, self.ranks)]
        return [start_process(plan, first, news), *others]


class _Elsewhere:
    def __init__(self, rendezvous: Rendezvous, fold: int, rank: int) -> None:
        self._rendezvous, self._fold, self._rank = rendezvous, fold, rank
        self._code: int | None = None

    @property
    def exitcode(self) -> int | None:
        if self._code is None and (code := self._rendezvous.get(f"ended/{self._fold}/{self._rank}")) is not None:
            self._code = int(code)
        if self._code is None and self._rendezvous.silent(self._rank):
            self._code = -signal.SIGKILL
        return self._code

    def is_alive(self) -> bool:
        return self.exitcode is None

    def terminate(self) -> None:
        self._rendezvous.put(f"stop/{self._fold}")

    def join(self) -> None:
        while self.is_alive():
            time.sleep(POLL_S)


_leader: Leader | None = None


def leader() -> Leader | None:
    """Return the leader, if this process is the first of several that run the command; else None."""
    return _leader


def run_as_ddp_process(launch: Launch, command: Callable[[], None]) -> None:
    """Run this process of the launch until the command ends, and exit with the command's exit code."""
    try:
        rendezvous = Rendezvous(launch)
    except UserError as error:
        print(f"\nfdp_lightning: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(_lead(launch, rendezvous, command) if launch.number == 0 else _follow(launch, rendezvous))


def _lead(launch: Launch, rendezvous: Rendezvous, command: Callable[[], None]) -> int:
    global _leader
    _leader = Leader(launch, rendezvous)
    code = 1
    try:
        command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()  # before the others end: torchrun ends all processes when one has failed
    finally:
        rendezvous.announce(code)
    rendezvous.wait_for_leaving()
    return code


def _follow(launch: Launch, rendezvous: Rendezvous) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the leader ends its followers
    forkserver()
    try:
        for number in count():
            announced = rendezvous.receive(number)
            if isinstance(announced, int):
                rendezvous.put(f"left/{launch.number}")
                return announced
            plan, first = announced
            code = _train(plan, first, number, launch, rendezvous)
            rendezvous.put(f"ended/{number}/{launch.number}", str(code))
    except LeaderGoneError:
        print(f"\nfdp_lightning: process {launch.number} ends because the first one is gone.", file=sys.stderr)
    return 1


def _train(plan: FoldPlan, first: Rank, number: int, launch: Launch, rendezvous: Rendezvous) -> int:
    if not plan.run.is_dir():
        print(
            f"\nfdp_lightning: {socket.gethostname()} does not have {plan.run.absolute()} of {first.host}: all "
            "machines need a shared file system and the same working folder",
            file=sys.stderr,
        )
        return 1
    process = start_process(plan, replace(first, number=launch.number, device=_device(plan, launch)), None)
    try:
        while process.exitcode is None:
            if rendezvous.asked(f"stop/{number}"):
                process.terminate()
            process.join(POLL_S)
    finally:
        process.terminate()
        process.join()
    return process.exitcode or 0


def _device(plan: FoldPlan, launch: Launch) -> int | None:
    """Return the device of this process (None: the CPU): torchrun and srun number the processes of each machine."""
    return launch.local if plan.config["trainer"]["accelerator"] in GPUS else None


def _address(launch: Launch) -> str:
    """Return the address of this machine, which need not be the one that holds torchrun's store."""
    with socket.create_connection((launch.host, launch.port), timeout=60) as connection:
        address = str(connection.getsockname()[0])
    return launch.host if address.startswith("127.") or address == "::1" else address

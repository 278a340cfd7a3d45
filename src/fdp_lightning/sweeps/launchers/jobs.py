"""Parallel jobs of a sweep: their labels, their shares of the machine, and results for lost ones."""

import contextlib
import io
import logging
import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from fdp_lightning.errors import UserError
from fdp_lightning.processes import CORES

log = logging.getLogger(__name__)

_LONGEST_LABEL = 60
_LOOK_FOR_PARENT_S = 1.0


class JobLostError(Exception):
    """Raised when a job's process ended without a result: killed, out of memory, or its machine lost."""


@dataclass(frozen=True)
class Sweep:
    """Arguments that Hydra passes to a launcher; they are sent to the processes of the jobs."""

    context: HydraContext
    config: DictConfig
    task: TaskFunction


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its number in the whole sweep, from 0, and a label of number and distinguishing overrides."""

    number: int
    overrides: tuple[str, ...]
    label: str


def begin(sweep: Sweep, overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
    """Prepare a launcher, its log and the folder of the sweep; return its jobs, see `jobs_of`."""
    configure_log(sweep.config.hydra.hydra_logging, sweep.config.hydra.verbose)
    Path(str(sweep.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    return jobs_of(overrides, first)


def jobs_of(overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
    """Return one job per list of overrides, numbered from `first`."""
    shared = set.intersection(*(set(job) for job in overrides)) if len(overrides) > 1 else set(overrides[0])
    jobs = []
    for number, job in enumerate(overrides, first):
        label = " ".join([f"#{number}", *(override for override in job if override not in shared)])
        jobs.append(Job(number, tuple(job), label if len(label) <= _LONGEST_LABEL else f"#{number}"))
    return jobs


def failed(job: Job, error: Exception) -> JobReturn:
    result = JobReturn(overrides=list(job.overrides), status=JobStatus.FAILED)
    result.return_value = error
    return result


def lost(job: Job, why: str) -> JobReturn:
    """Return the result of a job whose process ended without one, for a reason that the launcher knows."""
    error = JobLostError(f"job {job.label} was lost ({why}); the same command resumes it")
    log.warning("%s", error)  # now, not after the last job
    return failed(job, error)


def outcome(result: JobReturn) -> Any:
    """Return what a job returned, or the exception it ended with; Hydra's own property prints and raises the latter."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return result.return_value
    except Exception as error:
        return error


def run_here(
    sweep: Sweep, job: Job, state: dict[Any, Any], cores: int | None, label: str | None, identity: str | None = None
) -> JobReturn:
    """Run a job in this process, as Hydra's launchers do; its exception, if any, can be sent to another process.

    `state` is Hydra's in the launching process, from `Singleton.get_state`. The job may use `cores` cores (None: all
    that are available to the process). Each line that it prints begins with `label` (None: its output has its own
    file). Without an `identity` its id is the common job name with its number.
    """
    if cores is not None:
        os.environ[CORES] = str(cores)  # inherited by its workers, which prepare clips and count cores too
    with contextlib.ExitStack() as stack:
        if label is not None:
            stack.enter_context(redirect_stdout(stack.enter_context(_Labelled(sys.stdout, label))))
            stack.enter_context(redirect_stderr(stack.enter_context(_Labelled(sys.stderr, label))))
        result = _run(sweep, job, state, identity)
    error = outcome(result)
    if isinstance(error, Exception):
        note = "".join(traceback.format_exception(error))  # pickling drops the traceback but keeps notes
        if not _travels(error):
            error = RuntimeError(f"{type(error).__name__}: {error}")
        if not isinstance(error, UserError):
            error.add_note(note)
        result.return_value = error
    return result


def _run(sweep: Sweep, job: Job, state: dict[Any, Any], identity: str | None) -> JobReturn:
    setup_globals()
    Singleton.set_state(state)
    config = sweep.context.config_loader.load_sweep_config(sweep.config, list(job.overrides))
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = identity or f"{config.hydra.job.name}_{job.number}", job.number
    HydraConfig.instance().set_config(config)
    return run_job(sweep.task, config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=sweep.context)


def _travels(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


class _Labelled(io.TextIOBase):
    """Stream that labels each line, because those of several jobs mix in one terminal; their bars would collide, so it
    is no terminal itself.
    """

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream, self._label, self._begun = stream, label, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        whole = "".join(f"{self._label} {line}\n" if line.strip() else "\n" for line in lines)
        if whole:  # in one write, so that lines of other jobs do not split it
            encoding = self.encoding
            self._stream.write(whole.encode(encoding, errors="backslashreplace").decode(encoding))
            self._stream.flush()
        return len(text)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding or "utf-8"

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        if self._begun:
            self.write("\n")


@cache  # one process runs many jobs
def end_with(parent: int) -> None:
    """End this process when the parent with this process id is gone; its own workers then end too."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_FOR_PARENT_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()

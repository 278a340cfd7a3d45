"""Jobs in parallel on this machine, in worker processes of joblib's engine, loky."""

import logging
import multiprocessing
import os
import re
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn

from fdp_lightning.errors import UserError
from fdp_lightning.processes import cpu_count
from fdp_lightning.sweeps.launchers.jobs import Job, Sweep, begin, end_with, failed, lost, run_here

log = logging.getLogger(__name__)


def jobs_at_once(n_jobs: object, jobs: int) -> int:
    """Return how many of `jobs` run in parallel, from joblib's `n_jobs`: -1 is one per core, -2 all cores but one.

    UserError unless it is a whole number other than 0.
    """
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise UserError(
            f"hydra.launcher.n_jobs is {n_jobs!r}; expected a number of parallel jobs, or -1 for one per core"
        )
    return max(1, min(jobs, n_jobs if n_jobs > 0 else cpu_count() + 1 + n_jobs))


check = partial(jobs_at_once, jobs=1)


def launch(sweep: Sweep, overrides: Sequence[Sequence[str]], first: int, n_jobs: int) -> list[JobReturn]:
    """Run the jobs of `jobs.begin`, `n_jobs` in parallel (see `jobs_at_once`); return their results, in order.

    Each worker has its own pool: in a shared pool, loky ends all workers when one is killed, and loses their jobs.
    """
    from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor

    jobs = begin(sweep, overrides, first)
    at_once = jobs_at_once(n_jobs, len(jobs))
    cores = max(1, cpu_count() // at_once)
    log.info("%d jobs, %d at a time, with %d of %d cores each", len(jobs), at_once, cores, cpu_count())
    for job in jobs:
        log.info("\t%s", job.label)
    new_worker = partial(ProcessPoolExecutor, max_workers=1, initializer=_begin, initargs=(os.getpid(),))
    free = [new_worker() for _ in range(at_once)]
    workers, waiting = set(free), deque(jobs)
    running: dict[Any, tuple[Job, Any]] = {}
    results: dict[int, JobReturn] = {}
    state = Singleton.get_state()
    try:
        while waiting or running:
            while waiting and free:
                job, worker = waiting.popleft(), free.pop()
                running[worker.submit(run_here, sweep, job, state, cores, job.label)] = job, worker
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, worker = running.pop(future)
                try:
                    results[job.number] = future.result()
                except BrokenProcessPool as error:
                    code = re.search(r"exit codes? of the workers? .*?\{(.*?)\}", str(error), re.S)
                    results[job.number] = lost(job, f"its process ended with {code[1] if code else 'no exit code'}")
                    worker.shutdown(kill_workers=True)
                    workers.remove(worker)
                    worker = new_worker()
                    workers.add(worker)
                except Exception as error:
                    results[job.number] = failed(job, error)
                free.append(worker)
        for worker in workers:
            worker.shutdown()
    finally:
        for worker in workers:
            worker.shutdown(kill_workers=True)
    return [results[job.number] for job in jobs]


def _begin(parent: int) -> None:
    end_with(parent)
    # The workers of this worker would look for loky's own start method, which they do not know.
    multiprocessing.set_start_method("forkserver", force=True)

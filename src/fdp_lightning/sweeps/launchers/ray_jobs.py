"""Jobs scheduled by Ray: on a local instance that lives as long as the command, or on a cluster."""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn

from fdp_lightning.errors import UserError, first_line
from fdp_lightning.files import scratch_folder
from fdp_lightning.sweeps.launchers.jobs import Job, Sweep, begin, end_with, failed, lost, run_here

log = logging.getLogger(__name__)

_HERE = (None, "local")
_WIND_UP_S = 15.0  # seconds for interrupted jobs to end their folds properly
_LONGEST_FOLDER = 27  # characters of the sockets' folder: the system allows 107, and Ray adds seventy
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_DEDUP_LOGS": "0",  # similar lines of several jobs are not duplicates
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # jobs that request no GPU share all of them, through our locks
}


def launch(
    sweep: Sweep, overrides: Sequence[Sequence[str]], first: int, ray: dict[str, dict[str, Any]]
) -> list[JobReturn]:
    """Run the jobs of `jobs.begin` and return their results, in order.

    `ray` has `init`, the options of ray.init, and `remote`, the resources of a job.
    """
    jobs, state = begin(sweep, overrides, first), Singleton.get_state()
    needs = {key: value for key, value in ray["remote"].items() if value is not None}
    with _connected({key: value for key, value in ray["init"].items() if value is not None}) as here:
        _check_needs(needs, here)
        log.info("%d jobs, each with %s", len(jobs), ", ".join(f"{key} {value}" for key, value in needs.items()))
        for job in jobs:
            log.info("\t%s", job.label)
        return _run(sweep, jobs, needs, state)


def _run(sweep: Sweep, jobs: Sequence[Job], needs: dict[str, Any], state: dict[Any, Any]) -> list[JobReturn]:
    import ray

    remote = ray.remote(**needs)(_job)
    cores = max(1, int(needs.get("num_cpus", 1)))
    place = Path.cwd()
    running: dict[Any, Job] = {}
    results: dict[int, JobReturn] = {}
    try:
        for job in jobs:
            running[remote.remote(sweep, job, cores, state, place)] = job
        while running:
            (ended,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(ended)
            try:
                results[job.number] = ray.get(ended)
            except ray.exceptions.RayTaskError as error:  # raised outside Hydra's part
                results[job.number] = failed(job, error.cause if isinstance(error.cause, Exception) else error)
            except ray.exceptions.RayError as error:
                results[job.number] = lost(job, first_line(error))
    except KeyboardInterrupt:
        for one in running:
            ray.cancel(one)
        ray.wait(list(running), num_returns=len(running), timeout=_WIND_UP_S)
        raise
    return [results[job.number] for job in jobs]


def _job(sweep: Sweep, job: Job, cores: int, state: dict[Any, Any], place: Path) -> JobReturn:
    try:
        os.chdir(place)
    except OSError as error:
        raise UserError(
            f"{place} does not exist on {os.uname().nodename}: a cluster's machines need the command's working folder, "
            "with data and runs, on a shared file system"
        ) from error
    end_with(os.getppid())
    return run_here(sweep, job, state, cores, job.label)


@contextmanager
def _connected(options: dict[str, Any]) -> Iterator[bool]:
    """Start Ray for this command or connect to a cluster; yield True if it runs here, and clean up afterwards."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    here = options.get("address") in _HERE and "RAY_ADDRESS" not in os.environ
    with ExitStack() as held:
        if here and len(tempfile.gettempdir()) <= _LONGEST_FOLDER:
            options["_temp_dir"] = str(held.enter_context(scratch_folder("fdp")))
        elif not here:  # on a cluster these are set by whoever started it
            for name in ("num_cpus", "num_gpus", "object_store_memory", "include_dashboard"):
                options.pop(name, None)
        held.callback(ray.shutdown)
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, TypeError) as error:
            raise UserError(
                f"Ray cannot be started or reached (hydra.launcher.ray.init: {options}): {error}"
            ) from error
        yield here


def _check_needs(needs: dict[str, Any], here: bool) -> None:
    """Reject jobs that would wait forever for missing resources; a cluster may grow."""
    import ray

    there = ray.cluster_resources()
    for key, name in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
        if here and needs.get(key, 0) > there.get(name, 0):
            raise UserError(
                f"hydra.launcher.ray.remote.{key} is {needs[key]}, but Ray has {there.get(name, 0):g} {name}s here"
            )

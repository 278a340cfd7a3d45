"""Jobs submitted by submitit: to Slurm, or as processes of this machine."""

import logging
import shlex
import shutil
import time
from collections.abc import Sequence
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from submitit.core.utils import UncompletedJobError
from submitit.helpers import Checkpointable, as_completed

from fdp_lightning.errors import UserError
from fdp_lightning.processes import cpu_count
from fdp_lightning.sweeps.launchers.jobs import Job, Sweep, begin, failed, lost, run_here

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = {"local": 0.2, "slurm": 10.0}
_OF_ALL_CLUSTERS = (
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout",
)  # fmt: skip


class Submitted(Checkpointable):
    """One job, as submitit pickles it; when its time is up it is queued again, and its folds resume."""

    def __init__(self, sweep: Sweep, job: Job, cores: int | None, state: dict[Any, Any]) -> None:
        self.sweep, self.job, self.cores, self.state = sweep, job, cores, state

    def __call__(self) -> JobReturn:
        identity = submitit.JobEnvironment().job_id
        return run_here(self.sweep, self.job, self.state, self.cores, label=None, identity=identity)


def check(cluster: str, **_options: Any) -> None:
    """Raise UserError if Slurm is requested but missing."""
    if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise UserError(
            "hydra/launcher=submitit_slurm: sbatch and srun are not on this machine; run the command on a login "
            "node of a Slurm cluster, or try it out with hydra/launcher=submitit_local"
        )


def new_executor(cluster: str, **options: Any) -> submitit.AutoExecutor:
    """Return an executor with these options; null leaves one to submitit. UserError if submitit rejects one."""
    given = {key: value for key, value in options.items() if value is not None}
    folder, tries = given.pop("submitit_folder"), given.pop("max_num_timeout", 0)
    executor = submitit.AutoExecutor(folder, cluster=cluster, **{f"{cluster}_max_num_timeout": tries})
    named = {key if key in _OF_ALL_CLUSTERS else f"{cluster}_{key}": value for key, value in given.items()}
    try:
        executor.update_parameters(**named)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise UserError(f"hydra.launcher: submitit rejects its options: {error}") from error
    return executor


def launch(
    sweep: Sweep, overrides: Sequence[Sequence[str]], first: int, cluster: str, **options: Any
) -> list[JobReturn]:
    """Submit the jobs of `jobs.begin` to the cluster, 'slurm' or 'local', wait, and return their results, in order."""
    executor = new_executor(cluster, **options)
    jobs, state = begin(sweep, overrides, first), Singleton.get_state()
    cores = options.get("cpus_per_task")
    if cores is None and cluster == "local":
        cores = max(1, cpu_count() // len(jobs))  # they all start together
    with executor.batch():
        submitted = [executor.submit(Submitted(sweep, job, cores, state)) for job in jobs]
    for job, handle in zip(jobs, submitted, strict=True):
        log.info("\t%s is job %s of %s, log: %s", job.label, handle.job_id, cluster, handle.paths.stderr)
    try:
        return _results(jobs, submitted, _LOOK_AGAIN_S[cluster])
    except KeyboardInterrupt:
        if cluster == "slurm":
            ids = shlex.join(dict.fromkeys(str(handle.job_id).partition("_")[0] for handle in submitted))
            log.info("The jobs continue without this command. To end them: scancel %s", ids)
        else:
            for handle in submitted:
                handle.cancel()
            while not all(handle.state in ("FINISHED", "INTERRUPTED") for handle in submitted):
                time.sleep(_LOOK_AGAIN_S["local"])
        raise


def _results(jobs: Sequence[Job], submitted: Sequence[Any], every: float) -> list[JobReturn]:
    results: dict[Any, JobReturn] = {}
    by_handle = dict(zip(submitted, jobs, strict=True))
    for handle in as_completed(submitted, poll_frequency=every):
        job = by_handle[handle]
        try:
            results[handle] = handle.results()[0]
        except UncompletedJobError as error:  # contains the end of the job's log
            log.debug("%s", error)
            results[handle] = lost(job, f"{handle.state}, log: {handle.paths.stderr}")
        except Exception as error:
            results[handle] = failed(job, error)
        log.info("\t%s has ended (%d/%d)", job.label, len(results), len(jobs))
    return [results[handle] for handle in submitted]

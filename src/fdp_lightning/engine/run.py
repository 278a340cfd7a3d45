"""The engine: the folds of a run are planned, checked, trained in parallel, and pooled only when complete."""

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.faces.prepare_clip import DETECTED
from fdp_lightning.data.protocols.leak_guard import check_clips, check_near_copies
from fdp_lightning.data.protocols.splits import ALL
from fdp_lightning.data.store.clip_store import open_store
from fdp_lightning.engine.dataset import ReadyData, ready_data, write_expected
from fdp_lightning.engine.devices import GPUS, check_devices, ranks_of, settled
from fdp_lightning.engine.display import fold_display
from fdp_lightning.engine.launch import check_launch, launch_of
from fdp_lightning.engine.multinode import leader
from fdp_lightning.engine.plan import Checked, FoldPlan, clear_the_way, plan_fold, steps_of
from fdp_lightning.engine.pool import FoldPool
from fdp_lightning.engine.process import LocalProcesses
from fdp_lightning.errors import UserError, require_writable
from fdp_lightning.evaluation.origin import read_json, span, thousands
from fdp_lightning.evaluation.runs import FIT
from fdp_lightning.files import remove_leftovers, write_atomic
from fdp_lightning.processes import cpu_count, forkserver, in_worker
from fdp_lightning.runs.claims import Gpus, gpu_names, run_claim
from fdp_lightning.runs.environment import environment
from fdp_lightning.runs.folder import run_folder
from fdp_lightning.runs.pooling import POOLED, headline, pool_run, remove_pooled
from fdp_lightning.tracking.aggregate import log_pooled
from fdp_lightning.tracking.loggers import WANDB_IMPORTS, check_loggers, tags_of, uses_wandb

log = logging.getLogger("fdp_lightning")

_LINEAR_IMPORTS = ("sklearn.linear_model", "threadpoolctl")
"""Imports of models/linear_baseline.py, which take longer than fitting a fold's baselines."""


class FoldsFailedError(Exception):
    """Raised when folds crashed; there is no pooled score without them."""


@dataclass(frozen=True)
class Run:
    """A run: its folder, its data, and the plan of each fold; for a fit, of the one training on all subjects."""

    config: DictConfig
    """Configuration of the command, with `trainer=auto` resolved."""
    folder: Path
    data: ReadyData
    plans: list[FoldPlan]

    @property
    def is_complete(self) -> bool:
        return all(plan.is_done for plan in self.plans)

    def claim(self) -> AbstractContextManager[None]:
        """Reserve the run folder for commands of these settings, see `claims.run_claim`."""
        return run_claim(self.folder, self.plans[0].fingerprint)

    @property
    def is_fit(self) -> bool:
        return all(plan.is_fit for plan in self.plans)


def open_run(config: DictConfig, folder: Path | None = None, fit: bool = False) -> Run:
    """Prepare the data and plan all folds, or with `fit` one training on all subjects.

    `folder` is the run folder; None: that of the configuration. UserError for unusable data or options; LeakError if a
    fold would train on clips that it tests.
    """
    check_launch(config.trainer, launch_of(os.environ), led=leader() is not None)
    headline(config)  # a misspelt one must not cost a training
    folder = folder or run_folder(config)
    pooled = (folder / (f"folds/{ALL}/fold.json" if fit else POOLED[-1])).is_file()
    if not pooled:
        require_writable(folder)  # now, not after minutes of preparing data
        linear = _LINEAR_IMPORTS if config.data.linear_baselines else ()
        forkserver(*(WANDB_IMPORTS if uses_wandb(config) else ()), *linear)  # before the first worker starts
    # A fit trains like the folds in the run folder, whose score estimates its own.
    config = settled(config, [folder, folder.parent] if fit else [folder], pooled)
    if not pooled:
        check_devices(config.trainer)
        if config.trainer.accelerator in GPUS:
            _gpus(config)
    check_loggers(config, tags_of(config))
    data = ready_data(config, before_work=lambda: _checked(config))
    store = open_store(data.store, verify=False)
    check_clips(data.clips, store.index["checksum"].iloc[store.rows(data.clips)].tolist())
    check_near_copies(data.clips, store, aligned=config.data.faces.method in DETECTED)
    splits = [None] if fit else data.folds()
    return Run(config, folder, data, [plan_fold(config, data, split, folder) for split in splits])


def train(run: Run, plans: Sequence[FoldPlan]) -> int:
    """Run the plans that are not finished, and return the number of folds that were run.

    FoldsFailedError names folds that crashed, with their logs; the others are kept. UserError for impossible options.
    """
    todo = [plan for plan in plans if not plan.is_done]
    checked = _checked(run.config) if todo else None
    todo = [plan for plan in todo if not clear_the_way(plan)]  # not earlier: rejected options must not move a fold
    _write_description(run)
    log.info(
        "%s: %d clips, %d subjects, %d of %d %s to run in %s",
        run.data.protocol.name, len(run.data.clips), run.data.n_subjects, len(todo), len(plans),
        "trainings" if run.is_fit else "folds", run.folder,
    )  # fmt: skip
    if checked is None or not todo:
        return 0
    log.info("%s", what_is_trained(run.config, todo, checked))
    _warn_of_other_versions(run)
    remove_leftovers(run.folder)
    remove_pooled(run.folder)  # pooled from fewer or other folds; if a fold fails now, no old score must remain
    start, began = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        failed = _run(run.config, todo)
    except KeyboardInterrupt:
        done = sum(plan.is_done for plan in run.plans)
        log.info("%d of %d folds are finished in %s", done, len(run.plans), run.folder)
        raise
    if failed:
        raise FoldsFailedError(_what_failed(run, failed))
    facts = {**environment(), "step": checked.step, "started": began, "seconds": round(time.monotonic() - start, 1)}
    write_atomic(run.folder / "environment.json", json.dumps(facts, indent=1) + "\n")
    return len(todo)


def _checked(config: DictConfig) -> Checked:
    """Run `check_options` in a worker, which imports torch; this process does not need it."""
    return _checked_once(OmegaConf.to_yaml(config, resolve=True))


@cache
def _checked_once(config: str) -> Checked:
    log.info("loading PyTorch")  # takes seconds, and a minute the first time on a machine
    return in_worker(_check_options, OmegaConf.create(config))


def _check_options(config: DictConfig) -> Checked:
    from fdp_lightning.engine.preflight import check_options

    return check_options(config)


def what_is_trained(config: DictConfig, plans: Sequence[FoldPlan], checked: Checked) -> str:
    """Return a line on the model, its budget, and where and how it is trained."""
    steps = span([steps_of(plan) for plan in plans])
    where = f"{config.trainer.accelerator}, {config.trainer.get('precision', 32)}"
    each = "" if plans[0].is_fit else " per fold"
    if plans[0].config["model"]["objective"] is None:
        how = f"{checked.step}{each}"
    else:
        how = f"{thousands(checked.parameters)} parameters, {steps} steps{each}, {checked.step}"
    return f"{plans[0].model}: {how}; on {where}"


def _warn_of_other_versions(run: Run) -> None:
    """Warn of finished folds that were trained with another version of torch, whose last digits may differ."""
    here = version("torch")
    made = {plan.fold.name: read_json(plan.folder / "fold.json").get("torch") for plan in run.plans if plan.is_done}
    if others := {name: torch for name, torch in made.items() if torch and torch.split("+")[0] != here.split("+")[0]}:
        log.warning(
            "torch %s is installed, but %d finished folds were trained with %s: the run will hold both, and report it",
            here, len(others), ", ".join(sorted(set(others.values()))),
        )  # fmt: skip


def _what_failed(run: Run, failed: Mapping[str, Path]) -> str:
    if run.is_fit:
        ((_, path),) = failed.items()
        return f"the fit failed: {_last_line(path)}  ({path})\nThe same command resumes from its last checkpoint."
    tails = [f"fold {name}: {_last_line(path)}  ({path})" for name, path in failed.items()]
    return (
        f"{len(failed)} of {len(run.plans)} folds failed; the others are kept, and there is no pooled score:\n  "
        + "\n  ".join(tails)
        + "\nThe same command runs the failed folds again."
    )


def _write_description(run: Run) -> None:
    """Write the configuration of the run, whichever task and fold were asked for, and the clips it must predict."""
    shown = OmegaConf.merge(run.config, {"task": "fit" if run.is_fit else "loso", "fold": None})
    write_atomic(run.folder / "config.yaml", OmegaConf.to_yaml(shown, resolve=True))
    if run.is_fit:  # marks a folder that is not a run and has no score
        facts = {"protocol": run.data.protocol.name, "clips": len(run.data.clips), "subjects": run.data.n_subjects}
        write_atomic(run.folder / FIT, json.dumps(facts, indent=1) + "\n")
        return
    write_expected(run.folder, run.data, [plan.fold for plan in run.plans])


def _run(config: DictConfig, todo: Sequence[FoldPlan]) -> dict[str, Path]:
    if starter := leader():  # one fold at a time, which uses all processes that torchrun or srun started
        with fold_display(todo, 1) as display:
            return FoldPool(1, starter, None, display).run(todo)
    ranks = ranks_of(config.trainer)
    names = _gpus(config) if config.trainer.accelerator in GPUS else None
    workers = config.loso.workers
    if workers is None:
        free = cpu_count() // config.loso.cpu_threads if names is None else len(names)
        workers = max(1, free // ranks)
    gpus = None if names is None else Gpus(names, per_gpu=max(1, -(-workers * ranks // len(names))))
    workers = min(workers, len(todo))
    with fold_display(todo, workers) as display:
        return FoldPool(workers, LocalProcesses(ranks), gpus, display).run(todo)


def _gpus(config: DictConfig) -> list[str]:
    """Return the GPUs of this machine; UserError if there are fewer than the configuration needs."""
    names, devices = gpu_names(), config.trainer.devices
    own = leader() is not None and len(names) == 1  # srun may show each process only its own GPU
    if len(names) < devices and not own:
        raise UserError(
            f"trainer.devices is {devices} and trainer.accelerator is {config.trainer.accelerator}, but PyTorch sees "
            f"{len(names)} GPUs on this machine (nvidia-smi lists them, CUDA_VISIBLE_DEVICES may hide some); "
            "trainer=cpu needs none"
        )
    return names


def _last_line(path: Path) -> str:
    lines = path.read_text().strip().splitlines() if path.is_file() else []
    return lines[-1] if lines else "killed before it wrote anything"


def complete(run: Run) -> None:
    """Run the unfinished folds of a run, then pool; FoldsFailedError as in `train`."""
    with run.claim():
        trained = train(run, run.plans)
        pool_in_turn(run.config, run.folder, trained=trained > 0)


def pool_in_turn(config: DictConfig, run: Path, trained: bool) -> None:
    """Pool a complete run under a lock: parallel jobs that finish together would all find the run complete."""
    with FileLock(run / ".pooling.lock", mode=0o666):
        metrics = pool_run(run, config)
        shutil.rmtree(run / "unfinished", ignore_errors=True)  # all folds are finished: only their locks are left
        log_pooled(config, run, metrics, again=trained)

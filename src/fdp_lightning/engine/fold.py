"""One fold, trained and predicted in this process."""

import shutil
import time
from collections.abc import Callable

from fdp_lightning.data.protocols.leak_guard import subjects_of
from fdp_lightning.engine.ddp_processes import ALONE, Rank
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.files import atomic_folder
from fdp_lightning.runs.seal import finished, seal


def run_fold(
    plan: FoldPlan,
    on_epoch: Callable[[int], None] = lambda done: None,
    rank: Rank = ALONE,
    on_step_time: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Train and predict in this process; the fold's folder appears only when it is complete.

    Arguments as of `train_fold.train_fold`; the first rank writes.
    """
    # Imported here: a run whose folds are all finished never needs torch.
    from fdp_lightning.engine.classical import fit_fold, is_classical
    from fdp_lightning.engine.train_fold import train_fold

    train = fit_fold if is_classical(plan.config["model"]) else train_fold
    if not rank.first:
        train(plan, None, on_epoch, rank, on_step_time)
        return
    start = time.monotonic()
    with atomic_folder(plan.folder, lambda place: finished(place, plan.fingerprint)[0]) as partial:
        training = train(plan, partial, on_epoch, rank, on_step_time)
        facts = {
            "fold": plan.fold.name,
            "fingerprint": plan.fingerprint,
            "model": plan.model,
            "seed": plan.config["seed"],
            "subjects": subjects_of(plan.fold, plan.clips),
            "train_clips": len(plan.fold.train_rows),
            "inner_clips": len(plan.fold.inner_rows),
            "test_clips": len(plan.fold.test_rows),
            "seconds": round(time.monotonic() - start, 2),
        }
        seal(partial, {**facts, **training})
    shutil.rmtree(plan.unfinished, ignore_errors=True)

"""One fold: train on all subjects but one, predict the one. `task=fold fold=<subject>`, and the unit of `loso`."""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.splits import Fold, choose_fold
from fdp_lightning.data.targets import is_multi_label
from fdp_lightning.files import atomic_folder
from fdp_lightning.tasks.build import check_options
from fdp_lightning.tasks.dataset import ReadyData, ready_data
from fdp_lightning.tasks.run_folder import fingerprint, finished, run_folder, seal, set_aside

if TYPE_CHECKING:
    from fdp_lightning.data.datamodule import FoldDataModule

log = logging.getLogger("fdp_lightning")


@dataclass(frozen=True)
class FoldPlan:
    """All that a process needs to run one fold; plain data, so that it can be sent to one.

    Attributes:
        config: the resolved configuration.
        run: the run folder.
        store: the verified clip store.
        clips: the protocol's clips.
        fold: the split.
        fingerprint: of everything that decides the predictions.
        device: index of the accelerator to use.
    """

    config: dict[str, Any]
    run: Path
    store: Path
    clips: pd.DataFrame
    fold: Fold
    fingerprint: str
    device: int = 0

    @property
    def folder(self) -> Path:
        """Where the finished fold lies."""
        return self.run / "folds" / self.fold.name


def fold(config: DictConfig) -> None:
    """Run one fold in this process, unless it is finished."""
    data = ready_data(config)
    plan = plan_fold(config, data, choose_fold(data.folds(), config.fold), run_folder(config))
    if is_finished(plan):
        print(f"fold {plan.fold.name} is finished: {plan.folder}")
        return
    check_options(config)
    run_fold(plan)
    print(f"fold {plan.fold.name}: {plan.folder}")


def plan_fold(config: DictConfig, data: ReadyData, split: Fold, run: Path) -> FoldPlan:
    """The plan of one fold of a run."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return FoldPlan(plain, run, data.store, data.clips, split, fingerprint(config, data.store, data.clips))


def is_finished(plan: FoldPlan) -> bool:
    """Whether the fold can be skipped; one that cannot be used is moved aside and said so."""
    done, reason = finished(plan.folder, plan.fingerprint)
    if reason:
        kept = set_aside(plan.run, plan.folder)
        log.warning("fold %s is run again: %s. The old one is kept in %s", plan.fold.name, reason, kept)
    return done


def fold_seed(seed: int, name: str) -> int:
    """A seed of its own for each fold, whatever the order the folds are run in."""
    return int.from_bytes(sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


def run_fold(plan: FoldPlan, on_epoch: Callable[[int], None] = lambda done: None) -> None:
    """Train and predict; the fold's folder appears when all of it is written.

    Args:
        plan: of the fold.
        on_epoch: called with the number of epochs done.
    """
    start = time.monotonic()
    with atomic_folder(plan.folder, lambda place: finished(place, plan.fingerprint)[0]) as partial:
        with warnings.catch_warnings():
            _quiet()
            _train_and_predict(plan, partial, on_epoch)
        seal(
            partial,
            {
                "fold": plan.fold.name,
                "fingerprint": plan.fingerprint,
                "seed": plan.config["seed"],
                "train_clips": len(plan.fold.train_rows),
                "test_clips": len(plan.fold.test_rows),
                "seconds": round(time.monotonic() - start, 2),
            },
        )


def _train_and_predict(plan: FoldPlan, partial: Path, on_epoch: Callable[[int], None]) -> None:
    # Imported here: a run whose folds are all finished never needs torch.
    import cv2
    import lightning as L
    import torch
    from lightning.pytorch.callbacks import EMAWeightAveraging

    from fdp_lightning.tasks.build import build, build_loggers, build_model, settings
    from fdp_lightning.tasks.fold_files import write_outputs
    from fdp_lightning.training.module import FDPModule, clips_of
    from fdp_lightning.training.optimizer import OptimizerSettings
    from fdp_lightning.training.recorder import HeldOutRecorder

    config = OmegaConf.create(plan.config)
    torch.set_num_threads(config.loso.cpu_threads)
    cv2.setNumThreads(0)
    L.seed_everything(fold_seed(config.seed, plan.fold.name), verbose=False)
    classes = list(config.protocol.classes)
    data = _data_module(plan, config)
    statistics = data.statistics
    optimizer: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
    multi_label = is_multi_label(config.protocol.column)
    counts = {"class_counts": data.class_counts, "train_clips": len(data.train_set)}
    objective = build(config.model.objective, **counts, multi_label=multi_label)
    training_clips = clips_of(data.train_set.all_clips())
    objective.fit(training_clips)
    mean_image = objective.true_dynamic_image(training_clips).mean(dim=0)[0].numpy()
    module = FDPModule(
        build_model(config, len(classes), statistics.mean, statistics.std),
        objective,
        optimizer,
        provenance={
            "config": plan.config,
            "classes": classes,
            "multi_label": multi_label,
            "fold": plan.fold.name,
            "mean": statistics.mean,
            "std": statistics.std,
        },
    )
    # Convolutions on small maps are about a third faster with channels last, on the CPU as on a GPU.
    for parameter in module.parameters():
        if parameter.ndim == 4:  # a Conv3d's weights know no such format
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    recorder = HeldOutRecorder(data.test_dataloader, on_epoch)
    averages = [EMAWeightAveraging(decay=optimizer.ema)] if optimizer.ema is not None else []
    options: dict[str, Any] = OmegaConf.to_container(config.trainer)  # type: ignore[assignment]
    if options.get("accelerator") in ("gpu", "cuda"):
        options["devices"] = [plan.device]
    trainer = L.Trainer(
        **options,
        logger=build_loggers(config, plan.run, partial / "log", name=plan.fold.name, job_type="fold"),
        callbacks=[*averages, recorder],
        default_root_dir=partial,
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, datamodule=data)
    # After the end, where an average of the weights has taken their place: a checkpoint of weights alone that Lightning
    # writes while training holds the raw ones.
    trainer.save_checkpoint(partial / "checkpoints/last.ckpt", weights_only=True)
    batches: Any = trainer.predict(module, dataloaders=data.test_dataloader())
    outputs = {name: torch.cat([batch[name].cpu() for batch in batches]).numpy() for name in batches[0]}
    write_outputs(partial, plan, data, outputs, recorder, mean_image)


def _data_module(plan: FoldPlan, config: DictConfig) -> "FoldDataModule":
    from fdp_lightning.data.augment import ClipAugmentation
    from fdp_lightning.data.datamodule import FoldDataModule
    from fdp_lightning.data.sampling import Sampling
    from fdp_lightning.tasks.build import build, settings

    augmentation: ClipAugmentation | None = build(config.data.augmentation) if config.data.augmentation else None
    return FoldDataModule(
        store=plan.store,
        clips=plan.clips,
        classes=list(config.protocol.classes),
        fold=plan.fold,
        sampling=settings(Sampling, config.data.sampling),
        batch_size=config.data.batch_size,
        augmentation=augmentation,
        workers=config.data.loader_workers,
        seed=fold_seed(config.seed, plan.fold.name),
        normalisation=config.data.normalisation,
        multi_label=is_multi_label(config.protocol.column),
    )


def _quiet() -> None:
    """Lightning's start-up lines and advice would repeat for every fold."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")

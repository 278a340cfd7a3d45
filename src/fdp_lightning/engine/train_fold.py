"""Train a fold and predict its held-out clips in one process."""

import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.inputs.flow import InputSettings
from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.protocols.leak_guard import check_statistics, sides, subjects_of
from fdp_lightning.engine.devices import GPUS, Rank, ranks_of, trainer_options
from fdp_lightning.engine.explanations import explanations
from fdp_lightning.engine.outputs import write_outputs
from fdp_lightning.engine.plan import Budget, FoldPlan
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.instantiate import build, build_model, settings
from fdp_lightning.labels import LabelKind
from fdp_lightning.runs.environment import environment
from fdp_lightning.seeds import derived_seed
from fdp_lightning.tracking.loggers import LogOf, build_loggers, close_loggers, kept_id, uses_wandb
from fdp_lightning.training.batch_norm import BatchStatistics
from fdp_lightning.training.callbacks import EpochSeeds, ResumePoints, StepBudget, StepTimer, newest
from fdp_lightning.training.compute import Compute
from fdp_lightning.training.module import RecognitionModule, clips_of
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.recorder import Recorder

log = logging.getLogger("fdp_lightning")


def train_fold(
    plan: FoldPlan,
    folder: Path | None,
    on_epoch: Callable[[int], None],
    rank: Rank,
    on_step_time: Callable[[float], None],
) -> dict[str, Any]:
    """Train on the fold's training clips, resuming from a checkpoint if there is one, and write the results.

    Args:
        plan: plan of the fold.
        folder: folder to write into; None in all processes of a fold but the first.
        on_epoch: called with the number of epochs done, including those before an interruption.
        rank: rank of this process among those that train the fold together.
        on_step_time: called once with the seconds of a step, after a few steps.

    Returns:
        Facts for fold.json.
    """
    config = OmegaConf.create(plan.config)
    set_up(config, rank)
    with warnings.catch_warnings():
        quiet()
        seed = derived_seed(config.seed, plan.fold.name)
        L.seed_everything(seed, verbose=False)
        data = data_of(plan, config, seed)
        module = module_of(plan, config, data)
        choice = module.optimizer_settings
        batches = partial(data.fixed_batches, choice.batch_norm_clips)
        statistics = None if choice.batch_norm == "running" else BatchStatistics(batches)
        recorder = Recorder(data.test_dataloader, on_epoch, data.inner_dataloader, statistics)
        averages = [] if choice.ema is None else [EMAWeightAveraging(decay=choice.ema)]
        observers = [*averages, *([statistics] if statistics else []), recorder]
        trainer = _trainer(plan, config, folder, rank, [EpochSeeds(seed), *observers], StepTimer(on_step_time))
        step = asdict(effective_batch(config, settings(OptimizerSettings, config.model.optimizer)))
        for logger in trainer.loggers:
            logger.log_hyperparams({"devices": step})
        resume_from, remarks = newest(plan.unfinished, plan.fingerprint)
        for remark in remarks:
            log.warning("fold %s: %s", plan.fold.name, remark)
        start = time.monotonic()
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
        except BaseException:
            close_loggers(trainer.loggers, success=False)
            raise
        seconds = time.monotonic() - start
        learnt = _predict_and_write(plan, folder, trainer, module, data, recorder)
        close_loggers(trainer.loggers)
    device = trainer.strategy.root_device
    return {
        "training_seconds": round(seconds, 2),
        "epochs": len(recorder.curves),
        "resumed_from_epoch": int(resume_from.name.split("epoch")[1][:6]) if resume_from else 0,
        "steps": trainer.global_step,
        "parameters": module.provenance["parameters"],
        "step": step,
        # These determine the last digits of a training.
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        **learnt,
    }


def set_up(config: DictConfig, rank: Rank) -> None:
    torch.set_num_threads(config.loso.cpu_threads)
    if rank.of > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(config.loso.cpu_threads))  # else Lightning's DDP chooses threads
    # `trainer.deterministic` would make torch fill all memory it allocates, which takes an eighth of each step here. It
    # guards against reading uninitialised memory, which the tests that compare runs bit for bit would reveal.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    cv2.setNumThreads(0)
    compute: Compute = settings(Compute, config.compute)
    compute.set_process(on_gpu=config.trainer.accelerator in GPUS)


def _predict_and_write(
    plan: FoldPlan,
    folder: Path | None,
    trainer: L.Trainer,
    module: RecognitionModule,
    data: FoldDataModule,
    recorder: Recorder,
) -> dict[str, Any]:
    """Predict the held-out clips with the trained module and write the files of the fold.

    Return facts for fold.json, by which `evaluation.learning` judges the training; if nobody is held out, write only
    the checkpoint and the curves, and return none.
    """
    # Saved after training, when averaged weights have replaced the raw ones, which a weights-only checkpoint written by
    # Lightning during training would hold.
    place: Any = trainer.strategy.broadcast(folder and folder / "checkpoints/last.ckpt")
    trainer.save_checkpoint(place, weights_only=True)  # all processes take part, the first one writes
    if folder is not None:
        write_atomic(folder / "curves.csv", pd.DataFrame(recorder.curves).to_csv(index=False))
    if data.test_set is None:
        return {}
    batches: Any = trainer.predict(module, dataloaders=data.test_dataloader())
    outputs = {name: torch.cat([batch[name].cpu() for batch in batches]).numpy() for name in batches[0]}
    if folder is not None:
        outputs = {name: values[outputs["index"].argsort()] for name, values in outputs.items()}
        recorder.offer_to_oracle(outputs["probabilities"], float(outputs.pop("accuracy").mean()))
        training_clips = clips_of(data.train_set.all_clips())
        objective = module.objective.cpu()
        of_training = {name: tensor.numpy() for name, tensor in objective.of_training(training_clips).items()}
        extras = list(objective.extras)
        arrays = {extra.name: outputs[extra.name] for extra in extras if extra.of == "clip"}
        if plan.config["report"]["explain"]:
            declared, made = explanations(module, data, plan, outputs["probabilities"], trainer.strategy.root_device)
            extras, arrays = [*extras, *declared], arrays | made
        selections = {"last": outputs["probabilities"], "inner": recorder.inner, "oracle": recorder.oracle}
        write_outputs(folder, plan, data, selections, recorder.inner_probabilities, extras, arrays | of_training)
    classes = list(plan.config["protocol"]["classes"])
    target = data.test_set.all_clips()["target"]
    same_for_all = torch.zeros(len(target), len(classes))
    return {
        "class_counts": dict(zip(classes, data.fitted.class_counts, strict=True)),
        "uniform_loss": float(module.objective.cpu().emotion_loss(same_for_all, target)),
    }


def module_of(plan: FoldPlan, config: DictConfig, data: FoldDataModule) -> RecognitionModule:
    """Build network, losses and optimizer, and fit to the training clips whatever needs fitting."""
    classes = list(config.protocol.classes)
    fitted, statistics = data.fitted, data.fitted.statistics
    if config.data.normalisation == "training" and config.input.kind == "frames":
        check_statistics(plan.fold.name, statistics, data.train_set.sampled_frames)
    counts = {"class_counts": fitted.class_counts, "train_clips": fitted.clips}
    objective = build(config.model.objective, **counts, label_kind=LabelKind.of_column(config.protocol.column))
    objective.fit(clips_of(data.train_set.all_clips()))
    optimizer: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
    optimizer = optimizer.for_batch(effective_batch(config, optimizer).effective_batch)
    network = build_model(config, len(classes), statistics.mean, statistics.std)
    return RecognitionModule(
        network,
        objective,
        optimizer,
        provenance={**provenance(plan, data), "parameters": sum(each.numel() for each in network.parameters())},
        max_steps=Budget.of(config.trainer).steps,
        compute=settings(Compute, config.compute),
    )


def provenance(plan: FoldPlan, data: FoldDataModule) -> dict[str, Any]:
    """Return the description of a checkpoint, as plain data."""
    fitted = data.fitted
    return {
        "config": plan.config,
        "model": plan.model,
        "classes": list(plan.config["protocol"]["classes"]),
        "multi_label": LabelKind.of_column(plan.config["protocol"]["column"]).is_multi,
        **_origin(plan),
        "mean": fitted.statistics.mean,
        "std": fitted.statistics.std,
        **({"divisors": list(fitted.scale.divisors)} if fitted.scale else {}),
        "clips": fitted.clips,
        "class_counts": fitted.class_counts,
    }


def _origin(plan: FoldPlan) -> dict[str, Any]:
    made_with = environment()
    made_with.pop("command")  # it holds paths of this machine
    subjects = subjects_of(plan.fold, plan.clips)
    return {"fold": plan.fold.name, "subjects": subjects, "fingerprint": plan.fingerprint, "made_with": made_with}


def _trainer(
    plan: FoldPlan, config: DictConfig, folder: Path | None, rank: Rank, first: list[L.Callback], last: L.Callback
) -> L.Trainer:
    budget = [StepBudget(steps)] if (steps := Budget.of(config.trainer).steps) else []
    resume = ResumePoints(plan.unfinished, plan.fingerprint, config.loso.checkpoint_seconds)
    run = plan.run.parent if plan.is_fit else plan.run  # a fit has its own folder inside that of the run
    loggers = folder and build_loggers(config, run, folder / "log", fold_log(plan, config))
    place = folder or plan.unfinished
    callbacks = [*budget, *first, resume, last]
    return _new_trainer(config, rank, loggers or False, callbacks=callbacks, default_root_dir=place)


def fold_log(plan: FoldPlan, config: DictConfig) -> LogOf:
    """Return the W&B run of this fold: the one from before an interruption, if the settings are the same."""
    name, job_type = ("fit", "fit") if plan.is_fit else (plan.fold.name, "fold")
    if not uses_wandb(config):
        return LogOf(name, job_type, "", {})
    facts = _origin(plan)
    facts["subjects"] = {side: len(names) for side, names in facts["subjects"].items()}
    facts["clips"] = {side: len(rows) for side, rows in sides(plan.fold).items()}
    return LogOf(name, job_type, kept_id(plan.unfinished / f"{plan.fingerprint}-wandb.json"), facts)


def _new_trainer(config: DictConfig, rank: Rank, logger: Any, **parts: Any) -> L.Trainer:
    # Without a limit Lightning would set its own, of 1000 epochs; `StepBudget` limits the steps.
    options: dict[str, Any] = {**config.trainer, "max_steps": -1, "max_epochs": Budget.of(config.trainer).epochs or -1}
    return L.Trainer(
        **trainer_options(options, rank),
        **parts,
        logger=logger,
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


def check_trainer(config: DictConfig) -> None:
    """Build a Trainer from the options to check them; UserError if Lightning rejects one."""
    with warnings.catch_warnings():
        quiet()
        gpu = 0 if config.trainer.accelerator in GPUS else None
        try:
            _new_trainer(config, Rank(of=ranks_of(config.trainer), device=gpu), logger=False)
        except (TypeError, ValueError, MisconfigurationException) as error:
            raise UserError(f"Lightning rejects the options of trainer: {error}") from error


def data_of(plan: FoldPlan, config: DictConfig, seed: int) -> FoldDataModule:
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
        seed=seed,
        normalisation=config.data.normalisation,
        label_kind=LabelKind.of_column(config.protocol.column),
        taken=settings(InputSettings, config.input),
        shuffle=config.data.shuffle,
    )


def quiet() -> None:
    """Silence Lightning's start-up lines and advice, which would repeat for every fold."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")


@dataclass(frozen=True)
class EffectiveBatch:
    """Clips of one optimizer step, as recorded in fold.json and by the loggers.

    `data.batch_size` counts the clips of all devices together, so that batch and learning rate do not depend on the
    number of devices.
    """

    batch_size: int  # clips of all devices together
    batch_per_device: int
    devices: int  # of each machine
    num_nodes: int
    accumulate_grad_batches: int  # batches per step
    effective_batch: int  # clips per step
    sync_batchnorm: bool  # True if batch norm takes its statistics over all devices
    lr: float  # the largest, as scaled by `lr_scaling` with the effective batch
    lr_scaling: str

    def __str__(self) -> str:
        devices = self.devices * self.num_nodes
        parts = [f"batch {self.batch_size}" + (f" = {devices} × {self.batch_per_device}" if devices > 1 else "")]
        if self.accumulate_grad_batches > 1:
            parts.append(f"{self.accumulate_grad_batches} batches per step, {self.effective_batch} clips")
        if devices > 1:
            parts.append(f"batch norm {'over all devices' if self.sync_batchnorm else 'per device'}")
        how = "" if self.lr_scaling == "none" else f" ({self.lr_scaling} scaling)"
        return ", ".join([*parts, f"lr {self.lr:g}{how}"])


def effective_batch(config: DictConfig, optimizer: OptimizerSettings) -> EffectiveBatch:
    """Return the effective batch of a configuration, from optimizer settings that are not scaled yet."""
    trainer, size = config.trainer, config.data.batch_size
    accumulated = trainer.get("accumulate_grad_batches") or 1
    ranks = ranks_of(trainer)
    return EffectiveBatch(
        batch_size=size,
        batch_per_device=size // ranks,
        devices=trainer.get("devices", 1),
        num_nodes=trainer.get("num_nodes", 1),
        accumulate_grad_batches=accumulated,
        effective_batch=size * accumulated,
        sync_batchnorm=bool(trainer.get("sync_batchnorm", False)) and ranks > 1,
        lr=optimizer.for_batch(size * accumulated).lr,
        lr_scaling=optimizer.lr_scaling,
    )

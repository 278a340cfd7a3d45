"""Fold of a classical recogniser (`model=svc`), which scikit-learn fits to all training clips in one go."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule
from fdp_lightning.engine.devices import Rank, ranks_of
from fdp_lightning.engine.explanations import explanations_without_gradient
from fdp_lightning.engine.outputs import write_outputs
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.engine.train_fold import data_of, provenance, set_up
from fdp_lightning.errors import UserError
from fdp_lightning.extras import Extra
from fdp_lightning.instantiate import build_model
from fdp_lightning.labels import OWNER, LabelKind
from fdp_lightning.models.parts import name_of
from fdp_lightning.models.recognizer import Objective
from fdp_lightning.seeds import derived_seed


def is_classical(model: Any) -> bool:
    """Return True if a model of the configuration is not a network: it has no losses (`objective: null`)."""
    return model["objective"] is None


def fit_fold(
    plan: FoldPlan,
    folder: Path | None,
    on_epoch: Callable[[int], None],
    rank: Rank,
    on_step_time: Callable[[float], None],
) -> dict[str, Any]:
    """Fit to the fold's training clips and write predictions of the held-out ones, like `train_fold.train_fold`.

    For a recogniser that can be converted to a network (`as_network`), also write a checkpoint, from which model files
    are built. `check_classical` has ensured that a single process fits it.
    """
    assert folder is not None
    config = OmegaConf.create(plan.config)
    set_up(config, rank)
    data = data_of(plan, config, derived_seed(config.seed, plan.fold.name))
    estimator = build_model(config, len(config.protocol.classes))
    start = time.monotonic()
    subjects = plan.clips.iloc[list(plan.fold.train_rows)].groupby([*OWNER]).ngroup().to_numpy()
    estimator.fit(features(data.train_set), data.train_set.all_clips()["target"].numpy(), subjects)
    seconds = time.monotonic() - start
    if hasattr(estimator, "as_network"):
        write_checkpoint(folder, plan, data, *estimator.as_network())
    on_epoch(1)
    counts = dict(zip(config.protocol.classes, data.fitted.class_counts, strict=True))
    facts = {  # no steps or parameters: they could not be compared with those of networks
        "training_seconds": round(seconds, 2), "epochs": 1, "resumed_from_epoch": 0,
        "torch": torch.__version__, "device": "cpu", "class_counts": counts,
    }  # fmt: skip
    if data.test_set is None:
        return facts
    probabilities = estimator.predict_proba(features(data.test_set))
    of_inner: dict[str, np.ndarray] = {}
    if data.inner_set is not None:
        of_inner = dict.fromkeys(("last", "inner"), estimator.predict_proba(features(data.inner_set)))
    selections = {"last": probabilities, "inner": probabilities if of_inner else None, "oracle": probabilities}
    extras: tuple[Extra, ...] = ()
    made: dict[str, np.ndarray] = {}
    if plan.config["report"]["explain"]:
        extras, made = explanations_without_gradient(
            estimator.predict_proba, getattr(estimator, "features", None), data, plan, probabilities
        )
    write_outputs(folder, plan, data, selections, of_inner, extras, made)
    return facts


def write_checkpoint(
    folder: Path, plan: FoldPlan, data: FoldDataModule, network: torch.nn.Module, options: Mapping[str, Any]
) -> None:
    """Write the checkpoint that training a network would leave, so that model files are built from it as usual."""
    made = provenance(plan, data)
    model = {"_target_": name_of(type(network)), "name": plan.config["model"]["name"], **options}
    objective = {"_target_": name_of(Objective)}
    made["config"] = {**plan.config, "model": {**model, "objective": objective, "optimizer": None}}
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    place = folder / "checkpoints/last.ckpt"
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"fdp_lightning": made, "state_dict": state, "epoch": 1, "global_step": 0}, place)


def features(clips: ClipDataset) -> np.ndarray:
    """Return all clips as prepared by the input stage, (n, …)."""
    return clips.all_clips()["frames"].numpy()


def check_classical(config: DictConfig) -> str:
    """Return how a classical recogniser is fitted, in words; UserError for options that it does not support."""
    if LabelKind.of_column(config.protocol.column).is_multi:
        raise UserError(
            f"model={config.model.name} predicts one class per clip, but protocol={config.protocol.name} has action "
            "units; expected another model or protocol"
        )
    if (ranks := ranks_of(config.trainer)) > 1:
        raise UserError(
            f"model={config.model.name} is fitted by a single process, not by {ranks} (trainer.devices); expected "
            "trainer=cpu"
        )
    estimator = build_model(config, len(config.protocol.classes))
    if config.task == "fit" and not hasattr(estimator, "as_network"):
        raise UserError(
            f"task=fit writes a model file, but model={config.model.name} cannot be converted to one (it has no "
            "as_network()); expected another model"
        )
    return "fitted once"

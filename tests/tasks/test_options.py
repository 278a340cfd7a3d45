"""Every option of model, data and compute takes a step or is rejected before it; compute modes learn the same."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.data.faces.prepare_clip import COLOURS
from fdp_lightning.data.loading.sampling import RULES, SHORT
from fdp_lightning.engine.preflight import check_options
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import compare_outcomes
from fdp_lightning.evaluation.predictions import Outcomes, read_predictions
from fdp_lightning.instantiate import build, build_model
from fdp_lightning.models.classification_loss import CLASS_WEIGHTINGS
from fdp_lightning.models.dynamic_image import DYNAMIC_IMAGES, MOTION_MEASURES
from fdp_lightning.models.fdp.network import HEAD_BLOCKS
from fdp_lightning.models.fdp.objective import IMAGE_SCALES
from fdp_lightning.models.fdp.rank_losses import RANK_LOSSES
from fdp_lightning.models.fdp.rank_pooling import POOLINGS
from fdp_lightning.models.fdp_released import FRAME_BATCHES, LOCAL_MIXERS
from fdp_lightning.models.recognizer import Clips
from tests.command import once
from tests.tasks.conftest import fold_here, start

GROUPS = {
    "mer_head": sorted(path.stem for path in (CONF_DIR / "model/mer_head").glob("*.yaml")),
    "dic_head": [*["unet"] * 8, "segnet"],  # once is enough: it is large
}
VALUES = {
    "head_block": list(HEAD_BLOCKS), "finer_maps": [[2, 4], [], [4]], "pooling": [*POOLINGS, "conv"],
    "running_means": [True, False], "scrambled_time": [False, False, True], "frame_batches": list(FRAME_BATCHES),
    "scorer.centred": [True, True, False], "backbone.attention": [True, False, True],
    "backbone.local": [True, True, False], "backbone.local_mixer": list(LOCAL_MIXERS),
    "objective.rank_loss": list(RANK_LOSSES), "objective.intensity_loss": list(reversed(RANK_LOSSES)),
    "objective.image_kind": list(DYNAMIC_IMAGES), "objective.image_scale": list(IMAGE_SCALES),
    "objective.motion_measure": list(MOTION_MEASURES), "objective.class_weighting": list(CLASS_WEIGHTINGS),
    "objective.label_smoothing": [0.1, 0.0], "objective.focal": [0.0, 2.0], "optimizer.name": ["adam", "adamw", "sgd"],
    "optimizer.lr_scaling": ["none", "sqrt", "linear"], "optimizer.lr_reference_batch": [20],
    "optimizer.decay_all": [False, True],
    "optimizer.rules": [{}, {"backbone": {"lr": 0.1}, "backbone.stem": {"lr": 0.0, "weight_decay": 0.0}}],
    "optimizer.schedule": ["constant", "cosine", "step", "exponential"], "optimizer.every": [4],
    "optimizer.ema": [None, 0.9], "optimizer.batch_norm": ["recomputed", "recomputed", "running"],
}  # fmt: skip
DATA = {
    "faces.method": ["mtcnn", "box", "none"],  # official_crops: the synthetic set has none
    "faces.colour": list(COLOURS), "sampling.rule": list(RULES), "sampling.short": list(SHORT),
    "sampling.frames": [8, 8, 12],  # clips have 10 to 12; floor is combined with 8 only, which omits no clip
    "augmentation.transforms": [[], [{"_target_": "albumentations.GaussianBlur", "p": 0.5}]],
}  # fmt: skip
TIMM = ["model/backbone=timm", "model.backbone.name=resnet10t"]
OTHERS = [
    TIMM,
    *(pytest.param([model], marks=pytest.mark.slow) for model in (
        "model=fdp", "model=fdp_nextvit", "model=fdp_released",  # tests/models checks that all their parameters learn
    )),
]  # fmt: skip
COMPUTE = {
    "frames_at_once": [None, 1, 3], "channels_last": [True, False], "small_maps": [True, False, True],
    "fused_optimizer": [True, True, False], "freed_memory": ["keep", "return", "default"],
    "checkpointing": [None, "blocks", "stages"], "tf32": [True, False],
    "compile": [None],  # takes minutes each; covered by the slow tests
}  # fmt: skip
PARTS = ("model", "data", "compute")


def chosen(i: int) -> list[str]:
    """Return overrides with the i-th value of every option, cyclically."""
    overrides = [f"model/{group}={names[i % len(names)]}" for group, names in GROUPS.items()]
    for part, options in zip(PARTS, (VALUES, DATA, COMPUTE), strict=True):
        for option, values in options.items():
            # Lists of two lengths that share a factor would always pair the same values: shift every other round.
            value = [values[(i + i // len(values)) % len(values)]]
            overrides.append(
                f"{part}.{option}={yaml.safe_dump(value, default_flow_style=True, width=1000).strip()[1:-1]}"
            )
    return overrides


@pytest.fixture(scope="module")
def data(on_casme2: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for three subjects of five clips, and stores shared by all options."""
    stores = once(tmp_path_factory, "stores-of-options", lambda place: None)
    small = ["data.batch_size=5", "data.workers=1", "debug=smoke", "trainer.max_epochs=1"]
    return [*on_casme2, f"data.store={stores}", *small]


EVERY = [["model=fdp_deviations", *chosen(i)] for i in range(1 + len(POOLINGS))]


@pytest.mark.parametrize("options", [*EVERY, *OTHERS])
def test_options_take_a_step(options: list[str], data: list[str], tmp_path: Path) -> None:
    fold = fold_here(*data, f"run={tmp_path}", "fold=01", *options).folder
    assert json.loads((fold / "fold.json").read_text())["train_clips"] == 10
    (epoch,) = csv.DictReader((fold / "curves.csv").open())
    assert all(math.isfinite(float(value)) for value in epoch.values())


NUMBERS = {
    "model.gate_temperature", *(f"model.objective.{name}" for name in (
        "emotion", "dynamic_image", "rank", "rank_temperature", "rank_margin", "effective_beta", "rank_sharpness",
    )), *(f"model.optimizer.{name}" for name in (
        "steps", "batch_norm_clips", "lr", "weight_decay", "warmup", "momentum", "gamma", "lowest", "gradient_clip",
    )), "data.faces.size", "data.faces.margin", "data.faces.least_confidence",
}  # fmt: skip
"""Their values do not change the path through the code."""
ELSEWHERE = {f"data.faces.{name}" for name in ("per_frame", "batch", "device", "bits")}
"""These cannot be combined with all others; they have their own tests."""


def test_every_option_is_listed_here() -> None:
    config = configuration("model=fdp_deviations")
    there = {f"model.{key}" for key, value in config.model.items() if not hasattr(value, "items")}
    for part in ("model.objective", "model.optimizer", "data.faces", "data.sampling", "compute"):
        there |= {f"{part}.{key}" for key in OmegaConf.select(config, part)}
    tested = {f"{part}.{key}" for part, keys in zip(PARTS, (VALUES, DATA, COMPUTE), strict=True) for key in keys}
    assert there - tested - NUMBERS - ELSEWHERE == {"model._target_", "model.name", "model.objective._target_"}


def test_the_dynamic_image_of_a_clip_in_colour_is_that_of_its_grey_frames() -> None:
    config = configuration("data=synthetic", "protocol=synthetic_5c", "model=fdp_tiny", "data.faces.colour=rgb")
    assert build_model(config, classes=5).backbone.in_channels == 3
    objective = build(config.model.objective)
    grey, target = torch.rand(2, 8, 1, 64, 64, generator=torch.manual_seed(0)), torch.tensor([0, 3])
    images = [objective.true_dynamic_image(Clips(frames, target)) for frames in (grey, grey.expand(-1, -1, 3, -1, -1))]
    torch.testing.assert_close(*images)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["data.augmentation.transforms=[{_target_: albumentations.RandomCrop, height: 16, width: 16}]"], "uint8"),
        (["data.augmentation.transforms=[{_target_: collections.Counter}]"], "Counter"),
        ([*TIMM, "compute.checkpointing=blocks"], "TimmBackbone has no parts"),
    ],
)
def test_impossible_options_are_refused_before_training(options: list[str], word: str) -> None:
    with pytest.raises(UserError, match=word):
        check_options(configuration("+experiment=synthetic_loso", *options))


@pytest.mark.slow  # a minute or two, nearly all of it torch's C++ compiler
def test_a_compiled_training_learns_the_same(workplace: Path) -> None:
    curves, names, exact = [], [], ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]
    for way in ("plain", "compiled"):  # separate processes: functions with run-time type checks cannot be compiled
        start(workplace, "task=fold", "fold=01", f"compute={way}", f"run=runs/{way}", *exact)
        fold = workplace / f"runs/{way}/folds/01"
        curves.append(pd.read_csv(fold / "curves.csv"))
        names.append(list(torch.load(fold / "checkpoints/last.ckpt", weights_only=True)["state_dict"]))
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5, atol=1e-6)
    assert names[1] == names[0]


# 160 clips in four folds are about the minimum from which the tiny model learns the five classes.
LEARNABLE = [
    "data.generate.subjects=8", "data.generate.clips_per_emotion=4", "data.generate.min_frames=18",
    "data.generate.max_frames=30", "data.generate.height=240", "data.generate.width=320", "data.batch_size=20",
    "trainer.max_epochs=16", "protocol.split=kfold", "protocol.folds=4",
]  # fmt: skip


@pytest.mark.slow  # two effective trainings of a minute or two each
def test_bf16_on_the_cpu_learns_as_float32_does(tmp_path: Path) -> None:
    tables = []
    for precision in ("32-true", "bf16-mixed"):
        start(tmp_path, *LEARNABLE, f"trainer.precision={precision}", f"run={precision}")
        table, classes = read_predictions(tmp_path / precision / "predictions.csv")
        tables.append(table[table["selection"] == "last"])
        scores = json.loads((tmp_path / precision / "metrics.json").read_text())["selections"]["last"]
        assert scores["ci95"]["uf1"][0] > 0.4  # chance is 0.2: there was something to learn
    names = [f"prob_{name}" for name in classes]
    assert not tables[0][names].equals(tables[1][names])  # the precision did differ
    differences = compare_outcomes(*([Outcomes.of(table, classes)] for table in tables))
    for name in ("accuracy", "uf1", "uar"):
        interval = differences[name].ci95
        assert interval is not None and interval[0] <= 0 <= interval[1], differences

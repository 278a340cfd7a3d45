"""Every option of the model, and of what it is shown, takes one optimisation step from the command line."""

import csv
import json
import math
import subprocess
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import yaml

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.data.faces.prepare_clip import COLOURS
from fdp_lightning.data.loading.sampling import RULES, SHORT
from fdp_lightning.models.dynamic_image import DYNAMIC_IMAGES, MOTION_MEASURES
from fdp_lightning.models.emotion_loss import CLASS_WEIGHTINGS
from fdp_lightning.models.fdp import FRAME_BATCHES, HEAD_BLOCKS
from fdp_lightning.models.local_aggregator import LOCAL_MIXERS
from fdp_lightning.models.objective import IMAGE_SCALES
from fdp_lightning.models.rank.losses import RANK_LOSSES
from fdp_lightning.models.rank.pooling_modules import POOLINGS

Again = Callable[..., subprocess.CompletedProcess[str]]


def options_of(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF_DIR / "model" / group).glob("*.yaml"))


GROUPS = {
    "mer_head": options_of("mer_head"),
    # SegNet once is enough: it is large.
    "dic_head": [*["unet"] * 8, "segnet"],
}
VALUES = {
    "head_block": list(HEAD_BLOCKS),
    "finer_maps": [[2, 4], [], [4]],
    "pooling": list(POOLINGS),
    "running_means": [True, False],
    "scrambled_time": [False, False, True],
    "frame_batches": list(FRAME_BATCHES),
    "scorer.centred": [True, True, False],
    "backbone.attention": [True, False, True],
    "backbone.local": [True, True, False],
    "backbone.local_mixer": list(LOCAL_MIXERS),
    "objective.rank_loss": list(RANK_LOSSES),
    "objective.intensity_loss": list(reversed(RANK_LOSSES)),
    "objective.image_kind": list(DYNAMIC_IMAGES),
    "objective.image_scale": list(IMAGE_SCALES),
    "objective.motion_measure": list(MOTION_MEASURES),
    "objective.class_weighting": list(CLASS_WEIGHTINGS),
    "objective.label_smoothing": [0.1, 0.0],
    "objective.focal": [0.0, 2.0],
    "optimizer.name": ["adam", "adamw"],
    "optimizer.lr_scaling": ["none", "sqrt", "linear"],
    "optimizer.lr_reference_batch": [20],
    "optimizer.decay_all": [False, True],
    "optimizer.rules": [{}, {"backbone": {"lr": 0.1}, "backbone.stem": {"lr": 0.0, "weight_decay": 0.0}}],
    "optimizer.schedule": ["constant", "cosine"],
    "optimizer.ema": [None, 0.9],
    "optimizer.batch_norm": ["recomputed", "recomputed", "running"],
}
DATA = {
    "faces.method": ["mtcnn", "box", "none"],  # official_crops come with a dataset, the synthetic one has none
    "faces.colour": list(COLOURS),
    "sampling.rule": list(RULES),
    "sampling.short": list(SHORT),
    "sampling.frames": [8, 8, 12],  # clips have 10 to 12; floor meets 8 alone, where none of them vanishes
    "augmentation.transforms": [[], [{"_target_": "albumentations.GaussianBlur", "p": 0.5}]],
}
COMPUTE = {
    "frames_at_once": [None, 1, 3],
    "channels_last": [True, False],
    "small_maps": [True, False, True],
    "fused_optimizer": [True, True, False],
    "freed_memory": ["keep", "return", "default"],
    "checkpointing": [None, "blocks", "stages"],
    "compile": [None],  # minutes each; the slow tests have it
    "tf32": [True, False],
}
RUNS = len(POOLINGS)
MODELS = ("fdp", "fdp_nextvit", "fdp_released")
TIMM_MODELS = ("resnet10t", "mobilenetv3_small_050")


def chosen(options: dict[str, list], i: int) -> dict[str, object]:
    """The i-th value of every option, in turn, as a tree."""
    tree: dict[str, object] = {}
    for option, values in options.items():
        *parts, name = option.split(".")
        node = tree
        for part in parts:
            node = node.setdefault(part, {})  # type: ignore[assignment]
        # Lists of two lengths that share a factor would always pair the same values: shift every other round.
        node[name] = next(islice(cycle(values), i + i // len(values) % len(values), None))
    return tree


def write_variants(folder: Path) -> list[str]:
    """Files of a group of their own, `+option=v0`…: the i-th takes the i-th value of every option, in turn.

    One of each other model and of two of timm's follow.
    """
    (folder / "option").mkdir(parents=True)
    for i in range(RUNS):
        defaults = [{f"override /model/{group}": names[i % len(names)]} for group, names in GROUPS.items()]
        options = {"model": chosen(VALUES, i), "data": chosen(DATA, i), "compute": chosen(COMPUTE, i)}
        text = yaml.safe_dump({"defaults": defaults, **options})
        (folder / f"option/v{i}.yaml").write_text(f"# @package _global_\n{text}")
    for name in MODELS:
        (folder / f"option/{name}.yaml").write_text(f"# @package _global_\ndefaults: [override /model: {name}]\n")
    for name in TIMM_MODELS:
        text = f"defaults: [override /model/backbone: timm]\nmodel: {{backbone: {{name: {name}}}}}\n"
        (folder / f"option/{name}.yaml").write_text(f"# @package _global_\n{text}")
    return [*(f"v{i}" for i in range(RUNS)), *MODELS, *TIMM_MODELS]


def test_every_option_and_every_model_takes_a_step(workplace: Path, again: Again, tmp_path: Path) -> None:
    names = write_variants(tmp_path / "mine")
    sweep = [f"+option={','.join(names)}", "-m", "--config-dir", str(tmp_path / "mine")]
    done = again(workplace, "task=fold", "fold=01", "debug=smoke", "seed=7", *sweep)
    assert done.returncode == 0, done.stderr
    folds = list(workplace.glob("runs/synthetic_loso/*/seed-7/folds/01"))
    assert len(folds) == len(names)
    for fold in folds:
        assert json.loads((fold / "fold.json").read_text())["train_clips"] == 20
        (epoch,) = csv.DictReader((fold / "curves.csv").open())
        assert all(math.isfinite(float(value)) for value in epoch.values()), fold


def test_no_option_of_the_model_is_forgotten() -> None:
    model = configuration().model
    there = {key for key, value in model.items() if not hasattr(value, "items")}
    there |= {f"{part}.{key}" for part in ("objective", "optimizer") for key in model[part]}
    # Numbers: no value of theirs takes another way through the code.
    numbers = {f"objective.{n}" for n in ("emotion", "dynamic_image", "rank", "rank_temperature", "rank_margin")}
    numbers |= {
        "gate_temperature",
        "objective.effective_beta",
        "objective.rank_sharpness",
        "optimizer.steps",
        "optimizer.batch_norm_clips",
        "optimizer.lr",
        "optimizer.weight_decay",
        "optimizer.warmup",
    }
    assert there - set(VALUES) - numbers == {"_target_", "name", "objective._target_"}


def test_no_option_of_compute_is_forgotten() -> None:
    assert set(configuration().compute) == set(COMPUTE)


def test_no_option_of_faces_and_sampling_is_forgotten() -> None:
    data = configuration().data
    there = {f"{part}.{key}" for part in ("faces", "sampling") for key in data[part]}
    # per_frame, batch and device do not go with everything, and have tests of their own. The others are numbers.
    elsewhere = {f"faces.{name}" for name in ("per_frame", "batch", "device", "size", "margin", "least_confidence")}
    assert there - set(DATA) == elsewhere

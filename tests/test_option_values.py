"""Impossible option values are rejected before slow imports and before any data is read."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, Root, configuration
from fdp_lightning.console.option_values import ALLOWED, POOLINGS, check_values
from fdp_lightning.errors import UserError

WRONG = [
    "trainer.max_epochs=0", "+trainer.limit_train_batches=0", "trainer.max_epochs=abc", "trainer.max_epochs=1.5",
    "trainer.max_epochs=[1,2]", "trainer.max_steps=0", "trainer.devices=-1", "trainer.gradient_clip_val=none",
    "data.batch_size=0", "data.batch_size=true", "data.workers=0", "data.loader_workers=-1", "data.root=2024",
    "data.store=null", "data.policy=lenient", "data.faces=mtcnn", "data.faces.size=big", "data.faces.bits=12.5",
    "data.sampling.rule=unifrm", "data.augmentation.flip=2", "data.augmentation.rotate=left",
    "model.optimizer.lr=-1", "model.optimizer.lr=nan", "model.optimizer.lr=[1e-3]", "model.optimizer=adamw",
    "model.optimizer.steps=ten", "model.optimizer.ema=1", "model.pooling=men", "model.pooling=[]",
    "model.pooling=[score,score]", "model.finer_maps=[two]", "model.running_means=maybe",
    "model.objective.rank_loss=hing", "model.objective.focal=-1", "model.backbone.stages=3",
    "model.backbone.drop_path=1", "trainer.precision=bf15", "trainer.accelerator=gpuu", "trainer.deterministic=perhaps",
    "compute.frames_at_once=0", "protocol.split=looso", "protocol.folds=1", "protocol.untested=[1]", "seed=-1",
    "loso.checkpoint_seconds=-1", "selection.inner_subjects=-1", "report.headline=lst", "export.to=onx",
    "predict.fps=0", "demo.port=70000",
]  # fmt: skip


def key_of(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def batches(overrides: list[str]) -> list[list[str]]:
    """Split overrides into commands in which no key repeats another or contains it."""
    found: list[list[str]] = []
    for override in overrides:
        key = f"{key_of(override)}."
        for batch in found:
            others = [f"{key_of(other)}." for other in batch]
            if not any(key.startswith(other) or other.startswith(key) for other in others):
                batch.append(override)
                break
        else:
            found.append([override])
    return found


@pytest.mark.parametrize("overrides", batches(WRONG), ids=len)
def test_values_of_a_wrong_type_range_or_name_are_all_reported_by_key(overrides: list[str]) -> None:
    with pytest.raises(UserError) as rejected:
        check_values(configuration(*overrides))
    lines = [line.strip() for line in str(rejected.value).splitlines()]
    for key in map(key_of, overrides):
        assert any(line.startswith(f"{key} is ") and ALLOWED[key].words in line for line in lines), key


def test_possible_values_pass() -> None:
    possible = [
        "model.pooling=mean", "model.pooling=[mean,max]", "trainer.precision=16", "trainer.deterministic=warn",
        "trainer.max_steps=null", "model.optimizer.lr=1", "model.optimizer.steps=null", "data.augmentation=null",
        "+trainer.limit_train_batches=0.5", "+trainer.limit_train_batches=3", "+trainer.profiler=simple",
        "model.backbone.pretrained=weights.safetensors", "model.mer_head={_target_: mine.Head, hidden: several}",
        "data.adapter={_target_: mine.Dataset, frames: [1]}", "predict.fps=29.97", "+data.generate.seeds=3",
    ]  # fmt: skip
    for overrides in batches(possible):
        config = configuration(*overrides)
        config.model.optimizer.rules = {1: 0.5}  # a key that is not a string
        check_values(config)


def leaves(node: object, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if not name.startswith("_"):
            yield key
            if isinstance(value, dict) and str(value.get("_target_", "fdp_lightning.")).startswith("fdp_lightning."):
                yield from leaves(value, f"{key}.")


@pytest.mark.costly
def test_every_key_of_the_configuration_is_known_and_every_file_of_it_passes() -> None:
    groups = ("+experiment", "model", "compute", "trainer", "model/backbone", "model/mer_head", "model/dic_head")
    files = [(group, path) for group in groups for path in sorted((CONF_DIR / group.strip("+")).glob("[!_]*.yaml"))]
    keys: set[str] = set()
    for group, path in files:
        config = configuration(f"{group}={path.stem}")
        check_values(config)
        keys |= set(leaves(OmegaConf.to_container(config)))
    # The keys of these mappings are names of classes, clips or datasets.
    named = ("protocol.classes.", "protocol.expected.", "protocol.parts.", "protocol.include.", "data.adapter.members.")
    unknown = {key for key in keys - set(ALLOWED) - set(Root.__dataclass_fields__) if not key.startswith(named)}
    assert {key for key in unknown if not key.startswith("logger.")} == {"data.adapter.members"}


CHOICES = {
    "data.faces.colour": "data.faces.prepare_clip.COLOURS", "data.faces.device": "data.faces.prepare_clip.DEVICES",
    "data.faces.method": "data.faces.prepare_clip.METHODS", "predict.device": "data.faces.prepare_clip.DEVICES",
    "data.sampling.rule": "data.loading.sampling.RULES", "data.sampling.short": "data.loading.sampling.SHORT",
    "data.policy": "data.store.build.POLICIES", "data.generate.course": "data.synthetic.clip.COURSES",
    "data.generate.layout": "data.synthetic.layouts.LAYOUTS", "report.headline": "labels.SELECTIONS",
    "model.objective.image_kind": "models.dynamic_image.DYNAMIC_IMAGES",
    "model.objective.motion_measure": "models.dynamic_image.MOTION_MEASURES",
    "model.objective.class_weighting": "models.classification_loss.CLASS_WEIGHTINGS",
    "model.objective.rank_loss": "models.fdp.rank_losses.RANK_LOSSES",
    "model.objective.image_scale": "models.fdp.objective.IMAGE_SCALES",
    "model.frame_batches": "models.fdp_released.FRAME_BATCHES", "model.head_block": "models.fdp.network.HEAD_BLOCKS",
    "model.backbone.local_mixer": "models.fdp_released.LOCAL_MIXERS",
    "model.optimizer.name": "training.optimizer.OPTIMIZERS", "model.optimizer.schedule": "training.optimizer.SCHEDULES",
}  # fmt: skip
"""Option → the constant with its choices, whose module is too slow to import for messages."""


def test_choices_agree_with_the_modules_that_use_them() -> None:
    from fdp_lightning.models.fdp.rank_pooling import POOLINGS as MODULES

    assert set(POOLINGS) == {*MODULES, "conv"}
    for key, name in CHOICES.items():
        module, _, constant = name.rpartition(".")
        assert set(ALLOWED[key].choices) == set(getattr(import_module(f"fdp_lightning.{module}"), constant)), key

"""Values that no command could use are refused before anything is imported or read for them."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from omegaconf import OmegaConf

from fdp_lightning.config import CONF_DIR, Root, configuration
from fdp_lightning.console.option_values import ALLOWED, POOLINGS, check_values
from fdp_lightning.errors import UserError

OPEN = ("protocol.classes.", "protocol.expected.", "protocol.parts.", "protocol.include.", "data.adapter.members.")
"""Mappings whose keys are names, of classes, clips or datasets."""

WRONG = [
    "trainer.max_epochs=0", "trainer.max_steps=0", "+trainer.limit_train_batches=0", "+model.rounds=0",
    "trainer.max_epochs=abc", "trainer.max_epochs=-3", "trainer.max_epochs=1.5", "trainer.max_epochs=[1,2]",
    "data.batch_size=x", "data.batch_size=0", "data.batch_size=-4", "data.batch_size=[4]", "data.batch_size=true",
    "data.workers=0", "data.loader_workers=-1", "data.root=2024", "data.store=null", "data.policy=lenient",
    "data.faces=mtcnn", "data.faces.size=big", "data.sampling.frames=eight", "data.sampling.rule=unifrm",
    "data.augmentation.flip=2", "data.augmentation.rotate=left", "data.generate.subjects=many",
    "model.optimizer.lr=fast", "model.optimizer.lr=-1", "model.optimizer.lr=nan", "model.optimizer.lr=[1e-3]",
    "model.optimizer=adamw", "model.optimizer.steps=ten", "model.optimizer.ema=1", "model.optimizer.warmup=2",
    "model.pooling=men", "model.pooling=[]", "model.pooling=[score,score]", "model.pooling=[score,men]",
    "model.pooling=3", "model.finer_maps=2", "model.finer_maps=[two]", "model.running_means=maybe",
    "model.objective.rank_loss=hing", "model.objective.emotion=heavy", "model.objective.focal=-1",
    "model.backbone.stages=3", "model.backbone.drop_path=1", "model.mer_head.hidden=0", "model.scorer.hidden=x",
    "trainer.precision=bf15", "trainer.accelerator=gpuu", "trainer.devices=auto", "trainer.devices=-1",
    "trainer.gradient_clip_val=none", "trainer.deterministic=perhaps", "+trainer.max_time=5",
    "+trainer.limit_train_batches=some", "compute.checkpointing=block", "compute.frames_at_once=0",
    "protocol.split=looso", "protocol.folds=1", "protocol.untested=[1]", "protocol.strict=perhaps", "seed=-1",
    "corrections=all", "loso.workers=-1", "loso.cpu_threads=0", "loso.checkpoint_seconds=-1",
    "selection.inner_subjects=-1", "report.headline=lst", "tune.trials=0", "tune.sampler=randm", "export.to=onx",
    "predict.mode=scn", "predict.fps=0", "predict.window=-1", "predict.device=gpu", "demo.port=70000", "convert.to=us",
    "predict.bits=7", "data.faces.bits=12.5",
]  # fmt: skip


def key_of(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def batches(overrides: list[str]) -> list[list[str]]:
    """Overrides that can be given in one command: no key of a batch is another's, or a part of it."""
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
def test_all_values_of_another_type_range_or_name_are_refused_at_once_by_their_keys(overrides: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        check_values(configuration(*overrides))
    lines = [line.strip() for line in str(refused.value).splitlines()]
    for key in map(key_of, overrides):
        assert any(line.startswith(f"{key} is ") and ALLOWED[key].words in line for line in lines), key


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("model.pooling=men", "mean"), ("model.pooling=[score,atention]", "attention"),
        ("model.objective.rank_loss=hing", "hinge"), ("trainer.precision=bf15", "bf16"),
        ("report.headline=lst", "last"), ("data.normalisation=trainning", "training"),
        ("+data.btach_size=4", "data.batch_size"), ("+loso.worker=2", "loso.workers"),
        ("+experimant=synthetic_loso", "experiment"), ("+model.optimizer.lrr=1", "model.optimizer.lr"),
    ],
)  # fmt: skip
def test_what_was_probably_meant_is_said(override: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"Did you mean .*\b{meant}\b"):
        check_values(configuration(override))


def test_what_is_possible_passes() -> None:
    possible = [
        "model.pooling=mean", "model.pooling=[mean,max]", "trainer.precision=16", "trainer.deterministic=warn",
        "trainer.max_steps=null", "model.optimizer.lr=1", "model.optimizer.steps=null", "data.augmentation=null",
        "+trainer.limit_train_batches=0.5", "+trainer.limit_train_batches=3", "+trainer.profiler=simple",
        "model.backbone.pretrained=weights.safetensors", "model.mer_head={_target_: mine.Head, hidden: several}",
        "data.adapter={_target_: mine.Dataset, frames: [1]}", "predict.fps=29.97", "+data.generate.seeds=3",
    ]  # fmt: skip
    for overrides in batches(possible):
        config = configuration(*overrides)
        config.model.optimizer.rules = {1: 0.5}  # a key that is no text
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
    choices = [
        f"{group}={path.stem}" for group in groups for path in sorted((CONF_DIR / group.strip("+")).glob("[!_]*.yaml"))
    ]
    keys: set[str] = set()
    for choice in choices:
        config = configuration(choice)
        check_values(config)
        keys |= set(leaves(OmegaConf.to_container(config)))
    unknown = {key for key in keys - set(ALLOWED) - set(Root.__dataclass_fields__) if not key.startswith(OPEN)}
    assert {key for key in unknown if key.split(".")[0] != "logger"} == {"data.adapter.members"}


CHOICES = {
    "data.faces.colour": "data.faces.prepare_clip.COLOURS",
    "data.faces.device": "data.faces.prepare_clip.DEVICES", "data.faces.method": "data.faces.prepare_clip.METHODS",
    "data.sampling.rule": "data.loading.sampling.RULES", "data.sampling.short": "data.loading.sampling.SHORT",
    "data.policy": "data.store.build.POLICIES", "data.generate.course": "data.synthetic.clip.COURSES",
    "report.headline": "labels.SELECTIONS",
    "data.generate.layout": "data.synthetic.layouts.LAYOUTS",
    "model.objective.image_kind": "models.dynamic_image.DYNAMIC_IMAGES",
    "model.objective.motion_measure": "models.dynamic_image.MOTION_MEASURES",
    "model.objective.class_weighting": "models.classification_loss.CLASS_WEIGHTINGS",
    "model.objective.rank_loss": "models.fdp.rank_losses.RANK_LOSSES",
    "model.objective.image_scale": "models.fdp.objective.IMAGE_SCALES",
    "model.frame_batches": "models.fdp_released.FRAME_BATCHES", "model.head_block": "models.fdp.network.HEAD_BLOCKS",
    "model.backbone.local_mixer": "models.fdp_released.LOCAL_MIXERS",
    "predict.device": "data.faces.prepare_clip.DEVICES", "model.optimizer.name": "training.optimizer.OPTIMIZERS",
    "model.optimizer.schedule": "training.optimizer.SCHEDULES",
}  # fmt: skip
"""Key → where its choices are defined, in a module that takes too long to import for them."""


def test_the_choices_are_those_of_what_takes_them() -> None:
    from fdp_lightning.models.fdp.rank_pooling import POOLINGS as MODULES

    assert set(POOLINGS) == {*MODULES, "conv"}
    for key, name in CHOICES.items():
        module, _, constant = name.rpartition(".")
        assert set(ALLOWED[key].choices) == set(getattr(import_module(f"fdp_lightning.{module}"), constant)), key

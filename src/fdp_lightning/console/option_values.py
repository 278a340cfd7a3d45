"""Allowed values of each option, known without importing the classes that take them: a wrong value is reported at once.

The classes themselves check combinations of values, and options that a user has added with `+`. A test compares the
choices with those of the classes, and the keys with the files of conf/.
"""

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fdp_lightning.config import ADDED_GROUPS, Root
from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Allowed:
    """The values that an option may have.

    Attributes:
        words: description of the values, placed after "expected" in messages.
        accepts: function that returns True for an allowed value.
        choices: names to choose from, if the option takes a name.
    """

    words: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()

    def or_null(self, meaning: str = "") -> "Allowed":
        """Return these values, or null."""
        words = f"{self.words}, or null{meaning and f' ({meaning})'}"
        return replace(self, words=words, accepts=lambda value: value is None or self.accepts(value))

    def or_one_of(self, *choices: str) -> "Allowed":
        """Return these values, or one of some words."""
        words = f"{self.words}, or {', '.join(choices)}"
        return Allowed(words, lambda value: value in choices or self.accepts(value), (*self.choices, *choices))

    def or_list(self) -> "Allowed":
        """Return one of these values, or a non-empty list of them without duplicates."""

        def accepts(value: Any) -> bool:
            return self.accepts(value) or (
                _is_list(value) and bool(value) and all(map(self.accepts, value)) and len(set(value)) == len(value)
            )

        return replace(self, words=f"{self.words}, or a list of them", accepts=accepts)


def whole(least: int | None = None, most: int | None = None) -> Allowed:
    """Return the whole numbers of a range, ends included."""
    return Allowed(
        f"a whole number{_range(least, most)}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and _within(value, least, most),
    )


def number(
    least: float | None = None, most: float | None = None, above: float | None = None, below: float | None = None
) -> Allowed:
    """Return the numbers of a range; `least` and `most` are included, `above` and `below` are not."""

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            return False  # also NaN, and whole numbers that no float holds
        return _within(value, least, most) and (above is None or value > above) and (below is None or value < below)

    open_ends = [f"{word} {end}" for word, end in (("above", above), ("below", below)) if end is not None]
    return Allowed(" ".join([f"a number{_range(least, most)}", " and ".join(open_ends)]).strip(), accepts)


def one_of(*choices: str) -> Allowed:
    """Return some words; a number that YAML made of a word counts as the word."""
    words = f"one of {', '.join(choices)}"
    return Allowed(words, lambda value: not isinstance(value, bool) and str(value) in choices, choices)


def list_of(kind: Allowed) -> Allowed:
    """Return lists of such values, which may be empty."""
    return Allowed(f"a list, each {kind.words}", lambda value: _is_list(value) and all(map(kind.accepts, value)))


YES_NO = Allowed("true or false", lambda value: isinstance(value, bool))
TEXT = Allowed("text (a number in quotes: \"'1'\")", lambda value: isinstance(value, str))
PLACE = Allowed("a path (of one that is a number: ./1)", lambda value: isinstance(value, str) and value != "")
MAPPING = Allowed("a mapping, {name: value}", lambda value: isinstance(value, Mapping))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return "" if least is None else f" of at least {least}"


def guess(word: str, known: Sequence[str]) -> str:
    """Return ' Did you mean …?' with the known words closest to a word; '' if none is close."""
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if not close:  # max_epochs for trainer.max_epochs
        close = [name for name in known if name.split(".")[-1] == word.split(".")[-1]][:3]
    if not close:  # slurm for submitit_slurm
        close = [name for name in known if word in name.split("_")][:3]
    return f" Did you mean {' or '.join(close)}?" if close else ""


POOLINGS = (
    "score", "soft_rank_arp", "gated", "intensity", "arp", "arp_simple", "last_minus_first", "mean", "max", "attention",
    "conv",
)  # fmt: skip
RANK_LOSSES = ("ranknet", "hinge", "listmle", "listnet", "soft_spearman")
PRECISIONS = (
    "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true", "transformer-engine",
    "transformer-engine-float16", "32", "64", "16", "bf16", "auto",
)  # fmt: skip
_SHARE = number(0, 1)
_DEVICE = one_of("cpu", "cuda")
_COUNTED = whole(1)
_NAMES = list_of(TEXT)
_PHASES = one_of("onset_apex", "apex_offset", "onset_apex_direction", "apex_offset_direction").or_list()
_MAPS = one_of("u", "v", "strain", "magnitude").or_list()
_SCALE = one_of("clip_minmax", "train_std", "none")
_WEIGHTS = Allowed("true, false or a file", lambda value: isinstance(value, bool | str))
_LIMIT = Allowed(
    "a number of batches, a whole number of at least 1, or a share above 0.0, to 1.0",
    lambda value: _COUNTED.accepts(value) or (isinstance(value, float) and 0 < value <= 1),
)

_BUDGET = Allowed(
    "a whole number of at least 1, or -1 or null: no limit",
    lambda value: value in (-1, None) or _COUNTED.accepts(value),
)

_SECTIONS = (
    "data", "protocol", "model", "trainer", "compute", "data.faces", "data.sampling", "data.adapter",
    "protocol.classes", "protocol.include", "protocol.read_as", "protocol.parts", "protocol.expected", "input",
    "model.backbone", "model.scorer", "model.mer_head", "model.dic_head", "model.optimizer", "model.settings",
)  # fmt: skip

ALLOWED: Mapping[str, Allowed] = {
    **dict.fromkeys(_SECTIONS, MAPPING),
    "seed": whole(0, 2**32 - 1),
    "fold": TEXT.or_null(),
    "run": PLACE.or_null(),
    "corrections": one_of("official", "corrected", "none"),
    "data.name": TEXT,
    "data.root": PLACE,
    "data.store": PLACE,
    "data.policy": one_of("strict", "clip", "skip"),
    "data.show_faces": YES_NO,
    "data.workers": _COUNTED.or_null("one per core"),
    "data.loader_workers": whole(0),
    "data.batch_size": _COUNTED,
    "data.shuffle": YES_NO,
    "data.linear_baselines": YES_NO,
    "data.normalisation": one_of("training", "each_set"),
    "data.generate": MAPPING.or_null(),
    **{
        f"data.generate.{name}": whole()
        for name in ("subjects", "clips_per_emotion", "min_frames", "max_frames", "height", "width", "seed")
    },
    "data.generate.amplitude": number(),
    "data.generate.noise": number(),
    "data.generate.control": one_of("none", "static", "reversed"),
    "data.generate.course": one_of("plain", "wild"),
    "data.generate.layout": one_of("casme2", "samm"),
    "data.generate.portraits": PLACE.or_null(),
    "data.adapter.frames": TEXT,
    "data.adapter.extraction": one_of("ststnet", "causalnet").or_null("whichever data.root holds"),
    "data.adapter.labels": PLACE.or_null("likewise in data.root"),
    "data.faces.method": one_of("mtcnn", "official_crops", "box", "none"),
    "data.faces.size": whole(8, 1024),
    "data.faces.margin": number(-0.4, 2),
    "data.faces.colour": one_of("grey", "rgb"),
    "data.faces.least_confidence": _SHARE,
    "data.faces.per_frame": YES_NO,
    "data.faces.batch": whole(1, 256),
    "data.faces.bits": whole(8, 16).or_null("found"),
    "data.faces.device": _DEVICE,
    "data.sampling.frames": _COUNTED,
    "data.sampling.rule": one_of("uniform", "floor", "around_apex", "onset_apex_offset", "random_phase"),
    "data.sampling.short": one_of("repeat", "interpolate"),
    "data.augmentation": MAPPING.or_null("none"),
    "data.augmentation.flip": _SHARE,
    "data.augmentation.shift": _SHARE,
    "data.augmentation.scale": number(0, below=1),
    "data.augmentation.rotate": number(0, 180),
    "data.augmentation.brightness": _SHARE,
    "data.augmentation.contrast": _SHARE,
    "data.augmentation.transforms": list_of(MAPPING),
    "protocol.name": TEXT,
    "protocol.dataset": TEXT,
    "protocol.labels": TEXT.or_null(),
    "protocol.column": one_of("emotion", "objective", "action_units"),
    "protocol.exclude": _NAMES,
    "protocol.untested": _NAMES,
    "protocol.split": one_of("loso", "kfold", "lodo", "fixed"),
    "protocol.folds": whole(2),
    "protocol.shuffled": whole(0).or_null("as annotated"),
    "protocol.strict": YES_NO,
    "protocol.source": TEXT,
    "input.kind": one_of("frames", "flow", "apex_flow", "maps"),
    "input.method": one_of("dis", "farneback", "tvl1"),
    "input.channels": _MAPS,
    "input.size": whole(8, 1024),
    "input.scale": _SCALE,
    "input.phases": _PHASES,
    "input.gain": number(above=0),
    "input.flip": _SHARE,
    "model.name": TEXT,
    "model.head_block": one_of("spatial", "map64"),
    "model.finer_maps": list_of(_COUNTED),
    "model.pooling": one_of(*POOLINGS).or_list(),
    "model.running_means": YES_NO,
    "model.gate_temperature": number(above=0),
    "model.scrambled_time": YES_NO,
    "model.frame_batches": one_of("folded", "per_frame"),
    "model.objective": MAPPING.or_null("a recogniser without losses"),
    "model.scorer.hidden": _COUNTED,
    "model.scorer.centred": YES_NO,
    "model.objective.emotion": number(0),
    "model.objective.dynamic_image": number(0),
    "model.objective.rank": number(0),
    "model.objective.rank_loss": one_of(*RANK_LOSSES),
    "model.objective.intensity_loss": one_of(*RANK_LOSSES),
    "model.objective.rank_temperature": number(above=0),
    "model.objective.rank_margin": number(0),
    "model.objective.rank_sharpness": number(above=0),
    "model.objective.image_kind": one_of("exact", "simple", "onset_apex", "apex_offset", "intensity"),
    "model.objective.image_scale": one_of("signed", "min_max"),
    "model.objective.motion_measure": one_of("difference", "flow"),
    "model.objective.class_weighting": one_of("none", "inverse", "effective"),
    "model.objective.effective_beta": number(0, below=1),
    "model.objective.label_smoothing": number(0, below=1),
    "model.objective.focal": number(0),
    "model.optimizer.steps": _COUNTED.or_null("trainer.max_epochs ends the training"),
    "model.optimizer.name": one_of("adam", "adamw", "sgd"),
    "model.optimizer.momentum": number(0, below=1),
    "model.optimizer.lr": number(above=0),
    "model.optimizer.lr_scaling": one_of("none", "sqrt", "linear"),
    "model.optimizer.lr_reference_batch": _COUNTED.or_null(),
    "model.optimizer.weight_decay": number(0),
    "model.optimizer.decay_all": YES_NO,
    "model.optimizer.rules": MAPPING.or_null("none"),
    "model.optimizer.schedule": one_of("constant", "cosine", "step", "exponential"),
    "model.optimizer.gamma": number(0, 1),
    "model.optimizer.every": _COUNTED.or_null("no steps"),
    "model.optimizer.lowest": _SHARE,
    "model.optimizer.gradient_clip": number(0).or_null("no clipping"),
    "model.optimizer.warmup": _SHARE,
    "model.optimizer.ema": number(above=0, below=1).or_null("no average"),
    "model.optimizer.batch_norm": one_of("recomputed", "running"),
    "model.optimizer.batch_norm_clips": _COUNTED,
    "model.backbone.in_channels": _COUNTED,
    "model.backbone.stem_widths": list_of(_COUNTED),
    "model.backbone.stem_strides": list_of(_COUNTED),
    "model.backbone.head_channels": _COUNTED,
    "model.backbone.mix_ratio": _SHARE,
    "model.backbone.local_mlp_ratio": number(above=0),
    "model.backbone.drop_path": number(0, below=1),
    "model.backbone.attention": YES_NO,
    "model.backbone.local": YES_NO,
    "model.backbone.local_mixer": one_of("heads", "dense"),
    "model.pretrained": _WEIGHTS,
    "model.backbone.pretrained": _WEIGHTS,
    "model.backbone.stages": list_of(MAPPING),
    "model.backbone.name": TEXT,
    "model.backbone.image_size": _COUNTED,
    "model.backbone.level": whole(),
    "model.backbone.input_size": _COUNTED.or_null("that of the frames"),
    "model.backbone.options": MAPPING.or_null("none"),
    "model.mer_head.reads": _COUNTED,
    "model.mer_head.hidden": _COUNTED,
    "model.mer_head.normalised": YES_NO,
    "model.mer_head.dropout": number(0, below=1),
    "model.dic_head.width": _COUNTED,
    "model.dic_head.depth": whole(0),
    "model.blocks": _COUNTED,
    "model.channels": _MAPS,
    "model.phases": _PHASES,
    "model.scale": _SCALE,
    "model.bins": _COUNTED,
    **dict.fromkeys(
        [f"model.{size}" for size in ("width", "hidden", "depth", "steps", "rounds", "pool", "patch")], _COUNTED
    ),
    "model.overlap": number(0, below=1),
    "model.radii": list_of(_COUNTED),
    "model.settings.kernel": one_of("rbf", "linear"),
    "model.settings.c": number(above=0),
    "model.settings.standardised": YES_NO,
    "model.settings.balanced": YES_NO,
    "trainer.accelerator": one_of("cpu", "gpu", "cuda", "mps", "auto"),
    "trainer.devices": _COUNTED,
    "trainer.num_nodes": _COUNTED,
    "trainer.strategy": TEXT,
    "trainer.sync_batchnorm": YES_NO,
    "trainer.precision": one_of(*PRECISIONS),
    "trainer.deterministic": YES_NO.or_one_of("warn", "auto"),
    "trainer.max_steps": _BUDGET,
    "trainer.max_epochs": _BUDGET,
    "trainer.max_time": Allowed(
        'a time as "dd:hh:mm:ss", or {hours: 1}', lambda value: isinstance(value, str | Mapping) or value is None
    ),
    "trainer.gradient_clip_val": number(0).or_null("no clipping"),
    "trainer.gradient_clip_algorithm": one_of("norm", "value").or_null(),
    "trainer.check_val_every_n_epoch": _COUNTED,
    "trainer.accumulate_grad_batches": _COUNTED,
    "trainer.limit_train_batches": _LIMIT.or_null("all"),
    "compute.frames_at_once": _COUNTED.or_null("all"),
    "compute.channels_last": YES_NO,
    "compute.small_maps": YES_NO,
    "compute.fused_optimizer": YES_NO,
    "compute.freed_memory": one_of("keep", "return", "default"),
    "compute.checkpointing": one_of("blocks", "stages").or_null(),
    "compute.compile": one_of("default", "reduce-overhead", "max-autotune").or_null(),
    "compute.tf32": YES_NO,
    "loso.workers": _COUNTED.or_null("one per core or GPU"),
    "loso.cpu_threads": _COUNTED,
    "loso.checkpoint_seconds": number(0),
    "loso.quick_model": TEXT.or_null("none"),
    "selection.inner_subjects": whole(0),
    "report.title": TEXT.or_null(),
    "report.show_faces": YES_NO.or_null("as the dataset allows"),
    "report.explain": YES_NO,
    "report.upload_faces": YES_NO.or_null("where the dataset is public"),
    "report.headline": one_of("last", "inner", "oracle"),
    "check_data.deep": YES_NO,
    "check_data.output": PLACE.or_null(),
    "compare.output": PLACE,
    "compare.baseline": PLACE.or_null(),
    "compare.published": PLACE.or_null("none"),
    "convert.input": PLACE.or_null(),
    "convert.output": PLACE.or_null(),
    "convert.to": one_of("ours", "released"),
    "tune.trials": _COUNTED,
    "tune.sampler": one_of("random", "grid", "tpe"),
    "tune.space": MAPPING.or_null(),
    "tune.objective": TEXT,
    "tune.folder": PLACE.or_null(),
    "fit.licence": TEXT.or_null(),
    "export.checkpoint": PLACE.or_null(),
    "export.output": PLACE.or_null(),
    "export.licence": TEXT.or_null(),
    "export.to": one_of("model", "onnx"),
    "predict.input": PLACE.or_null(),
    "predict.checkpoint": PLACE,
    "predict.output": PLACE.or_null(),
    "predict.mode": one_of("auto", "clip", "scan"),
    "predict.explain": YES_NO,
    "predict.longest_clip": number(above=0),
    "predict.window": number(above=0),
    "predict.step": number(above=0),
    "predict.fps": number(above=0).or_null("unknown"),
    "predict.bits": whole(8, 16).or_null("found"),
    "predict.device": _DEVICE,
    "demo.checkpoint": PLACE,
    "demo.port": whole(0, 65535),
    "benchmark.rows": _NAMES.or_null("all"),
    "benchmark.output": PLACE,
    "benchmark.quick": YES_NO,
}
"""Key → allowed values. Nodes with the `_target_` of another project are not checked."""

_OURS = "fdp_lightning."

_CLOSED = (
    "", "data", "data.faces", "data.sampling", "protocol", "compute", "model.objective", "model.optimizer",
    *(name for name, field in Root.__dataclass_fields__.items() if is_dataclass(field.type)),
)  # fmt: skip
"""Sections with the options above and no others: a key that `+` adds to them is misspelt, and would be ignored."""


def check_values(config: DictConfig) -> None:
    """Raise UserError for values that no command could use, before anything is imported or read.

    The message names each key, its value and the expected values.
    """
    known = {*ALLOWED, *Root.__dataclass_fields__}
    for key, _ in _values(config):
        section, _, _ = key.rpartition(".")
        if section in _CLOSED and key not in known:
            raise UserError(f"the configuration has no key '{key}'.{guess(key, [*known, *ADDED_GROUPS])}")
    wrong = [
        f"{key} is {_as_yaml(value)}; expected {ALLOWED[key].words}{_guesses(value, ALLOWED[key])}"
        for key, value in _values(config)
        if key in ALLOWED and not ALLOWED[key].accepts(value)
    ]
    if wrong:
        raise UserError("\n  ".join(wrong))


def _values(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of the configuration, except missing values and interpolations (${…})."""
    names: list[Any] = list(config)  # in a mapping of a user's own also numbers
    for name in names:
        key = f"{prefix}{name}"
        if key == "hydra" or str(name).startswith("_"):
            continue
        if OmegaConf.is_interpolation(config, name) or OmegaConf.is_missing(config, name):
            continue
        node = config[name]
        if isinstance(node, DictConfig):
            yield key, {}
            if str(node.get("_target_", _OURS)).startswith(_OURS):
                yield from _values(node, f"{key}.")
        else:
            yield key, OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _as_yaml(value: Any) -> str:
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else repr(value)


def _guesses(value: Any, allowed: Allowed) -> str:
    words = value if isinstance(value, list) else [value]
    guesses = [guess(word, allowed.choices) for word in words if isinstance(word, str) and word not in allowed.choices]
    return "".join(f".{text}" for text in guesses if text)

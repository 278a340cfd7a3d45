"""Allowed values of each option, without importing the classes that take them, so that mistakes are reported early.

The settings classes of the data also check their fields against this table, and check combinations themselves. A test
compares the choices with those of the classes, and the keys with the files of conf/.
"""

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from numbers import Real
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fdp_lightning.config import ADDED_GROUPS, Root
from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Allowed:
    """The values that an option may have: their description, placed after "expected" in messages, the function that
    accepts them, and the names to choose from, if it takes a name.
    """

    words: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()

    def or_null(self, meaning: str = "") -> "Allowed":
        words = f"{self.words}, or null{meaning and f' ({meaning})'}"
        return replace(self, words=words, accepts=lambda value: value is None or self.accepts(value))

    def or_list(self) -> "Allowed":
        """Also allow a non-empty list of these values without duplicates."""

        def accepts(value: Any) -> bool:
            return self.accepts(value) or (
                _is_list(value) and bool(value) and all(map(self.accepts, value)) and len(set(value)) == len(value)
            )

        return replace(self, words=f"{self.words}, or a list of them", accepts=accepts)


def whole(least: int | None = None, most: int | None = None) -> Allowed:
    return Allowed(
        f"a whole number{_range(least, most)}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and _within(value, least, most),
    )


def number(
    least: float | None = None, most: float | None = None, above: float | None = None, below: float | None = None
) -> Allowed:
    """Allow the numbers of a range; `least` and `most` are included, `above` and `below` are not."""

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        found = value if isinstance(value, int) else float(value)  # NumPy's numbers too
        if not abs(found) <= sys.float_info.max:
            return False  # NaN, and whole numbers too large for a float
        return _within(found, least, most) and (above is None or found > above) and (below is None or found < below)

    open_ends = [f"{word} {end}" for word, end in (("above", above), ("below", below)) if end is not None]
    return Allowed(" ".join([f"a number{_range(least, most)}", " and ".join(open_ends)]).strip(), accepts)


def one_of(*choices: str) -> Allowed:
    """Allow some words; a number that YAML has read instead of a word counts as the word."""
    words = f"one of {', '.join(choices)}"
    return Allowed(words, lambda value: not isinstance(value, bool) and str(value) in choices, choices)


def list_of(kind: Allowed) -> Allowed:
    return Allowed(f"a list, each entry {kind.words}", lambda value: _is_list(value) and all(map(kind.accepts, value)))


YES_NO = Allowed("true or false", lambda value: isinstance(value, bool))
TEXT = Allowed("text (a number in quotes: \"'1'\")", lambda value: isinstance(value, str))
PLACE = Allowed("a path (for a number: ./1)", lambda value: isinstance(value, str | PurePath) and str(value) != "")
MAPPING = Allowed("a mapping, {name: value}", lambda value: isinstance(value, Mapping))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_count(name: object, value: Any) -> bool:
    if name in ("clips", "subjects"):
        return isinstance(value, int)
    if name == "splits":
        return isinstance(value, Mapping) and all(map(ALLOWED["protocol.expected"].accepts, value.values()))
    of_names = isinstance(value, Mapping) and all(isinstance(count, int) for count in value.values())
    return name == "labels" or (name in ("classes", "datasets") and of_names)


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
_COUNTED = whole(1)
_LIMIT = Allowed(
    "a number of batches, at least 1, or a share of them, above 0.0 and at most 1.0",
    lambda value: _COUNTED.accepts(value) or (isinstance(value, float) and 0 < value <= 1),
)

_BUDGET = Allowed(
    "a whole number of at least 1, or -1 or null for no limit",
    lambda value: value in (-1, None) or _COUNTED.accepts(value),
)

_ALIKE = {
    TEXT.or_null(): "fold protocol.labels report.title fit.licence export.licence",
    PLACE.or_null(): (
        "run data.generate.portraits check_data.output compare.baseline convert.input convert.output tune.folder "
        "export.checkpoint export.output predict.input predict.output"
    ),
    TEXT: (
        "data.name data.adapter.frames protocol.name protocol.dataset protocol.source model.name model.backbone.name "
        "trainer.strategy tune.objective"
    ),
    PLACE: "data.root data.store compare.output predict.checkpoint demo.checkpoint benchmark.output",
    YES_NO: (
        "data.show_faces data.shuffle data.linear_baselines data.faces.per_frame protocol.strict model.running_means "
        "model.scrambled_time model.scorer.centred model.optimizer.decay_all model.backbone.attention "
        "model.backbone.local model.mer_head.normalised model.settings.standardised model.settings.balanced "
        "trainer.sync_batchnorm compute.channels_last compute.small_maps compute.fused_optimizer compute.tf32 "
        "report.explain check_data.deep predict.explain benchmark.quick"
    ),
    whole(0): "data.loader_workers model.dic_head.depth selection.inner_subjects",
    _COUNTED: (
        "model.width model.hidden model.depth model.steps model.rounds model.pool model.patch data.batch_size "
        "data.sampling.frames model.scorer.hidden model.optimizer.batch_norm_clips model.backbone.in_channels "
        "model.backbone.head_channels model.backbone.image_size model.mer_head.reads model.mer_head.hidden "
        "model.dic_head.width model.blocks model.bins trainer.devices trainer.num_nodes "
        "trainer.check_val_every_n_epoch trainer.accumulate_grad_batches loso.cpu_threads tune.trials "
        "data.generate.subjects data.generate.clips_per_emotion"
    ),
    number(0, 1): (
        "data.faces.least_confidence data.augmentation.flip data.augmentation.shift data.augmentation.brightness "
        "data.augmentation.contrast input.flip model.optimizer.lowest model.optimizer.warmup model.backbone.mix_ratio "
        "model.optimizer.gamma"
    ),
    MAPPING.or_null("none"): "data.augmentation model.optimizer.rules model.backbone.options",
    number(0, below=1): (
        "data.augmentation.scale model.objective.effective_beta model.objective.label_smoothing "
        "model.optimizer.momentum model.backbone.drop_path model.mer_head.dropout model.overlap"
    ),
    number(above=0): (
        "input.gain model.gate_temperature model.objective.rank_temperature model.objective.rank_sharpness "
        "model.optimizer.lr model.backbone.local_mlp_ratio model.backbone.global_mlp_ratio model.settings.c "
        "predict.longest_clip predict.window predict.step"
    ),
    list_of(_COUNTED): "model.finer_maps model.backbone.stem_widths model.backbone.stem_strides model.radii",
    number(0): (
        "model.objective.emotion model.objective.dynamic_image model.objective.rank model.objective.rank_margin "
        "model.objective.focal model.optimizer.weight_decay loso.checkpoint_seconds"
    ),
    MAPPING: (
        "data protocol model trainer compute data.faces data.sampling data.adapter protocol.include "
        "protocol.read_as protocol.parts input model.backbone model.scorer model.mer_head model.dic_head "
        "model.optimizer model.settings"
    ),
    one_of("cpu", "cuda"): "data.faces.device predict.device",
    one_of(
        "onset_apex", "apex_offset", "onset_apex_direction", "apex_offset_direction"
    ).or_list(): "input.phases model.phases",
    one_of("u", "v", "strain", "magnitude").or_list(): "input.channels model.channels",
    one_of("clip_minmax", "train_std", "none"): "input.scale model.scale",
    Allowed(
        "true, false or a file", lambda value: isinstance(value, bool | str)
    ): "model.pretrained model.backbone.pretrained",
    _BUDGET: "trainer.max_steps trainer.max_epochs",
    list_of(TEXT): "protocol.exclude protocol.untested",
    one_of(*RANK_LOSSES): "model.objective.rank_loss model.objective.intensity_loss",
    whole(8, 1024): "data.faces.size input.size",
    whole(8, 16).or_null("determined from the images"): "data.faces.bits predict.bits",
    MAPPING.or_null(): "data.generate tune.space",
    number(0).or_null("no clipping"): "model.optimizer.gradient_clip trainer.gradient_clip_val",
    list_of(MAPPING): "data.augmentation.transforms model.backbone.stages",
    number(0, 10): "data.generate.amplitude data.generate.noise",
    whole(8, 1000): "data.generate.min_frames data.generate.max_frames",
    whole(0, 2**32 - 1): "seed data.generate.seed",
}
"""Allowed values → the keys that take them."""

ALLOWED: Mapping[str, Allowed] = {
    **{key: values for values, keys in _ALIKE.items() for key in keys.split()},
    "corrections": one_of("official", "corrected", "none"),
    "data.policy": one_of("strict", "clip", "skip"),
    "data.workers": _COUNTED.or_null("one per core"),
    "data.normalisation": one_of("training", "each_set"),
    "data.generate.height": whole(120, 1080),
    "data.generate.width": whole(120, 1920),
    "data.generate.control": one_of("none", "static", "reversed"),
    "data.generate.course": one_of("plain", "wild"),
    "data.generate.layout": one_of("casme2", "samm"),
    "data.adapter.extraction": one_of("ststnet", "causalnet").or_null("whichever data.root holds"),
    "data.adapter.labels": PLACE.or_null("the file in data.root"),
    "data.faces.method": one_of("mtcnn", "official_crops", "box", "none"),
    "data.faces.margin": number(-0.4, 2),
    "data.faces.colour": one_of("grey", "rgb"),
    "data.faces.batch": whole(1, 256),
    "data.sampling.rule": one_of("uniform", "floor", "around_apex", "onset_apex_offset", "random_phase"),
    "data.sampling.short": one_of("repeat", "interpolate"),
    "data.augmentation.rotate": number(0, 180),
    "protocol.classes": Allowed(
        "a mapping, {class: [label, …]}",
        lambda value: isinstance(value, Mapping) and all(map(_is_list, value.values())),
    ),
    "protocol.expected": Allowed(
        "published counts by name: clips, subjects, classes, datasets, splits, and the labels they refer to",
        lambda value: isinstance(value, Mapping) and all(_is_count(*pair) for pair in value.items()),
    ),
    "protocol.column": one_of("emotion", "objective", "action_units"),
    "protocol.split": one_of("loso", "kfold", "lodo", "fixed"),
    "protocol.folds": whole(2),
    "protocol.shuffled": whole(0).or_null("as annotated"),
    "input.kind": one_of("frames", "flow", "apex_flow", "maps"),
    "input.method": one_of("dis", "farneback", "tvl1"),
    "model.head_block": one_of("spatial", "map64"),
    "model.pooling": one_of(*POOLINGS).or_list(),
    "model.frame_batches": one_of("folded", "per_frame"),
    "model.objective": MAPPING.or_null("a recogniser without losses"),
    "model.objective.image_kind": one_of("exact", "simple", "onset_apex", "apex_offset", "intensity"),
    "model.objective.image_scale": one_of("signed", "min_max"),
    "model.objective.motion_measure": one_of("difference", "flow"),
    "model.objective.class_weighting": one_of("none", "inverse", "effective"),
    "model.optimizer.steps": _COUNTED.or_null("trainer.max_epochs ends the training"),
    "model.optimizer.name": one_of("adam", "adamw", "sgd"),
    "model.optimizer.lr_scaling": one_of("none", "sqrt", "linear"),
    "model.optimizer.lr_reference_batch": _COUNTED.or_null(),
    "model.optimizer.schedule": one_of("constant", "cosine", "step", "exponential"),
    "model.optimizer.every": _COUNTED.or_null("no steps"),
    "model.optimizer.ema": number(above=0, below=1).or_null("no average"),
    "model.optimizer.batch_norm": one_of("recomputed", "running"),
    "model.backbone.local_mixer": one_of("heads", "dense"),
    "model.backbone.level": whole(),
    "model.backbone.input_size": _COUNTED.or_null("that of the frames"),
    "model.settings.kernel": one_of("rbf", "linear"),
    "trainer.accelerator": one_of("cpu", "gpu", "cuda", "mps", "auto"),
    "trainer.precision": one_of(*PRECISIONS),
    "trainer.deterministic": Allowed(
        "true, false, warn or auto", lambda value: isinstance(value, bool) or value in ("warn", "auto")
    ),
    "trainer.max_time": Allowed(
        'a time as "dd:hh:mm:ss", or {hours: 1}', lambda value: isinstance(value, str | Mapping) or value is None
    ),
    "trainer.gradient_clip_algorithm": one_of("norm", "value").or_null(),
    "trainer.limit_train_batches": _LIMIT.or_null("all"),
    "compute.frames_at_once": _COUNTED.or_null("all"),
    "compute.freed_memory": one_of("keep", "return", "default"),
    "compute.checkpointing": one_of("blocks", "stages").or_null(),
    "compute.compile": one_of("default", "reduce-overhead", "max-autotune").or_null(),
    "loso.workers": _COUNTED.or_null("one per core or GPU"),
    "loso.quick_model": TEXT.or_null("none"),
    "report.show_faces": YES_NO.or_null("as the dataset allows"),
    "report.upload_faces": YES_NO.or_null("where the dataset is public"),
    "report.headline": one_of("last", "inner", "oracle"),
    "compare.published": PLACE.or_null("none"),
    "convert.to": one_of("ours", "released"),
    "tune.sampler": one_of("random", "grid", "tpe"),
    "export.to": one_of("model", "onnx"),
    "predict.mode": one_of("auto", "clip", "scan"),
    "predict.fps": number(above=0).or_null("unknown"),
    "demo.port": whole(0, 65535),
    "benchmark.rows": list_of(TEXT).or_null("all"),
}
"""Key → allowed values. Nodes with the `_target_` of another project are not checked."""

_OURS = "fdp_lightning."

_CLOSED = (
    "", "data", "data.faces", "data.sampling", "input", "protocol", "compute", "model.objective", "model.optimizer",
    *(name for name, field in Root.__dataclass_fields__.items() if is_dataclass(field.type)),
)  # fmt: skip
"""Sections with no options other than the above: a key that `+` adds to them is misspelt and would be ignored."""


def check_values(config: DictConfig) -> None:
    """Raise UserError for keys and values that no command could use, before anything is imported or read."""
    known = {*ALLOWED, *Root.__dataclass_fields__}
    for key, _ in _values(config):
        section, _, _ = key.rpartition(".")
        if section in _CLOSED and key not in known:
            raise UserError(f"the configuration has no key '{key}'.{guess(key, [*known, *ADDED_GROUPS])}")
    require_allowed(dict(_values(config)))


def require_settings(section: str, settings: object) -> None:
    """Raise UserError unless the fields of a settings object have values allowed for the keys of their section."""
    require_allowed({f"{section}.{name}": value for name, value in vars(settings).items()})


def require_allowed(values: Mapping[str, Any]) -> None:
    """Raise UserError for values that are not allowed, naming key, value and expectation; unknown keys pass."""
    wrong = [
        f"{key} is {_as_yaml(value)}; expected {ALLOWED[key].words}{_guesses(value, ALLOWED[key])}"
        for key, value in values.items()
        if key in ALLOWED and not ALLOWED[key].accepts(value)
    ]
    if wrong:
        raise UserError("\n  ".join(wrong))


def _values(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of the configuration, except missing values and interpolations (${…})."""
    names: list[Any] = list(config)  # in a user's own mapping, keys may be numbers
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

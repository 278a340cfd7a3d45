"""The network of a model file, built from a registry of classes: nothing that a file names is imported or looked up."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import parameters_of
from fdp_lightning.labels import LabelKind
from fdp_lightning.models.parts import CLASSES, NETWORK, OBJECTIVE, name_of
from fdp_lightning.models.recognizer import Objective

Registry = Mapping[str, Mapping[str, type]]
"""Part of a network's configuration → the classes allowed for it, by their names in configurations."""


def registry_with(own: Sequence[type] = ()) -> Registry:
    """Return the classes that a file may name: those of this package and the caller's `own`."""
    places = {place: {name_of(kind): kind for kind in kinds} for place, kinds in CLASSES.items()}
    for kind in own:
        places[OBJECTIVE if issubclass(kind, Objective) else NETWORK][name_of(kind)] = kind
    return places


_OURS = registry_with()
_PARTS = tuple(place for place in CLASSES if place not in (NETWORK, OBJECTIVE))
_NOT_OF_THE_NETWORK = ("name", "objective", "optimizer")

_TIMM_OPTIONS = (
    "act_layer", "drop_rate", "drop_path_rate", "features_only", "feature_cls", "global_pool", "head_init_scale",
    "img_size", "in_chans", "norm_layer", "num_classes", "out_indices", "output_stride", "patch_size",
    "strict_img_size",
)  # fmt: skip
"""Arguments of `timm.create_model` that a file may set; others read files or download."""

_MOST = {"features": 10**8, "n_local": 32, "n_global": 8, "repeats": 8}
"""The largest number per option, `_LARGEST` for all others; sizes are also bounded by the tensors of the file."""

_LARGEST = 100_000

_MOST_OF_A_LIST = 16


def build_network(
    facts: Mapping[str, Any], state: Mapping[str, Tensor], source: str, registry: Registry = _OURS
) -> nn.Module:
    """Build the network of a model file with its weights.

    It is first built without memory and compared with the tensors of the file, so that no size that a file claims is
    accepted without the matching bytes. `facts` were checked by `schema.check_facts`. UserError for a class or option
    that is not in the registry, or tensors of another network.
    """
    model = facts["configuration"]["model"]
    _require_small(model, source)
    options = {key: value for key, value in model.items() if key not in _NOT_OF_THE_NETWORK}
    channels, side, _ = shape_of(facts)[-3:]
    offered = {"classes": len(facts["classes"]), "in_channels": channels, "image_size": side}
    offered |= {"frames": facts["input"]["frames"], **facts["normalisation"]}  # as in `instantiate.build_model`

    def made() -> nn.Module:
        parts = {name: _part(name, model.get(name), source, channels) for name in _PARTS if name in model}
        network: nn.Module = _call(source, NETWORK, {**options, **parts}, registry, asked=offered)
        return network

    with torch.device("meta"):
        _require_same(made(), state, source)
    network = made()
    network.load_state_dict(dict(state))
    return network


def shape_of(facts: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of one clip's input according to model.json: (t, c, h, w), or (c, h, w) for `apex_flow`."""
    given, taken = facts["input"], facts.get("taken")
    if taken is None:
        return (given["frames"], given["channels"], given["size"], given["size"])
    maps = (len(taken["channels"]), taken["size"], taken["size"])
    if taken["kind"] == "flow":
        return (given["frames"], *maps)
    return (len(taken["phases"]) * maps[0], *maps[1:])


def build_objective(facts: Mapping[str, Any], source: str, registry: Registry = _OURS) -> "Objective[Any]":
    """Build the objective of a model file, for its extras and the probabilities; nothing is trained."""
    options = facts["configuration"]["model"].get("objective")
    if not isinstance(options, Mapping):
        raise UserError(f"{source}: configuration.model.objective is {options!r}; expected a mapping")
    _require_small(options, source)
    label_kind = LabelKind.of_flag(facts["multi_label"])
    objective: Objective[Any] = _call(source, OBJECTIVE, options, registry, label_kind=label_kind)
    try:
        objective.restore(facts["fitted"])
    except ValueError as error:
        raise UserError(f"{source}: fitted: {error}") from error
    return objective


def network_class(facts: Mapping[str, Any]) -> type | None:
    """Return the class of the network of a model file, if it is one of this package."""
    return _OURS[NETWORK].get(facts["configuration"]["model"].get("_target_"))


def _part(name: str, options: object, source: str, channels: int) -> nn.Module | Callable[..., nn.Module]:
    if not isinstance(options, Mapping):
        raise UserError(f"{source}: configuration.model.{name} is {options!r}; expected a mapping")
    options = dict(options)
    later = options.pop("_partial_", False)
    if name == "backbone":
        options["in_channels"] = channels if channels > 1 else options.get("in_channels", 1)  # as in `build_model`
        extra = options.get("options") or {}
        if not isinstance(extra, Mapping) or set(extra) - set(_TIMM_OPTIONS):
            raise UserError(
                f"{source}: configuration.model.backbone.options is {extra!r}; expected some of "
                f"{', '.join(_TIMM_OPTIONS)}"
            )
    return _call(source, name, options, _OURS, later=bool(later))  # type: ignore[no-any-return]


def _call(
    source: str, place: str, options: Mapping[str, Any], registry: Registry, later: bool = False,
    asked: Mapping[str, Any] | None = None, **given: Any,
) -> Any:  # fmt: skip
    """Call the class that the options name, or leave that to the network (`later`)."""
    target = options.get("_target_")
    kind = registry[place].get(target) if isinstance(target, str) else None
    if kind is None:
        where = "configuration.model" + (f".{place}" if place else "")
        raise UserError(
            f"{source}: {where} names {target!r}; expected one of {', '.join(registry[place])}. A model of your own "
            "class can only be used from Python: load_model(path, own=[MyNet, MyObjective])"
        )
    arguments = {key: value for key, value in options.items() if key != "_target_"}
    if "pretrained" in arguments:
        arguments["pretrained"] = False  # the weights are in the file
    known = parameters_of(kind)
    given |= {name: value for name, value in (asked or {}).items() if name in known and name not in arguments}
    if wrong := sorted(set(arguments) - set(known)) + sorted(set(arguments) & set(given)):
        raise UserError(f"{source}: {target} has no option {', '.join(wrong)} in this version")
    for name, value in arguments.items():
        expected = known[name].annotation
        kinds = _KINDS.get(expected)
        if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and expected is not bool)):
            raise UserError(f"{source}: {name} of {target} is {value!r}; expected {expected.__name__}")
    return partial(kind, **arguments) if later else kind(**arguments, **given)


_KINDS: Mapping[Any, Any] = {bool: bool, int: int, float: (int, float), str: str}
"""Annotation of an option → types that its value may have."""


def _require_small(node: Any, source: str, key: str = "") -> None:
    """Refuse classes anywhere but in parts, and longer lists or larger numbers than any network has."""
    if isinstance(node, list | tuple) and len(node) > _MOST_OF_A_LIST:
        raise UserError(f"{source}: {key} has {len(node)} entries; expected at most {_MOST_OF_A_LIST}")
    if isinstance(node, Mapping | list | tuple):
        has_parts = isinstance(node, Mapping) and not key
        for name, value in node.items() if isinstance(node, Mapping) else ((key, value) for value in node):
            if isinstance(value, Mapping) and "_target_" in value and not (has_parts and name in CLASSES):
                raise UserError(f"{source} names a class at {name}, which is not a part of a network")
            _require_small(value, source, name)
    elif isinstance(node, int | float) and abs(node) > _MOST.get(key, _LARGEST):
        raise UserError(f"{source}: {key} is {node}; expected at most {_MOST.get(key, _LARGEST)}")


def _require_same(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) if isinstance(value, Tensor) else () for name, value in state.items()}
    if differing := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        first = differing[0]
        raise UserError(
            f"{source} is not a model that this version of fdp_lightning can build: {len(differing)} tensors differ "
            f"from its configuration; {first} is {found.get(first, 'missing')}, expected {expected.get(first, 'none')}"
        )

"""Name of the trained model: the option of the group `model`, and a run's deviations from it."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fdp_lightning.config import configuration

_NAMED_AT_MOST = 3
_MISSING: Any = object()


def model_name(config: DictConfig) -> str:
    """Return `fdp_tiny`, or `fdp_tiny with pooling=mean` if overrides or experiments changed the option's values.

    Only changes of the network, its losses and its training are named; the budget is reported beside the name.
    """
    model: Any = OmegaConf.to_container(config.model, resolve=True)
    name = str(model.get("name", "unnamed"))
    try:
        plain = _plain(name)
    except (HydraException, OmegaConfBaseException):  # a model of the user's own, named in no file of conf/model
        return name
    changes = list(_changes(plain, model))
    if not changes:
        return name
    more = [f"{len(changes) - _NAMED_AT_MOST} more"] if len(changes) > _NAMED_AT_MOST else []
    return f"{name} with {', '.join([*changes[:_NAMED_AT_MOST], *more])}"


@cache
def _plain(name: str) -> Mapping[str, Any]:
    plain: Any = OmegaConf.to_container(configuration(f"model={name}").model, resolve=True)
    return plain  # type: ignore[no-any-return]


def _changes(plain: Mapping[str, Any], model: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield `key=value` for each difference; for a part of another class only the class, without its options."""
    for key in dict.fromkeys([*plain, *model]):
        before, now = plain.get(key, _MISSING), model.get(key, _MISSING)
        name = f"{path}{key}"
        if before == now or name in ("name", "optimizer.steps"):
            continue
        if now is _MISSING:
            yield f"no {name}"
        elif isinstance(now, Mapping) and isinstance(before, Mapping):
            if now.get("_target_") != before.get("_target_"):
                yield f"{name}={_class(now)}"
            else:
                yield from _changes(before, now, f"{name}.")
        else:
            yield f"{name}={_class(now) if isinstance(now, Mapping) else now}"


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", "other")).rsplit(".", 1)[-1]

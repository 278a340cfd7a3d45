"""The search space: configuration keys and their candidate values, sampled by Optuna."""

import json
import math
import re
from collections.abc import Mapping
from itertools import product
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError

if TYPE_CHECKING:
    import optuna

_TRAINING = re.compile(r"^(model|trainer)([./].+)?$|^data\.(sampling|augmentation|faces|batch_size)(\..+)?$")
_WORD = re.compile(r"^[A-Za-z][\w.+-]*$")
_DIGITS = 4  # significant digits of proposed numbers; more have no effect but make names of run folders unreadable

Value = None | bool | int | float | str


class Space:
    """A search space.

    Args:
        space: {low, high, log, step} or {choices} for each configuration key.

    Raises:
        UserError: a key is not a setting of the training, or a range is invalid.
    """

    def __init__(self, space: Mapping[str, Mapping[str, Any]]) -> None:
        checked = {key: _checked(key, of_key) for key, of_key in space.items()}
        self._ranges = dict(sorted(checked.items()))  # sorted, so that the points do not depend on the given order

    @classmethod
    def of(cls, config: DictConfig) -> "Space":
        space = config.tune.space
        if not OmegaConf.is_dict(space) or not space:
            raise UserError(
                "tune.space is not set. Choose a search space (+space=optimizer) or give your own:\n"
                "  'tune.space={model.optimizer.lr: {low: 1e-4, high: 1e-2, log: true}}'"
            )
        return cls(OmegaConf.to_container(space, resolve=True))  # type: ignore[arg-type]

    @property
    def size(self) -> int | None:
        """Number of points; None if the space contains a range."""
        choices = [of_key.get("choices") for of_key in self._ranges.values()]
        return None if None in choices else prod(map(len, choices))  # type: ignore[arg-type]

    def corners(self) -> list[list[str]]:
        """Return the fewest points that cover every choice and both ends of every range, as overrides."""
        values = {key: of.get("choices") or [of["low"], of["high"]] for key, of in self._ranges.items()}
        longest = max(map(len, values.values()))
        return [self.overrides({key: of[i % len(of)] for key, of in values.items()}) for i in range(longest)]

    def distributions(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, Any] = {}
        for key, of_key in self._ranges.items():
            is_whole = all(isinstance(of_key.get(name, 1), int) for name in ("low", "high", "step"))
            of_range = IntDistribution if is_whole else FloatDistribution
            try:
                found[key] = (CategoricalDistribution if "choices" in of_key else of_range)(**of_key)
            except ValueError as error:
                raise UserError(f"tune.space: {key}: {error}") from error
        return found

    def check_sampler(self, name: str) -> None:
        """Raise UserError if the sampler cannot propose points of this space."""
        if name == "grid" and self.size is None:
            ranges = [key for key, of_key in self._ranges.items() if "choices" not in of_key]
            raise UserError(f"tune.sampler=grid needs choices, but these keys have a range: {', '.join(ranges)}")

    def study(self, sampler: str, seed: int, minimise: bool) -> "optuna.Study":
        """Return an Optuna study that proposes points; equal seeds and scores lead to equal points."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers = optuna.samplers
        proposing = samplers.TPESampler(seed=seed) if sampler == "tpe" else samplers.RandomSampler(seed)
        study = optuna.create_study(sampler=proposing, direction="minimize" if minimise else "maximize")
        if sampler == "grid":  # Optuna's GridSampler stops the study when it is exhausted, which fails with `ask`
            grid = list(product(*(of_key["choices"] for of_key in self._ranges.values())))
            Random(seed).shuffle(grid)  # so that few trials do not only cover a corner of the grid
            for point in grid:
                study.enqueue_trial(dict(zip(self._ranges, point, strict=True)))
        return study

    def values(self, proposed: Mapping[str, Value]) -> dict[str, Value]:
        """Return a proposed point with its numbers rounded, within their ranges."""
        found = dict[str, Value]()
        for key, of_key in self._ranges.items():
            found[key] = value = proposed[key]
            if isinstance(value, float) and "choices" not in of_key:
                found[key] = float(min(max(float(f"{value:.{_DIGITS}g}"), of_key["low"]), of_key["high"]))
        return found

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """Return a point as the overrides of a command."""
        return [f"{key}={_text(value)}" for key, value in values.items()]


def _checked(key: str, of_key: Any) -> dict[str, Any]:
    where = f"tune.space: {key}"
    if not isinstance(key, str) or not _TRAINING.match(key):
        raise UserError(
            f"{where} is not a setting of the training. Expected keys of model, trainer, data.sampling, "
            "data.augmentation, data.faces or data.batch_size: a search must not choose clips, subjects or seed by "
            "their score"
        )
    match of_key:
        case {"choices": [_, *_] as choices, **more} if not more and all(isinstance(one, Value) for one in choices):
            return {"choices": choices}
        case {"low": low, "high": high, **more} if set(more) <= {"log", "step"}:
            given = {name: value for name, value in of_key.items() if value is not None}
            numbers = (low, high, given.get("step", 1))
            is_range = all(type(n) in (int, float) and math.isfinite(n) for n in numbers) and low < high
            if is_range and isinstance(given.get("log", False), bool):
                return given
    raise UserError(
        f"{where} is {of_key!r}; expected {{low: 1e-4, high: 1e-2, log: true}}, with low below high and log or step "
        "optional, or {choices: [a, b]} of numbers, words, true, false or null"
    )


def _text(value: Value) -> str:
    """Return a value as text that Hydra parses to the same type."""
    if isinstance(value, str) and (not _WORD.match(value) or value.lower() in ("true", "false", "null", "nan", "inf")):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return value if isinstance(value, str) else json.dumps(value)

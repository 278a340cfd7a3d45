"""Say what a user mistyped, and what was probably meant."""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from fdp_lightning.config import CONF_DIR, configuration

_DEBUG = re.compile(r"^\+?debug=['\"]?(\w+)['\"]?$", re.IGNORECASE)
_UNKNOWN_KEY = re.compile(r"Could not override '([^']+)'")
_MISSING_IN_LIST = re.compile(r"Could not load '(.+)/([^/']+)'")
_MISSING_OPTION = re.compile(r"Could not find '([^']+)'\s+Available options in '([^']+)':\n(.*?)\nConfig search", re.S)


def normalise_debug(argument: str) -> str:
    """Let `debug=true`, `debug=smoke` and `+debug=smoke` all choose an option of the group `debug`.

    Hydra reads a bare `true` as a boolean, which cannot name an option of a group, and refuses `+` for a group that
    is in the defaults list.
    """
    match = _DEBUG.match(argument)
    if match is None:
        return argument
    choice = match[1].lower()
    return "debug=null" if choice in ("false", "null") else f"debug='{choice}'"


def multirun_first(arguments: Sequence[str]) -> list[str]:
    """Let `-m` stand anywhere: argparse takes overrides on one side of it only."""
    sweeping = [argument for argument in arguments if argument in ("-m", "--multirun")]
    return [*sweeping[:1], *(argument for argument in arguments if argument not in sweeping)]


def explain(error: BaseException, arguments: Sequence[str]) -> str:
    """The message for a user's mistake: what was wrong and what to do, without a traceback."""
    text = str(error)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return text
    if match := _UNKNOWN_KEY.search(text):
        return _explain_unknown_key(match[1], arguments)
    if match := _MISSING_OPTION.search(text):
        options = match[3].split()
        return (
            f"there is no '{match[1]}'.{_guess(match[1].split('/')[-1], options)}\n  {match[2]}: {', '.join(options)}"
        )
    if match := _MISSING_IN_LIST.search(text):  # of group=[a,b] Hydra does not say what there is
        group, option = match.groups()
        options = sorted(path.stem for path in (CONF_DIR / group).glob("[!_]*.yaml"))
        return f"there is no '{group}/{option}'.{_guess(option, options)}\n  {group}: {', '.join(options)}"
    if isinstance(error, OverrideParseException):
        key = error.override.partition("=")[0]
        return (
            f"the argument {error.override} cannot be read: ( ) [ ] {{ }} , : ~ and blanks mean something to Hydra.\n"
            f"  Put the value into two pairs of quotes: \"{key}='…'\""
        )
    if isinstance(error, MissingMandatoryValue) and error.full_key:
        return f"{error.full_key} is not set. Give it on the command line: {error.full_key}=…"
    cause = f"\n  {error.__cause__}" if error.__cause__ else ""
    return f"{text}{cause}"


def _explain_unknown_key(key: str, arguments: Sequence[str]) -> str:
    known = _known_keys(key, arguments)
    hint = _guess(key, known) or "\n  All keys: python -m fdp_lightning --cfg job"
    return f"the configuration has no key '{key}'.{hint}"


def _known_keys(bad_key: str, arguments: Sequence[str]) -> list[str]:
    """All keys and groups of the configuration the command would have made without the bad key."""
    overrides = [a for a in arguments if "=" in a and not a.startswith("-") and bad_key not in a]
    try:
        given = OverridesParser.create().parse_overrides(overrides)
        single = [override.input_line or "" for override in given if not override.is_sweep_override()]
        config = configuration(*single, hydra=bad_key.startswith("hydra."))
    except (HydraException, OmegaConfBaseException):
        # A second mistake on the same line: there is nothing to compare with, so there is no guess.
        return []
    return [*_flatten(config), "debug", "experiment"]


def _flatten(config: DictConfig, prefix: str = "") -> Iterator[str]:
    plain: dict[Any, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    stack = [(prefix, plain)]
    while stack:
        path, node = stack.pop()
        for key, value in node.items():
            name = f"{path}{key}"
            yield name
            if isinstance(value, dict):
                stack.append((f"{name}.", value))


def _guess(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if not close:
        # `max_epochs` for `trainer.max_epochs`: the last part is right, the path is missing.
        close = [name for name in known if name.split(".")[-1] == word.split(".")[-1]][:3]
    if not close:
        # `slurm` for `submitit_slurm`
        close = [name for name in known if word in name.split("_")][:3]
    return f" Did you mean {' or '.join(close)}?" if close else ""

"""Short commands: `fdp-lightning predict clip.mp4` is `task=predict predict.input=clip.mp4`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from fdp_lightning.config import TASKS
from fdp_lightning.errors import UserError

BARE_VALUE = {
    "predict": "predict.input",
    "demo": "demo.checkpoint",
    "report": "run",
    "compare": "runs",
    "export": "export.checkpoint",
    "convert": "convert.input",
}
"""Task → the option whose value may follow it without a key."""

_SEVERAL = ("compare",)
"""Tasks whose option takes a list."""

_KEY = re.compile(r"[\w+~@./:-]+")

_MULTIRUN = ("-m", "--multirun")


def written_out(arguments: Sequence[str]) -> list[str]:
    """Replace a task given as a word, and values without a key that follow it, by options.

    Raises:
        UserError: the task is given twice, or there are more values than the task takes.
    """
    place = next((i for i, argument in enumerate(arguments) if argument not in _MULTIRUN), len(arguments))
    task = arguments[place].replace("-", "_") if place < len(arguments) else ""
    if task not in TASKS:
        return list(arguments)
    others = [*arguments[:place], *arguments[place + 1 :]]
    if named := next((argument for argument in others if argument.startswith("task=")), ""):
        raise UserError(f"the task is given twice, as {arguments[place]} and as {named}; give it once")
    key = BARE_VALUE.get(task)
    if key is None:  # Hydra refuses values without a key
        return [f"task={task}", *others]
    bare: list[str] = []
    named_ones: list[str] = []
    for before, argument in zip(["", *others], others, strict=False):
        # The value of one of Hydra's flags (--cfg job) has no key either.
        is_value_of_flag = before.startswith("-") and before not in _MULTIRUN
        is_bare = not (argument.startswith("-") or is_value_of_flag or _is_option(argument))
        (bare if is_bare else named_ones).append(argument)
    if len(bare) > 1 and task not in _SEVERAL:
        raise UserError(
            f"{task} takes one value without a name ({key}); found {len(bare)}: {', '.join(bare)}"
            + (". A folder may hold many clips" if task == "predict" else "")
        )
    if bare and (given := next((argument for argument in named_ones if argument.startswith(f"{key}=")), "")):
        raise UserError(f"{key} is given twice, as {bare[0]} and as {given}; give it once")
    values = [_quoted(value) for value in bare]
    option = [f"{key}={values[0] if len(values) == 1 else '[' + ','.join(values) + ']'}"] if bare else []
    return [f"task={task}", *option, *named_ones]


def with_home(argument: str) -> str:
    """Expand ~/ at the beginning of a value, as shells do in assignments, though not all in arguments."""
    key, _, value = argument.partition("=")
    if not value.startswith("~/") or "," in value:  # in a list of a sweep it stays
        return argument
    return f"{key}={_quoted(str(Path(value).expanduser()))}"


def readable(argument: str) -> str:
    """Quote a value that Hydra cannot read as it is, such as a path with letters of other scripts or parentheses.

    Lists, mappings and sweeps keep their meaning, and so do their mistakes.
    """
    key, _, value = argument.partition("=")
    if not _is_option(argument) or value[:1] in ("", *"'\"[{~") or "," in value or "${" in value:
        return argument
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return f"{key}={_quoted(value)}"
    return argument


def _is_option(argument: str) -> bool:
    """Return True for `key=value`, unless it is the name of a file, as `take=2.mp4` may be."""
    key, equals, _ = argument.partition("=")
    return bool(equals) and _KEY.fullmatch(key) is not None and not os.path.lexists(argument)


def _quoted(value: str) -> str:
    """Return a value quoted for Hydra, because file names may contain its special characters."""
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)  # OmegaConf halves the backslashes before ${
    return QuotedString(escaped, Quote.single).with_quotes()

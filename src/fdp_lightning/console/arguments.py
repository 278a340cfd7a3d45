"""Command-line arguments: short commands, Hydra's form, and messages that suggest the closest valid input."""

import difflib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from fdp_lightning.config import ADDED_GROUPS, CONF_DIR, EXPERIMENTS, TASKS, Root, configuration
from fdp_lightning.console.option_values import ALLOWED, guess
from fdp_lightning.errors import UserError, first_line

BARE_VALUE = {
    "predict": "predict.input",
    "demo": "demo.checkpoint",
    "report": "run",
    "compare": "runs",
    "export": "export.checkpoint",
    "convert": "convert.input",
}
"""Task → the option whose value may follow it without a key."""

_KEY = re.compile(r"[\w+~@./:-]+")

_MULTIRUN = ("-m", "--multirun")


def written_out(arguments: Sequence[str]) -> list[str]:
    """Replace a task given as a word, and values without a key that follow it, by options.

    UserError if the task or its option is given twice, or there are more values than the task takes.
    """
    place = next((i for i, argument in enumerate(arguments) if argument not in _MULTIRUN), len(arguments))
    task = arguments[place].replace("-", "_") if place < len(arguments) else ""
    if task not in TASKS:
        return list(arguments)
    others = [*arguments[:place], *arguments[place + 1 :]]
    bare: list[str] = []
    left: list[str] = []
    for before, argument in zip(["", *others], others, strict=False):
        # The value of one of Hydra's flags (--cfg job) has no key either.
        is_value_of_flag = before.startswith("-") and before not in _MULTIRUN
        is_bare = not (argument.startswith("-") or is_value_of_flag or _is_option(argument))
        (bare if is_bare and task in BARE_VALUE else left).append(argument)  # Hydra refuses values of other tasks
    if len(bare) > 1 and task != "compare":
        hint = ". A folder may hold many clips" if task == "predict" else ""
        raise UserError(f"{task} takes one value without a name ({BARE_VALUE[task]}); found {len(bare)}{hint}")
    given = {"task": task}
    if bare:
        values = [_quoted(value) for value in bare]
        given[BARE_VALUE[task]] = values[0] if len(values) == 1 else f"[{','.join(values)}]"
    for key, value in given.items():
        if again := next((argument for argument in left if argument.startswith(f"{key}=")), ""):
            raise UserError(f"{key} is given twice, as {value} and as {again}; give it once")
    return [*(f"{key}={value}" for key, value in given.items()), *left]


def with_home(argument: str) -> str:
    """Expand ~/ at the beginning of a value, as shells do in assignments, but not always in arguments."""
    key, _, value = argument.partition("=")
    if not value.startswith("~/") or "," in value:  # kept in the list of a sweep
        return argument
    return f"{key}={_quoted(str(Path(value).expanduser()))}"


def readable(argument: str) -> str:
    """Quote a value that Hydra cannot read as it is, such as a path with non-Latin letters or parentheses.

    Lists, mappings and sweeps are returned unchanged, with any mistakes in them.
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


_OTHER_WORDS = {
    "train": ("loso", "fit"), "cv": ("loso",), "run": ("loso",), "test": ("loso", "report"),
    "evaluate": ("loso", "report"), "eval": ("loso", "report"), "infer": ("predict",), "inference": ("predict",),
    "search": ("tune",), "optimize": ("tune",), "check": ("check_data",), "download": ("check_data",),
    "preprocess": ("prepare",), "align": ("prepare",), "serve": ("demo",), "onnx": ("export",),
}  # fmt: skip
"""Names of tasks in other projects → tasks of this one."""

_FLAGS = (
    "--help", "-h", "--hydra-help", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r", "--multirun", "-m",
    "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--experimental-rerun", "--info", "-i",
)  # fmt: skip
"""Hydra's flags; argparse would also accept abbreviations."""

_DEBUG = re.compile(r"^\+?debug=['\"]?(\w+)['\"]?$", re.IGNORECASE)
_DEBUG_OFF = re.compile(r"\+?debug=['\"]?(false|null)['\"]?", re.IGNORECASE)
_HIDDEN_OPTION = re.compile(r"\+*([\w/]+)=['\"]?(_\w+)['\"]?")
_REFUSED = re.compile(r"Value '(.*)'(?: of type|\s\(|$)")
_NO_OPTION = re.compile(r"\+?(?!debug)(\w+)=(null|true|false|[-+.\d]+)", re.IGNORECASE)
_UNKNOWN_KEY = re.compile(r"Could not override '([^']+)'")
_MISSING_IN_LIST = re.compile(r"Could not load '(.+)/([^/']+)'")
_DOUBLE_CHOICE = re.compile(r"Multiple values for (\S+)\. To override|^(\S+) appears more than once in the final")
_MISSING_OPTION = re.compile(r"Could not find '([^']+)'\s+Available options in '([^']+)':\n(.*?)\nConfig search", re.S)


def normalised(arguments: Sequence[str]) -> list[str]:
    """Return the arguments in the form that Hydra reads.

    UserError if a flag is unknown, a group's value cannot be an option, or a short command is ambiguous.
    """
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag.startswith("-") and flag not in _FLAGS:
            key = flag.lstrip("-").replace("-", "_")
            raise UserError(
                f"there is no flag {flag}. Options are written without dashes: "
                f"{'+' if key in ADDED_GROUPS else ''}{key}={value or '…'}\n  All flags: --hydra-help"
            )
        if argument.startswith("="):
            raise UserError(f"the argument {argument} has no key. Expected key=value")
        if (hidden := _HIDDEN_OPTION.fullmatch(argument)) and (CONF_DIR / hidden[1]).is_dir():
            raise UserError(_no_option(hidden[1], hidden[2], _options(hidden[1])))  # a part shared by options
        # Hydra would raise a ValueError.
        if (given := _NO_OPTION.fullmatch(argument)) and (given[1] in ADDED_GROUPS or (CONF_DIR / given[1]).is_dir()):
            raise UserError(f"{argument}: expected {flag}={'|'.join(_options(given[1]))}")
    # Hydra reads a bare debug=true as a boolean, which names no option, and rejects + for a group in the defaults.
    words = [_DEBUG.sub(lambda match: f"debug='{match[1].lower()}'", word) for word in arguments]
    words = [
        readable(with_home("--help" if word == "help" else word)) for word in words if not _DEBUG_OFF.fullmatch(word)
    ]
    options = written_out(words)
    sweeping = [option for option in options if option in ("-m", "--multirun")]
    # argparse accepts overrides on one side of -m only.
    return [*sweeping[:1], *(option for option in options if option not in sweeping)]


def check_task(task: str) -> None:
    if task in TASKS:
        return
    known = [*TASKS, *_OTHER_WORDS]
    near = [task] if task in known else difflib.get_close_matches(task, known, n=2, cutoff=0.6)
    names = dict.fromkeys(name for word in near for name in _OTHER_WORDS.get(word, (word,)))
    hint = f" Did you mean {' or '.join(names)}?" if names else ""
    raise UserError(f"there is no task '{task}'.{hint}\n  Tasks: {', '.join(TASKS)}")


def explain(error: BaseException, arguments: Sequence[str]) -> str:
    """Return the message for a user's mistake: what was wrong and what to do, without a traceback."""
    text = str(error)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return text
    if match := _UNKNOWN_KEY.search(text):
        return _explain_unknown_key(match[1], arguments)
    if match := _MISSING_OPTION.search(text):
        options = [option for option in match[3].split() if not option.strip(",").startswith("_")]
        return _no_option(match[2], match[1].removeprefix(f"{match[2]}/"), options)
    if match := _MISSING_IN_LIST.search(text):  # for group=[a,b] Hydra does not list the options
        return _no_option(match[1], match[2], _options(match[1]))
    if match := _DOUBLE_CHOICE.search(text):
        group = match[1] or match[2]
        value = next((a.partition("=")[2] for a in arguments if a.startswith(f"+{group}=")), "…")
        return f"{group} already has an option; to replace it write {group}={value}, without +"
    if isinstance(error, OverrideParseException):
        key, equals, _ = error.override.partition("=")
        if not equals:
            return f"the argument {key} has no value. Expected key=value{_as_value(key)}"
        return (
            f"the argument {error.override} cannot be read: ( ) [ ] {{ }} , : ~ and spaces are special in Hydra.\n"
            f"  Enclose the value in two pairs of quotes: \"{key}='…'\""
        )
    if isinstance(error, MissingMandatoryValue) and error.full_key:
        return f"{error.full_key} is not set. Give it on the command line: {error.full_key}=…"
    if message := _explain_value(error):
        return message
    cause = f"\n  {error.__cause__}" if error.__cause__ else ""
    return f"{text}{cause}"


def _no_option(group: str, option: str, options: list[str]) -> str:
    return f"there is no '{group}/{option}'.{guess(option, options)}\n  {group}: {', '.join(options)}"


def _as_value(word: str) -> str:
    """Return ': ' and the option of which a bare word is a value; '' if there is none."""
    if tasks := (word,) if word in TASKS else _OTHER_WORDS.get(word):
        return f": task={' or task='.join(tasks)}"
    groups = [path.parent.name for path in CONF_DIR.glob(f"*/{glob.escape(word)}.yaml")]
    return f": {'+' if groups[0] in ADDED_GROUPS else ''}{groups[0]}={word}" if groups else ""


def _explain_value(error: BaseException) -> str:
    """Return the message for a value of the wrong type, worded as for other wrong values; '' for other errors."""
    cause = error.__cause__ if isinstance(error, HydraException) else error
    key = getattr(cause, "full_key", None)
    if not isinstance(cause, ValidationError) or not key:
        return ""
    section = Root.__dataclass_fields__[key].type if key in Root.__dataclass_fields__ else None
    if isinstance(section, type) and is_dataclass(section):
        names = ", ".join(f"{key}.{field.name}" for field in fields(section))
        return f"{key} is a section, not an option. Expected one of {names}"
    first = str(error).splitlines()[0]
    # For an interpolation OmegaConf names the value itself.
    found = refused[1] if (refused := _REFUSED.search(first)) else first.partition("=")[2]
    expected = ALLOWED[key].words if key in ALLOWED else first_line(cause)
    return f"{key} is {found!r}; expected {expected}"


def _explain_unknown_key(key: str, arguments: Sequence[str]) -> str:
    if key in ADDED_GROUPS:
        value = next((a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")), "")
        options = _options(key)
        missing = "" if value in ("", *options) else f"\n  There is no {key} '{value}'.{guess(value, options)}"
        return f"write +{key}={value or '…'}: {key} has no default to override.{missing}"
    if key in ALLOWED:
        group = key.partition(".")[0]
        return f"{key} is an option of other choices of {group}=, not of this one; +{key}=… adds it anyway"
    known = _known_keys(key, arguments)
    hint = guess(key, known) or "\n  All keys: python -m fdp_lightning --cfg job"
    return f"the configuration has no key '{key}'.{hint}"


def _options(group: str) -> list[str]:
    if group == "study":
        return sorted(path.parent.name for path in EXPERIMENTS.glob("*/sweep.yaml"))
    return sorted(path.stem for path in (CONF_DIR / group).glob("[!_]*.yaml"))


def _known_keys(bad_key: str, arguments: Sequence[str]) -> list[str]:
    """Return all keys and groups of the configuration that the command would have without the bad key."""
    overrides = [a for a in arguments if "=" in a and not a.startswith("-") and bad_key not in a]
    try:
        given = OverridesParser.create().parse_overrides(overrides)
        single = [override.input_line or "" for override in given if not override.is_sweep_override()]
        config = configuration(*single, hydra=bad_key.startswith("hydra."))
    except (HydraException, OmegaConfBaseException):
        # There is a second mistake on the same line: without a configuration there is no guess.
        return []
    plain: dict[Any, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return [*_paths(plain), "debug", "experiment"]


def _paths(node: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")

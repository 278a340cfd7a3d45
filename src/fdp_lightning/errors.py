"""Exceptions for a user's mistakes, by which the command line distinguishes them from bugs."""

from unicodedata import category


class UserError(Exception):
    """A mistake that the user can correct: reported without a traceback, exit code 2.

    The message names the file or key, what was found, what was expected, and what to do.
    """


def visible(text: str) -> str:
    """Return text for a terminal or a table, with control characters as escapes: names of files may hold commands."""
    return "".join(
        repr(letter)[1:-1] if category(letter) == "Cc" and letter not in "\n\t" else letter for letter in text
    )


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or the name of its class where it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


class DiskError(UserError):
    """A full disk or a path without permission: a search, which continues after other mistakes, stops at this one."""

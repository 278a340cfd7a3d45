"""Exceptions for a user's mistakes, by which the command line distinguishes them from bugs."""


class UserError(Exception):
    """A mistake that the user can correct: reported without a traceback, exit code 2.

    The message names the file or key, what was found, what was expected, and what to do.
    """


class DiskError(UserError):
    """A full disk or a path without permission: a search, which continues after other mistakes, stops at this one."""

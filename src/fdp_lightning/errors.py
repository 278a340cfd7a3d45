"""The one exception a user's mistake raises, so that the command line can tell it from a bug."""


class UserError(Exception):
    """A mistake the user can mend: reported without a traceback, exit code 2.

    The message names the file or key, what was expected, and what to do.
    """


class DiskError(UserError):
    """A full disk or a forbidden place: what goes on after a mistake, such as a search, need not try again."""

"""The one error that users see: a single line that names the file, line or flag, and what to do about it."""

import sys


class UserError(ValueError):
    """Something that the user can put right. Its text is one line; command lines print it without a traceback."""


def check(condition, message):
    """Raise a :class:`UserError` unless a condition holds."""
    if not condition:
        raise UserError(message)


def report_in_one_line():
    """From here on an uncaught :class:`UserError` ends the process with ``error: ...`` and exit status 1.

    fairseq and hydra re-raise errors as plainer ones of their own, so the whole chain of causes is searched.
    """
    default_hook = sys.excepthook
    if getattr(default_hook, "reports_user_errors", False):
        return

    def hook(kind, error, traceback):
        user_error = find_user_error(error)
        if user_error is None:
            default_hook(kind, error, traceback)
        else:
            print(f"error: {user_error}", file=sys.stderr)

    hook.reports_user_errors = True
    sys.excepthook = hook


def find_user_error(error):
    """Return the :class:`UserError` among an exception and what it was raised from, or None."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error

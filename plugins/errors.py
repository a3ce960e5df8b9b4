"""The error type for everything a user can fix, reported as a single line, and text that is safe to show."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

LONGEST_VALUE = 200  # characters of a value in an error
LONGEST_MESSAGE = 2000
# Control characters (ESC, BEL, C1), bidirectional controls, line and paragraph separators, byte-order mark.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_UNSAFE_ON_TERMINAL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ALLOCATED = re.compile(r"you tried to allocate (\d+) bytes")  # torch, of memory on a CPU


Kind = TypeVar("Kind", bound=BaseException)


class UserError(ValueError):
    """An error that the user can fix. Command lines print it without a traceback.

    The message is one line: control characters are escaped, and a very long message is shortened in the middle.
    """

    def __init__(self, message: object = ""):
        super().__init__(_cut(_UNSAFE.sub(_escape, str(message))))


def check(condition: object, message: str) -> None:
    """Raise a :class:`UserError` unless a condition is true."""
    if not condition:
        raise UserError(message)


@contextmanager
def located(place: object) -> Iterator[None]:
    """Prefix the message of a :class:`UserError` in the block with the file or flag that it concerns."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def flag(name: str) -> str:
    """Return how an option is written on the command line."""
    return "--" + name.replace("_", "-")


def shown(value: object, limit: int = LONGEST_VALUE) -> str:
    """Return the ``repr`` of a value for an error message, at most ``limit`` characters long."""
    text = repr(value[: limit + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def shortened(text: str, limit: int = 200) -> str:
    """Return a text from outside as it may appear in an error: printable, on one line, at most ``limit`` characters."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line[: 2 * limit])
    return line if len(line) <= limit else line[: limit - 1] + "\u2026"


def printable(text: str) -> str:
    """Return a text with the characters escaped that control a terminal; line feeds and tabs are kept.

    Use it for generated text and file names that go to a terminal. Escapes are Python's: ESC becomes ``\\x1b``.
    """
    return _UNSAFE_ON_TERMINAL.sub(_escape, text)


def _escape(match: re.Match) -> str:
    return "\\n" if match[0] == "\n" else ascii(match[0])[1:-1]


def _cut(message: str) -> str:
    if len(message) <= LONGEST_MESSAGE:
        return message
    return f"{message[: LONGEST_MESSAGE * 3 // 4]} ... {message[-LONGEST_MESSAGE // 5 :]}"  # file first, remedy last


def report_in_one_line() -> None:
    """Install an exception hook that prints a :class:`UserError` as ``error: ...``; the exit status is 1.

    Ctrl-C prints ``interrupted`` instead of a traceback.

    fairseq and hydra re-raise errors as exceptions of their own, and a block of another library that Ctrl-C leaves
    halfway can fail in its cleanup, so the whole chain of causes is searched.
    """
    default_hook = sys.excepthook
    if getattr(default_hook, "reports_user_errors", False):
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        user_error = find_user_error(error)
        if was_interrupted(error):
            print("interrupted", file=sys.stderr)
        elif user_error is None and (problem := lack_of_memory(error)):
            print(f"error: {problem}", file=sys.stderr)
        elif user_error is None:
            default_hook(kind, error, traceback)
        else:
            print(f"error: {user_error}", file=sys.stderr)

    setattr(hook, "reports_user_errors", True)  # noqa: B010 (functions have no declared attributes)
    sys.excepthook = hook


def lack_of_memory(error: BaseException | None) -> str | None:
    """Return in one line that the memory of the machine does not suffice, if that is an exception or its cause.

    numpy and Python raise MemoryError, torch a RuntimeError. Errors of GPUs keep torch's advice.
    """
    while error is not None:
        size = _ALLOCATED.search(str(error)) if isinstance(error, RuntimeError) else None
        if size or isinstance(error, MemoryError):
            needed = f" (a tensor of {int(size[1]) / 1e9:,.1f} GB)" if size and len(size[1]) < 30 else ""
            return f"not enough memory{needed}: choose a smaller model, smaller batches or shorter inputs"
        error = error.__cause__
    return None


def find_user_error(error: BaseException | None) -> UserError | None:
    """Return the :class:`UserError` in a chain of exceptions, or None."""
    return find_in_chain(error, UserError)


def was_interrupted(error: BaseException) -> bool:
    """Return whether an exception was caused by Ctrl-C.

    A :class:`UserError` that is raised while Ctrl-C is handled is an error of its own if it has no cause, or if its
    cause is an OSError, such as a full disk. If its cause is an error of a library, Ctrl-C caused it: ``torch.save``,
    for example, fails when it closes an incomplete file.
    """
    explained: BaseException | None = error
    while isinstance(explained, UserError):
        explained = explained.__cause__
    if explained is not error and isinstance(explained, OSError | KeyboardInterrupt):
        return False
    return find_in_chain(explained, KeyboardInterrupt) is not None


def find_in_chain(error: BaseException | None, kind: type[Kind]) -> Kind | None:
    """Return the first exception of a kind in a chain of causes, or None; ``raise ... from None`` ends the chain."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error

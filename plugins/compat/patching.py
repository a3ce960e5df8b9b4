"""Replace functions of fairseq and record each replacement."""

import functools
from collections.abc import Callable

REPAIRS: list[tuple[str, str]] = []  # (name, what it does), for scripts/doctor.py


def repaired(name: str, what: str) -> None:
    """Record a repair."""
    REPAIRS.append((name, what))


def wrap(owner: object, name: str, wrapper: Callable) -> None:
    """Replace ``owner.name`` by ``wrapper(original, ...)``."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args, **kwargs):
        return wrapper(original, *args, **kwargs)

    setattr(owner, name, wrapped)

"""Registry of the loaders of :func:`plugins.hub.load`, by the model class that a checkpoint names."""

from collections.abc import Callable
from typing import Any

from plugins.errors import UserError, shown

from .options import required_model, stored_options
from .reading import read_state

LOADERS: dict[type, tuple[str, Callable[..., Any]]] = {}  # model class: (kind, loader)


def loads(kind: str, model: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the loader of checkpoints of a model class and of its subclasses.

    Args:
        kind: the short name that :func:`kind_of` returns.
        model: the registered class.

    The function is called with (path, base): see :func:`plugins.hub.load`.
    """

    def register(loader: Callable[..., Any]) -> Callable[..., Any]:
        LOADERS[model] = (kind, loader)
        return loader

    return register


def load(path: str, base: str | None = None) -> Any:
    """Load a checkpoint with the loader of its kind.

    Raises:
        UserError: no loader is registered for its model, or the file is missing or damaged.
    """
    return find(read_state(path), path)[1](path, base)


def kind_of(path: str) -> str:
    """Return the kind of a checkpoint: "masked_lm", "char_lm" (nanoGPT's, too), "causal_lm", or a plugin's own.

    Raises:
        UserError: as :func:`load`.
    """
    return find(read_state(path), path)[0]


def find(state: dict, path: str) -> tuple[str, Callable[..., Any]]:
    """Return (kind, loader) for the content of a checkpoint.

    Raises:
        UserError: its model is not registered, or no kind has it.
    """
    options, _ = stored_options(state)
    if "model_args" in state:  # nanoGPT's format stores no name
        return next(pair for pair in LOADERS.values() if pair[0] == "char_lm")
    model = required_model(options, path)
    for ancestor in model.__mro__:
        if ancestor in LOADERS:
            return LOADERS[ancestor]
    kinds = ", ".join(sorted(kind for kind, _ in LOADERS.values()))
    name = shown(options.get("_name") or options.get("arch"))
    raise UserError(f"{path}: no loader for the model {name}; there are loaders for {kinds}")

"""Names of the tensors of a folder: renamed without two becoming one, and compared with the layers of a config."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from plugins.errors import UserError

from . import files

Found = Mapping[str, tuple[Tensor, Path]]


def renamed(found: Found, name_of: Callable[[str], str | None]) -> dict[str, tuple[Tensor, Path]]:
    """Return {new name: (tensor, its file)}.

    Args:
        found: {name: (tensor, its file)}.
        name_of: returns the new name of a tensor; None leaves it out.

    Raises:
        UserError: two tensors have the same new name, as with and without a prefix; it is not known which one counts.
    """
    names: dict[str, str] = {}
    for name, value in found.items():
        new = name_of(name)
        if new is not None and names.setdefault(new, name) != name:
            raise UserError(f"{value[1]}: contains {names[new]} and {name}, which are the same weight of the model")
    return {new: found[name] for new, name in names.items()}


def check_layers(path: Path, key: str, stated: int, found: Found, prefix: str) -> None:
    """Compare the number of layers in a config with the names of the tensors.

    Args:
        path: path of the config.
        key: the config's key of that number.
        stated: the number.
        prefix: beginning of the names of a layer's tensors, before its number.

    Raises:
        UserError: they differ, or no tensor has this prefix.
    """
    count = files.count_layers(found, prefix)
    if count == 0 and found:
        first = next(iter(found))
        raise UserError(f"{found[first][1]}: no tensor {prefix}0. ..., but {files.shown(first)}; the names have to be "
                        "those of transformers")  # fmt: skip
    files.check_size(path, key, stated, count)

"""The files of a Hugging Face folder: read with checks, written atomically.

A folder has ``config.json``, weights in ``model.safetensors`` or ``pytorch_model.bin``, whole or in parts with an
``.index.json``, and the files of a tokenizer. Files are read as data: nothing in them can run code.
"""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from plugins import checkpoints
from plugins.atomic import rename_new, temporary_folder
from plugins.checkpoints import schema
from plugins.errors import UserError, shortened
from plugins.files import check_readable, read_json

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there; either may be FILE.index.json, in parts
INSTALL = "pip install safetensors (or pip install -e '.[hf]')"
SHARD_SIZE = "5GB"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def is_folder(path: str | os.PathLike) -> bool:
    """Return whether a path is a folder with a ``config.json``."""
    return (Path(path) / CONFIG).exists()


# Configs


def sizes_of(config: Mapping, names: Mapping[str, str], path: Path) -> dict[str, int]:
    """Return the sizes that a config states.

    Args:
        config: the parsed ``config.json``.
        names: {the config's key: our option}.
        path: path of the config, named in errors.

    Returns:
        {our option: a positive integer}.

    Raises:
        UserError: a key is missing or not a positive integer.
    """
    sizes = {}
    for theirs, ours in names.items():
        if theirs not in config:
            raise UserError(f"{path}: no {theirs}; a config.json of this model type has one")
        value = config[theirs]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{path}: {theirs} {shown(value)} is not a positive integer")
        sizes[ours] = value
    return sizes


def number_of(config: Mapping, name: str, default: float, path: Path, positive: bool = False) -> float:
    """Return a number from 0 to 1 that a config states; with ``positive`` it is not 0.

    Raises:
        UserError: it is not such a number.
    """
    value = config.get(name, default)
    if positive and value == 0:
        raise UserError(f"{path}: {name} {shown(value)} is not positive")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UserError(f"{path}: {name} {shown(value)} is not a number from 0 to 1")
    return float(value)


def flag_of(config: Mapping, name: str, default: bool, path: Path) -> bool:
    """Return a boolean that a config states; null is false, as for transformers.

    Raises:
        UserError: it is something else, for example the string "false", which Python takes for true.
    """
    value = config.get(name, default)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{path}: {name} {shown(value)} is not true or false")
    return bool(value)


def check_fixed(config: Mapping, fixed: Mapping[str, Any], path: Path, model: str) -> None:
    """Raise an error for a config that requires what the model does not support.

    Args:
        fixed: {key: the one value that the model has}.

    Raises:
        UserError: a key has another value; it is named.
    """
    for name, value in fixed.items():
        if config.get(name, value) != value:
            raise UserError(f"{path}: {name} {shown(config[name])} is not supported by {model}, only {shown(value)}")


def check_untuned(options: Any) -> None:
    """Raise an error for a model that ``--peft`` tuned.

    Args:
        options: the options of the model.

    Raises:
        UserError: it is tuned.
    """
    method = getattr(options, "peft", None)
    if method not in (None, "none"):
        prompt = "a prompt cannot be merged; the adapter alone is written by scripts/merge_peft.py --export"
        remedy = prompt if str(method) == "prompt" else "merge it first: scripts/merge_peft.py"
        raise UserError(f"this model is tuned by --peft {method}; {remedy}")


def shown(value: Any) -> str:
    """Format a value from a file for an error message."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else text[:97] + "..."


# Weights


def weight_files(folder: Path) -> list[Path]:
    """Return the paths of the files with the weights.

    Raises:
        UserError: no weights exist, or an index names a file outside the folder.
    """
    for name in WEIGHTS:
        if (folder / name).exists():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.exists():
            parts = read_json(index, dict).get("weight_map")
            names = sorted({str(part) for part in parts.values()}) if isinstance(parts, dict) else []
            outside = next((part for part in names if Path(part).name != part), None)
            if outside is not None or not names:
                raise UserError(f"{index}: weight_map names {outside or 'no file'}; files in this folder are needed")
            return [folder / part for part in names]
    raise UserError(f"{folder}: no weights in this folder ({' or '.join(WEIGHTS)})")


def read_weights(folder: Path) -> dict[str, tuple[Tensor, Path]]:
    """Return {name: (tensor, its file)} of a folder; see also :func:`check_finite`.

    Raises:
        UserError: a file is missing or damaged, contains more than tensors of floating-point numbers, or has a tensor
            that another file has, too.
    """
    found: dict[str, tuple[Tensor, Path]] = {}
    for file in weight_files(folder):
        for name, tensor in read_tensors(file).items():
            if found.setdefault(name, (tensor, file))[1] != file:
                raise UserError(f"{file}: contains {name}, which {found[name][1].name} contains, too")
    return found


def check_finite(found: dict[str, tuple[Tensor, Path]]) -> dict[str, tuple[Tensor, Path]]:
    """Return the tensors of :func:`read_weights` that a model takes over, after reading them all.

    Raises:
        UserError: a value is NaN or infinite, or a tensor is a single number without dimensions.
    """
    for name, (tensor, file) in found.items():
        if tensor.ndim == 0:
            raise UserError(f"{file}: {name} is a single number; a vector or a matrix is expected")
        schema.check_finite({name: tensor}, file, "download the folder again, or take another version of the model")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return {name: tensor} of a file.

    Raises:
        UserError: it is missing or damaged, or contains more than tensors of floating-point numbers.
    """
    if path.suffix == ".bin":
        return checkpoints.read_tensors(path)
    load_file = safetensors().load_file
    if not path.exists():
        raise UserError(f"{path}: no such file")
    check_readable(path)  # the library would wait for the writer of a pipe
    try:
        tensors = load_file(path)
    except Exception as error:  # raised by a class of the library
        raise UserError(f"{path}: damaged, or not in safetensors' format ({shortened(str(error))})") from None
    return dict(schema.check_tensors(tensors, path))


def safetensors() -> ModuleType:
    """Return the module ``safetensors.torch``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import safetensors.torch
    except ImportError:
        raise UserError(f"the weights are in safetensors' format: {INSTALL}") from None
    return safetensors.torch


def count_layers(names: Mapping[str, Any], prefix: str) -> int:
    """Return how many layers there are in names ``PREFIX<number>.rest``: the highest number plus one."""
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)}
    return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)


def check_size(path: Path, name: str, stated: int | None, stored: int) -> None:
    """Compare a size in a config with the stored tensors, before anything of that size is built.

    Raises:
        UserError: they differ.
    """
    if stated != stored:
        raise UserError(f"{path}: {name} {stated}, but the weights next to it have {stored}")


# Writing


def write_folder(
    folder: str | os.PathLike,
    files: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    dtype: str | None = "float32",
    stem: str = "model",
) -> None:
    """Write a folder that Hugging Face's libraries load; it is written atomically, with the usual permissions.

    Args:
        folder: a new folder.
        files: {name: bytes, text or JSON data}; a name may have a folder.
        tensors: {name: tensor}; above 5 GB they are written in parts.
        dtype: data type of floating-point tensors in the file: one of :data:`DTYPES`, or None for their own.
        stem: stem of the name of the weights, ``STEM.safetensors``.

    Raises:
        UserError: the folder exists already or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder}: exists already; name a new folder")
    with temporary_folder(folder) as part:
        for name, content in files.items():
            if not isinstance(content, bytes | str):
                content = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (part / name).parent.mkdir(exist_ok=True)
            (part / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        save_tensors(part, tensors, None if dtype is None else DTYPES[dtype], stem)
        for file in part.rglob("*"):
            if file.is_file():
                file.chmod(0o666 & ~umask())
        if not rename_new(part, folder):
            raise UserError(f"{folder}: exists already; name a new folder")


def save_tensors(folder: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype | None, stem: str) -> None:
    """Write tensors as ``STEM.safetensors``, or in parts with an index."""
    save_file = safetensors().save_file
    from huggingface_hub import split_torch_state_dict_into_shards  # safetensors.torch does not split

    state = {
        name: tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in tensors.items()
    }
    split = split_torch_state_dict_into_shards(
        state, filename_pattern=f"{stem}{{suffix}}.safetensors", max_shard_size=SHARD_SIZE
    )
    for name, keys in split.filename_to_tensors.items():
        try:
            save_file({key: state[key] for key in keys}, folder / name, {"format": "pt"})
        except Exception as error:  # not an OSError on a full disk
            if type(error).__name__ != "SafetensorError":
                raise
            raise OSError(errno.EIO, shortened(str(error), 100)) from error
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def umask() -> int:
    """Return the process's umask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Hyperparameters of fine-tuning: RoBERTa's defaults, overrides from a YAML file, and their checks."""

import math
import shlex
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from plugins import files
from plugins.data.glue import specs as glue_specs
from plugins.errors import UserError
from plugins.modules.pooler import POOLERS

# Liu et al., 2019 (arXiv 1907.11692), table 10; learning rates and batch sizes by task are those of fairseq's
# examples/roberta/config/finetuning, with which the published table was made.
HYPERPARAMETERS: dict[str, Any] = {
    "epochs": 10,
    "lr": [1e-5],
    "batch_size": [16],
    "warmup": 0.06,
    "dropout": 0.1,
    "weight_decay": 0.1,
    "clip_norm": 0.0,
    "pooler_type": "bos",
    "layer_lr_decay": 1.0,
    "reinit_layers": 0,
    "max_positions": None,
    "max_tokens": None,
    "options": "",
}
BY_TASK: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("RTE", "STS-B"), {"lr": [2e-5]}),
    **dict.fromkeys(("SST-2", "QNLI", "QQP", "MNLI"), {"batch_size": [32]}),
}


def whole(value: Any) -> int:
    """Convert an integer in any notation; raise ValueError for another number."""
    if float(value) != int(float(value)):
        raise ValueError
    return int(float(value))


def text(value: Any) -> str:
    """Return a string; raise TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError
    return value


def in_words(value: Any) -> str:
    """Return a string that a shell can split; raise TypeError or ValueError for anything else."""
    shlex.split(text(value))
    return value


COUNT = (whole, lambda n: n >= 1, "a whole number of at least 1")
FROM_0 = (whole, lambda n: n >= 0, "a whole number of at least 0")
SHARE = (float, lambda x: 0 <= x < 1, "a number from 0 to below 1")
AMOUNT = (float, lambda x: 0 <= x < math.inf, "a number of at least 0")
KEYS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], bool], str]] = {
    "epochs": COUNT,
    "lr": (float, lambda x: 0 < x < math.inf, "a number above 0"),
    "batch_size": COUNT,
    "warmup": SHARE,
    "dropout": SHARE,
    "weight_decay": AMOUNT,
    "clip_norm": AMOUNT,
    "pooler_type": (text, POOLERS.__contains__, f"one of {', '.join(POOLERS)}"),
    "layer_lr_decay": (float, lambda x: 0 < x <= 1, "a number above 0 and at most 1"),
    "reinit_layers": FROM_0,
    "max_positions": COUNT,
    "max_tokens": COUNT,
    "options": (in_words, lambda _: True, "options of fairseq-train in one string, with balanced quotes"),
    "seeds": FROM_0,
    "intermediate": (text, bool, "the name of a task"),
}
LISTS = ("lr", "batch_size", "seeds")
OPTIONAL = ("max_positions", "max_tokens", "intermediate")


def checked(key: str, value: Any, source: str) -> Any:
    """Return a hyperparameter in its type; those in :data:`LISTS`, given as one value or a list, as distinct values.

    Args:
        key: one of :data:`KEYS`.
        source: file and key, or flag, for errors.

    Raises:
        UserError: it has another type, or is out of range.
    """
    kind, allowed, words = KEYS[key]

    def one(value):
        if value is None and key in OPTIONAL:
            return None
        try:
            found = None if isinstance(value, bool) else kind(value)
        except (TypeError, ValueError, OverflowError):
            found = None
        if found is None or not allowed(found):
            raise UserError(f"{source}: {value!r} is not {words}")
        return found

    if key not in LISTS:
        return one(value)
    if value == []:
        raise UserError(f"{source}: the list is empty; give at least one")
    return list(dict.fromkeys(map(one, value if isinstance(value, list) else [value])))


def read_yaml(path: str | Path, own: Sequence[glue_specs.GlueSpec] = ()) -> dict[str, Any]:
    """Read hyperparameters from a YAML file: :data:`KEYS`, and ``tasks: {RTE: {...}}`` with those of single tasks.

    Args:
        own: specs of tasks that are not GLUE's.

    Raises:
        UserError: unreadable, an unknown key or task, or a value that :func:`checked` refuses.
    """
    content = files.read_yaml(path)
    content = checked_mapping({} if content is None else content, KEYS, path, more=("tasks",))
    tasks = content.get("tasks") or {}
    if not isinstance(tasks, dict):
        raise UserError(f"{path}: tasks: a mapping of tasks to their settings is expected")
    content["tasks"] = {}
    for name, part in tasks.items():
        task = glue_specs.find(str(name), f"{path}: tasks:", own).name
        content["tasks"][task] = checked_mapping(part, HYPERPARAMETERS, f"{path}: tasks: {name}")
    return content


def checked_mapping(content: Any, known: Collection[str], source: str | Path, more: Collection[str] = ()) -> dict:
    """Return a mapping whose values :func:`checked` accepts; values of the keys in ``more`` are not checked.

    Raises:
        UserError: it is not a mapping, or has an unknown key or a bad value.
    """
    names = ", ".join(sorted({*known, *more}))
    if not isinstance(content, dict):
        raise UserError(f"{source}: a mapping of {names} is expected")
    for key in content:
        if key not in known and key not in more:
            raise UserError(f"{source}: unknown key {key!r}; there are {names}")
    return {k: v if k in more else checked(k, v, f"{source}: {k}") for k, v in content.items()}

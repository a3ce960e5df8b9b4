"""The command that trained a checkpoint."""

import argparse
import dataclasses
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq import models, options

from plugins.checkpoints.options import as_dict

LOG = "train.log"  # scripts of this package write their command into its first line
CHOICES = {"task": "--task", "criterion": "--criterion", "optimizer": "--optimizer", "lr_scheduler": "--lr-scheduler"}
LEFT_OUT = ("data", "arch", "user_dir", "no_progress_bar", *CHOICES)  # written at the start, or an alias


def command_of(state: Mapping[str, Any], path: str | Path | None) -> str | None:
    """Return the command that trained a checkpoint; None where it cannot be known.

    It is the first line of ``train.log`` next to the checkpoint, or else the ``fairseq-train`` command with the same
    options, without those that have their default values.

    Args:
        state: the content of the checkpoint.
        path: path of the checkpoint, or None.
    """
    log = Path(path).parent / LOG if path is not None else None
    if log is not None and log.is_file():
        with open(log, encoding="utf-8", errors="replace") as file:
            first = file.readline(1 << 20).strip()
        if first.startswith("$ "):
            return first[2:]
    sections = {name: as_dict(part) for name, part in as_dict(state.get("cfg") or {}).items() if part is not None}
    try:
        return shlex.join(words_of(sections))
    except (SystemExit, Exception):  # an option of an old version, or of a plugin that is not loaded
        return None


def words_of(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the words of the ``fairseq-train`` command with the options of a config.

    Raises:
        Exception: of nearly any type: the parser does not know a name.
    """
    names = {part: sections[part]["_name"] for part in ("model", *CHOICES) if sections.get(part, {}).get("_name")}
    arch = names.pop("model")
    start = ["fairseq-train", str(sections["task"].get("data") or "DATA"), "--user-dir", "plugins", "--arch", arch]
    start += [word for part, name in names.items() for word in (CHOICES[part], name)]
    parser = options.get_training_parser(default_task=names["task"])
    parsed = vars(options.parse_args_and_arch(parser, input_args=start[1:]))
    model = models.MODEL_DATACLASS_REGISTRY[models.ARCH_MODEL_NAME_REGISTRY[arch]]
    defaults = {f.name: f.default for f in dataclasses.fields(model)} | parsed
    given, words = flat(sections), start
    for action in parser._actions:
        if action.dest in LEFT_OUT or action.dest not in given or not action.option_strings:
            continue
        value, default = given[action.dest], action.default
        if default in (None, argparse.SUPPRESS):
            default = defaults.get(action.dest)
        if isinstance(default, str) and default.startswith("${"):  # the value of another option
            default = given.get(default.strip("${}").rpartition(".")[2])
        if value is not None and plain(value) != plain(default):
            words += written(action, value)
    return words


def flat(sections: Mapping[Any, Any]) -> dict[str, Any]:
    """Return {option: value} of all parts of a config; fairseq's options have different names in all parts."""
    found: dict[str, Any] = {}
    for part in sections.values():
        if isinstance(part, Mapping):
            found |= {name: value for name, value in part.items() if not name.startswith("_")}
    return found


def plain(value: Any) -> Any:
    """Return a value in the form that is compared: numbers and lists as text."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, os.PathLike | float | int) else value


def written(action: argparse.Action, value: Any) -> list[str]:
    """Return the words that give an option a value."""
    flag = next((name for name in action.option_strings if name.startswith("--")), action.option_strings[0])
    if isinstance(action, argparse.BooleanOptionalAction):
        return [flag if value else f"--no-{flag[2:]}"]
    if action.nargs == 0:
        return [flag] if value == action.const else []
    if isinstance(value, list | tuple):
        return [flag, ",".join(map(str, value))]
    return [flag, str(value)]

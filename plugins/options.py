"""Fields of configs, options for the starting checkpoint of training, and optional on/off flags."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Optional  # fairseq's parser does not read `bool | None`

from fairseq.dataclass import FairseqDataclass
from omegaconf import II

from plugins.errors import UserError
from plugins.errors import flag as flag  # for all that have options

MOST_LAYERS = 10_000


@dataclass
class CompileConfig(FairseqDataclass):
    """Whether a model is compiled."""

    compile: bool = field(
        default=False,
        metadata={
            "help": "compile the layers with torch.compile, once for training and once for validation; takes a minute "
            "at the start of a run and needs a C++ compiler, or on a GPU Triton"
        },
    )


@dataclass
class StartConfig(FairseqDataclass):
    """Which checkpoint training starts from: options of the run, visible in every config that inherits them."""

    save_dir: Optional[str] = II("checkpoint.save_dir")
    restore_file: Optional[str] = II("checkpoint.restore_file")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")


@dataclass
class ShardConfig(FairseqDataclass):
    """How a model is divided among the processes of a run."""

    shard: bool = field(
        default=False,
        metadata={
            "help": "several processes: divide parameters, gradients and optimizer state among them (FSDP2); "
            "checkpoints stay whole"
        },
    )


@dataclass
class BestConfig(FairseqDataclass):
    """Options of tasks that define when a checkpoint counts as better than the best one."""

    min_delta: float = field(
        default=0.0, metadata={"help": "minimum improvement that counts, for checkpoint_best.pt and --patience"}
    )


# Architecture options that may differ from the checkpoint's, since they change no weights
ADJUSTABLE = ("position_scaling", "position_scaling_factor", "trained_length")
START = tuple(f.name for f in fields(StartConfig) if not f.name.startswith("_"))
NO_START = dict.fromkeys(START)  # their values outside of training: nothing to start from


def architecture(help: str) -> Any:
    """Return the dataclass field of an architecture option. None means the checkpoint's value, else the default."""
    return field(default=None, metadata={"help": help, "architecture": True})


def option(default: Any, help: str) -> Any:
    """Return the dataclass field of an option with a help text."""
    return field(default=default, metadata={"help": help})


def architecture_names(config: type) -> list[str]:
    """Return the names of the fields of a config class that a checkpoint decides."""
    return [f.name for f in fields(config) if f.metadata.get("architecture")]


def add_tristate_flags(group: argparse._ActionsContainer, config: type) -> None:
    """Give each on/off option of a config class a flag and its ``--no-`` twin; without either the option is None."""
    for f in fields(config):
        if f.type == Optional[bool]:
            group.add_argument(flag(f.name), action=argparse.BooleanOptionalAction, help=f.metadata["help"])


def check_ranges(cfg: Any, positive: Iterable[str], probabilities: Iterable[str]) -> None:
    """Check the values of options by name.

    Raises:
        UserError: names the flag.
    """
    for name in positive:
        if not cfg[name] > 0:
            raise UserError(f"{flag(name)} {cfg[name]} is not positive")
    for name in probabilities:
        if not 0 <= cfg[name] <= 1:
            raise UserError(f"{flag(name)} {cfg[name]} is not between 0 and 1")


def check_depth(layers: int, option: str) -> None:
    """Check the number of layers before they are built one by one, until the memory is full.

    Raises:
        UserError: names the flag.
    """
    if layers > MOST_LAYERS:
        raise UserError(f"{flag(option)} {layers} is more than {MOST_LAYERS}")

"""Fields of model configs, and flags for those that are on, off or not given."""

import argparse
from dataclasses import field, fields
from typing import Optional  # fairseq's parser does not read `bool | None`

START = ("save_dir", "restore_file", "finetune_from_model")  # options that say where training starts from


def flag(name):
    """Return how an option is written on the command line."""
    return "--" + name.replace("_", "-")


def architecture(help):
    """A field that decides what function the weights compute. None: as in the checkpoint, else the default."""
    return field(default=None, metadata={"help": help, "architecture": True})


def option(default, help):
    return field(default=default, metadata={"help": help})


def architecture_names(config):
    """Return the names of the fields of a config class that a checkpoint decides."""
    return [f.name for f in fields(config) if f.metadata.get("architecture")]


def add_tristate_flags(group, config):
    """Give each on/off option a flag and its ``--no-`` twin, so that what was not given can be told from off."""
    for f in fields(config):
        if f.type == Optional[bool]:
            group.add_argument(flag(f.name), action=argparse.BooleanOptionalAction, help=f.metadata["help"])

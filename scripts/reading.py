"""Options of the commands that draw how a model reads a text, and the model and the text that they name."""

import argparse
from pathlib import Path
from typing import Any

import command
import flags


def add_output(parser: argparse.ArgumentParser, figure: str, content: str) -> None:
    """Add the options after those of a command.

    Args:
        parser: the parser.
        figure: default name of the figure.
        content: what ``--json`` writes.
    """
    flags.add_output(parser, "FILE", "figure", figure)
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"also write {content}")
    flags.add_device(parser)
    command.add_user_dir(parser)


def check(args: argparse.Namespace) -> None:
    """Exit with a one-line error if an input cannot be read or an output cannot be written."""
    command.check_inputs([command.file_named(args.text)], checkpoints=[args.checkpoint])
    command.check_outputs([args.json], figures=[args.output])


def opened(args: argparse.Namespace, predicts: bool = True) -> tuple[Any, str]:
    """Return the language model, on its device, and the text.

    Args:
        args: the arguments.
        predicts: the predictions of the model are needed, not only its attention.

    Raises:
        UserError: one of them cannot be read, or an output is an input.
    """
    import plugins.hub
    from plugins import user_dir
    from plugins.files import check_not_read, read_text
    from plugins.hub import language_model_of
    from plugins.hub.devices import move

    path = command.file_named(args.text)
    user_dir.load(args.user_dir)
    check_not_read([args.output, args.json], [args.checkpoint, path])
    text = args.text if path is None else read_text(path)
    lm = language_model_of(plugins.hub.load(args.checkpoint), args.checkpoint, predicts)
    move(lm.model, args.device)
    return lm, text

"""Options that several commands share, one function per family. Imports nothing heavy, so that ``--help`` is fast.

``parser`` is a parser or a group of its arguments.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import command
import headers

CHECKPOINT = "checkpoint, or the folder with checkpoint_best.pt or checkpoint_last.pt"
MOST_SEED = 2**31 - 1
MOST_PROCESSES = 1024  # as the workers of fairseq-train


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, but is {text!r}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, but is {text!r}") from None


def positive(text: str) -> int:
    """Convert an argument to a whole number of at least 1."""
    if (number := _whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {number}")
    return number


def natural(text: str) -> int:
    """Convert an argument to a whole number of at least 0."""
    if (number := _whole(text)) < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, but is {number}")
    return number


def seed(text: str) -> int:
    """Convert an argument to a random seed, with fairseq's limits."""
    if not 0 <= (number := _whole(text)) <= MOST_SEED:
        raise argparse.ArgumentTypeError(f"must be from 0 to {MOST_SEED}, but is {number}")
    return number


def processes(text: str) -> int:
    """Convert an argument to a number of processes or threads; millions of them would fill the machine first."""
    if not 1 <= (number := _whole(text)) <= MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"must be at least 1 and at most {MOST_PROCESSES}, but is {number}")
    return number


def rate(text: str) -> float:
    """Convert an argument to a finite number above 0."""
    if not 0 < (number := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0 and finite, but is {number:g}")
    return number


def not_negative(text: str) -> float:
    """Convert an argument to a finite number of at least 0."""
    if not 0 <= (number := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0 and finite, but is {number:g}")
    return number


def fraction(text: str) -> float:
    """Convert an argument to a number above 0 and at most 1."""
    if not 0 < (number := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, but is {number:g}")
    return number


def add_checkpoint(parser: Any, help: str = CHECKPOINT) -> None:
    """Add the positional argument ``checkpoint``."""
    parser.add_argument("checkpoint", metavar="CKPT", help=help)


def add_device(parser: Any, note: str = "") -> None:
    """Add ``--device``, by default the CPU."""
    help = f"for example cuda{note} (%(default)s)"
    parser.add_argument("--device", type=command.device, default="cpu", metavar="D", help=help)


def add_dtype(parser: Any, *choices: str) -> None:
    """Add ``--dtype``: float32 by default, or one of the others named."""
    choices = ("float32", *choices)
    parser.add_argument("--dtype", choices=choices, default="float32", help="data type of the weights (%(default)s)")


def add_compile(parser: Any, otherwise: str) -> None:
    """Add ``--compile`` and ``--no-compile``; ``otherwise`` describes the default, None."""
    help = f"compile the steps on a CPU, which takes some seconds and is cached (default: {otherwise})"
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help=help)


def add_sampling(parser: Any, temperature: float, top_k: int | None) -> None:
    """Add ``--temperature``, ``--top-k`` and ``--top-p`` with these defaults."""
    add = parser.add_argument
    add("--temperature", type=not_negative, default=temperature, metavar="X",
        help="sampling temperature; 0: greedy (%(default)s)")  # fmt: skip
    everything = "all" if top_k is None else "0: all; %(default)s"
    add(
        "--top-k", type=natural, default=top_k, metavar="K", help=f"sample from the K most likely tokens ({everything})"
    )
    add("--top-p", type=fraction, metavar="P", help="sample from the most likely tokens with total probability P (all)")


def add_seed(parser: Any, default: int = 1, of: str = "") -> None:
    """Add ``--seed``; ``of`` describes what it is the seed of, with a blank in front."""
    help = f"random seed{of} (%(default)s)"
    parser.add_argument("--seed", type=seed, default=default, metavar="N", help=help)


def add_seeds(parser: Any, default: Sequence[int], of: str = "") -> None:
    """Add ``--seeds``, a list; ``of`` describes what they are the seeds of, with a blank in front."""
    help = f"random seeds{of} ({' '.join(map(str, default))})"
    parser.add_argument("--seeds", nargs="+", type=seed, default=list(default), metavar="N", help=help)


def add_output(parser: Any, metavar: str = "DIR", help: str = "folder to write", default: str | None = None) -> None:
    """Add ``-o``, ``--output``, a path; it must be given unless it has a default."""
    given = {"required": True} if default is None else {"default": Path(default)}
    help += "" if default is None else " (%(default)s)"
    parser.add_argument("-o", "--output", type=Path, metavar=metavar, help=help, **given)


def add_columns(parser: Any, of: str = "") -> None:
    """Add ``--text`` and ``--label``, the columns of labeled rows; ``of`` names their file, with a blank in front.

    :func:`check_columns` checks them, and ``plugins.diagnostics.datasets.read_files`` reads them.
    """
    add = parser.add_argument
    add("--text", nargs="+", default=[], metavar="COLUMN", help=f"one or two columns of text{of} (known names)")
    add("--label", metavar="COLUMN", help=f"column of the classes{of} (label, gold_label, ...)")


def check_columns(files: Sequence[str | None], args: argparse.Namespace) -> None:
    """Exit with a one-line error if a file has a header that lacks a column of :func:`add_columns`."""
    for path in files:
        headers.check(path, args.text, "--text")
        headers.check(path, [args.label], "--label")


def add_skip_bad_rows(parser: Any) -> None:
    """Add ``--skip-bad-rows``."""
    parser.add_argument("--skip-bad-rows", action="store_true", help="skip malformed rows and print their number")


def add_labeled_texts(
    parser: argparse.ArgumentParser, glue: str = "a GLUE task with one text per row (CoLA, for example)"
) -> None:
    """Add the options that name labeled texts, which :func:`plugins.embeddings.texts.labeled` reads.

    Args:
        glue: help of ``--glue-task``.
    """
    add = parser.add_argument
    add("data", metavar="DATA", help="folder of the labeled texts")
    add("--spec", metavar="FILE", help="YAML file that describes the rows")
    add("--glue-task", metavar="NAME", help=glue)
    add("--split", default="valid", help="train or valid (%(default)s)")
    add("--passage-words", type=positive, default=32, metavar="N",
        help="words per passage of CLASS.txt files (%(default)s)")  # fmt: skip
    add_skip_bad_rows(parser)


def add_selected(parser: argparse.ArgumentParser) -> None:
    """Add ``--number``: the rows to select."""
    parser.add_argument(
        "--number", type=positive, required=True, metavar="N", help="rows to select for each specification"
    )

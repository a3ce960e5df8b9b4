"""The command line of fairseq's programs.

Defects: ``--help`` prints before the options of the model, task, criterion and optimizer are known; ``--bf16`` sets
``args.tpu``; ``data`` is listed for subsets as a folder even if it is a file; an unknown option prints 130 lines; a
value such as ``-1e-3`` is taken for an option, by argparse until Python 3.13.

Reported: https://github.com/facebookresearch/fairseq/issues/701 (``--help``),
https://github.com/facebookresearch/fairseq/issues/4696 (``--bf16``).
"""

import difflib
import functools
import importlib.util
import itertools
import logging
import os
import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from plugins.errors import flag, printable

from . import precision, preflight
from .patching import repaired, wrap

ALIASES = {"--finetune-from": "--finetune-from-model"}
NO_DEFAULTS = "--no-recipe"
NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
logger = logging.getLogger(__name__)


def install(complete_options: Callable[[str | None, Mapping[str, str]], tuple[dict, str]] | None) -> None:
    """Put the repairs in place.

    Args:
        complete_options: called with (program, {option: value}) of a command line; returns options to add to it, and
            where they come from.
    """
    from fairseq import options
    from fairseq.data import data_utils

    wrap(options, "parse_args_and_arch", functools.partial(parse_args, complete_options))
    repaired("--bf16", "means bfloat16 on a GPU; fairseq interprets it as a request for a TPU")
    repaired("--finetune-from", "is short for --finetune-from-model")
    repaired("--help", "shows the options of the model, task, criterion and optimizer that were chosen")
    repaired("task defaults", "a task fills in options of its paper that the command line does not set")
    wrap(data_utils, "raise_if_valid_subsets_unintentionally_ignored", look_for_subsets)
    repaired("data in a file", "fairseq lists the data folder to look for validation subsets")


def parse_args(
    complete_options: Callable | None,
    original: Callable,
    parser: ArgumentParser,
    input_args: list[str] | None = None,
    *args: Any,
    modify_parser: Callable | None = None,
    **kwargs: Any,
) -> Any:
    """Parse like fairseq, but print the help when the parser is complete, and honor --bf16.

      Options from ``complete_options`` precede the user's.

      fairseq parses once to find the model and the task, and prints the help then, without their options. It also
    sets ``args.tpu = True`` for --bf16.
    """
    given = [unalias(argument) for argument in (sys.argv[1:] if input_args is None else input_args)]
    if {"-h", "--help"} & set(given):
        given = [argument for argument in given if argument not in ("-h", "--help")]
        modify_parser = print_help_when_complete()
    preflight.check_lists(options_given(parser, given))
    if complete_options:
        given = [*fill_in(complete_options, parser, given, quiet=kwargs.get("suppress_defaults", False)), *given]
    setattr(parser, "_negative_number_matcher", NEGATIVE)  # noqa: B010 (private)
    setattr(parser, "error", functools.partial(report, parser))  # noqa: B010 (a method)
    parsed = original(parser, given, *args, modify_parser=modify_parser, **kwargs)
    namespace = parsed[0] if isinstance(parsed, tuple) else parsed
    if getattr(namespace, "bf16", False) and importlib.util.find_spec("torch_xla") is None:
        namespace.tpu = False
    if hasattr(namespace, "arch"):  # here, as the options of fairseq's older models cannot be checked in the config
        task, criterion = (getattr(namespace, name, None) for name in ("task", "criterion"))
        preflight.check_names(task, namespace.arch, criterion)
    return parsed


def report(parser: ArgumentParser, message: str) -> NoReturn:
    """Exit with status 2 and one line; argparse prints 130 lines of usage before it."""
    unknown = next((word for word in message.split() if word.startswith("--")), "").partition("=")[0]
    near = (
        difflib.get_close_matches(unknown, list(parser._option_string_actions), n=1, cutoff=0.8)
        if "unrec" in message
        else []
    )
    program = (program_of(parser) or "train").replace("_", "-")
    advice = f"did you mean {near[0]}?" if near else f"fairseq-{program} ... --help lists the options"
    line = printable(message).replace("\n", "\\n")  # an argument may contain line feeds
    parser.exit(2, f"error: {line}; {advice}\n")


def fill_in(complete_options: Callable, parser: ArgumentParser, given: list[str], quiet: bool) -> list[str]:
    """Return the arguments that a task's defaults add to a command line, unless it contains ``--no-recipe``; log them.

    Args:
        quiet: log nothing; fairseq-validate parses its command line twice.
    """
    program = program_of(parser)
    if program is None:
        return []
    if NO_DEFAULTS not in parser._option_string_actions:
        parser.add_argument(NO_DEFAULTS, action="store_true", help="do not fill in the default options of the task")
    if NO_DEFAULTS in given:
        return []
    added, source = complete_options(program, options_given(parser, given))
    arguments = list(as_arguments(added))
    if arguments and not quiet:
        logger.info("options filled in from %s (%s leaves them out): %s", source, NO_DEFAULTS, shlex.join(arguments))
    return arguments


def program_of(parser: ArgumentParser) -> str | None:
    """Return which of fairseq's programs a parser belongs to, since parsers have no name."""
    flags = parser._option_string_actions
    programs = {"--arch": "train", "--context-window": "eval_lm", "--valid-subset": "validate"}
    return next((program for given, program in programs.items() if given in flags), None)


def options_given(parser: ArgumentParser, arguments: Sequence[str]) -> dict[str, str]:
    """Return {option: its last value, as text} of a command line, also of options that the parser does not know yet."""
    given = {}
    for argument, following in itertools.pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name.startswith("--") or name in parser._option_string_actions:
            action = parser._option_string_actions.get(name)
            name = action.dest if action else name.lstrip("-").replace("-", "_")
            given[name] = value if equals else following
    return given


def as_arguments(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as arguments of a command line; True is a switch."""
    for name, value in options.items():
        yield flag(name) if value is True else f"{flag(name)}={value}"


def look_for_subsets(original: Callable, cfg: Any) -> None:
    """Leave ``data`` to the task if it is one or more files."""
    if all(os.path.isdir(path) for path in str(getattr(cfg.task, "data", None) or "").split(os.pathsep)):
        original(cfg)


def unalias(argument: str) -> str:
    """Expand the short forms of fairseq's flags."""
    name, equals, value = argument.partition("=")
    return ALIASES[name] + equals + value if name in ALIASES else argument


def print_help_when_complete() -> Callable[[ArgumentParser], None]:
    """Return a function that fairseq calls on its parser twice: before and after the component options are added."""
    parsers = []

    def modify(parser):
        parsers.append(parser)
        if len(parsers) == 2:
            for name, text in precision.HELP.items():
                if name in parser._option_string_actions:
                    parser._option_string_actions[name].help = text
            parser.print_help()
            parser.exit()

    return modify

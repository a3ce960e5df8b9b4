"""Import fairseq without its side effects, and compare its version with the one that the repairs are written for."""

import importlib.metadata
import logging
import os
import sys
import warnings

from plugins.errors import report_in_one_line

FAIRSEQ = "0.12.3.1"


def import_fairseq() -> None:
    """Import fairseq and leave the root logger unchanged: one of fairseq's speech models sets its level to DEBUG."""
    root, disabled = logging.root, logging.root.manager.disable
    level, handlers = root.level, root.handlers[:]
    logging.disable(logging.INFO)  # fairseq logs every missing optional package
    try:
        import fairseq  # noqa: F401
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
    check_version(installed())


def report_errors() -> None:
    """In a program of fairseq, print errors in one line from here on; Ctrl-C may come while the package is imported."""
    if any(name.startswith("fairseq_cli") for name in sys.modules):
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or hydra prints its own traceback and the hook sees nothing
        report_in_one_line()


def installed() -> str:
    """Return the version of the installed fairseq, under any distribution name."""
    for name in ("fairseq-fixed", "fairseq"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "an unknown version"


def check_version(found: str) -> None:
    """Warn if the installed fairseq is not the pinned one, whose private functions this package replaces."""
    if found != f"fairseq-fixed {FAIRSEQ}":
        warnings.warn(
            f"this package repairs fairseq-fixed {FAIRSEQ}, but {found} is installed; run `make install`", stacklevel=2
        )

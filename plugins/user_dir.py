"""``--user-dir`` of the scripts: the user's plugin folder, which may register models, tasks and criterions.

``fairseq-train`` imports such a folder by itself. The package in it imports ``plugins`` first and then registers its
own classes; see ``examples/own_plugin``.
"""

import argparse
import os
from pathlib import Path

from plugins.errors import UserError

OURS = str(Path(__file__).parent)
_imported: list[str] = []  # absolute paths, the last one is passed on to runs


def load(folder: str | None) -> None:
    """Import a plugin folder like fairseq; None imports nothing.

    Raises:
        UserError: no such package, or another one of its name is imported already.
    """
    from fairseq.utils import import_user_module

    if folder is None:
        return
    path = os.path.abspath(folder)
    if not os.path.isfile(os.path.join(path, "__init__.py")):
        raise UserError(f"--user-dir {folder}: not a package (a folder with __init__.py)")
    try:
        import_user_module(argparse.Namespace(user_dir=path))
    except ImportError as error:
        if "not globally unique" not in str(error):
            raise
        name = os.path.basename(path)
        raise UserError(f"--user-dir {folder}: another package {name!r} is imported; rename this one") from None
    _imported.append(path)


def for_runs() -> str:
    """Return the ``--user-dir`` of the runs that a script starts: the user's, else this package."""
    return _imported[-1] if _imported else OURS

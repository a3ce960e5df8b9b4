"""Model code for transformers: a file of :mod:`.remote` and the modules that it imports, in one folder."""

import ast
import re
from importlib import metadata
from pathlib import Path

from plugins import modules

REMOTE, MODULES = Path(__file__).with_name("remote"), Path(modules.__file__).parent
DISTRIBUTION = "fairseq-workbench"
HEADER = "# Part of fairseq-workbench, under the MIT license in the file LICENSE.\n"
ABSOLUTE = re.compile(r"^from plugins\.modules\.(\w+) import", re.MULTILINE)


def files_of(shell: str) -> dict[str, str]:
    """Return {name: source} of all files that a model's file needs, with ``LICENSE``.

    Args:
        shell: the name of a file in ``remote/``, without ``.py``.

    Raises:
        ValueError: a file imports a part of the package that cannot be copied.
    """
    sources, waiting = {}, [REMOTE / f"{shell}.py"]
    while waiting:
        path = waiting.pop()
        source = ABSOLUTE.sub(r"from .\1 import", path.read_text(encoding="utf-8"))
        sources[path.name] = HEADER + source
        waiting += [source_of(name) for name in imported(source, path) if f"{name}.py" not in sources]
    return sources | {"LICENSE": license_text()}


def source_of(name: str) -> Path:
    """Return the file of a module: in ``remote/``, else in :mod:`plugins.modules`."""
    remote = REMOTE / f"{name}.py"
    return remote if remote.exists() else MODULES / f"{name}.py"


def imported(source: str, path: Path) -> set[str]:
    """Return the names of the modules that a source imports by ``from .NAME import``.

    Raises:
        ValueError: it imports from the package in another way.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module and "." not in node.module:
            names.add(node.module)
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").partition(".")[0] == "plugins"):
            raise ValueError(f"{path}:{node.lineno}: cannot be copied: import by `from .NAME import`")
        elif isinstance(node, ast.Import) and any(alias.name.startswith("plugins") for alias in node.names):
            raise ValueError(f"{path}:{node.lineno}: cannot be copied: import by `from .NAME import`")
    return names


def license_text() -> str:
    """Return the text of the license: that of the checkout, or of the installed package."""
    checkout = MODULES.parents[1] / "LICENSE"
    if checkout.exists():
        return checkout.read_text(encoding="utf-8")
    found = next((file for file in metadata.files(DISTRIBUTION) or () if file.name == "LICENSE"), None)
    return HEADER if found is None else found.read_text(encoding="utf-8")

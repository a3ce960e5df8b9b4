"""English text in every installation of this project, read without importing any of it."""

import ast
import importlib.util
import sysconfig
from collections.abc import Container, Iterator
from pathlib import Path

STANDARD_LIBRARY = "the standard library"
# Dependencies of this project or of torch, so always installed; ordered by prose per second of reading.
PACKAGES = ("numpy", "scipy", "sklearn", "networkx", STANDARD_LIBRARY, "sympy", "torch")
_SKIPPED_FOLDERS = frozenset({"site-packages", "test", "tests", "testing", "idlelib", "lib2to3"})


def installed_texts(skipped: Container[str] = ()) -> Iterator[str]:
    """Yield raw texts, markup included, in an order that depends only on what is installed.

    First the language reference, then licenses, then one text for each module of :data:`PACKAGES`, "" for a module
    with few docstrings.

    Args:
        skipped: names of modules, in the form of :func:`modules`, to leave out.
    """
    yield from _language_reference()
    yield from _licenses()
    for name, path in modules():
        if name not in skipped:
            yield "\n\n".join(docstrings(path))


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the modules of :data:`PACKAGES` except tests: a name such as ``numpy/linalg/_linalg.py``, and its file."""
    for package, folder in _package_folders():
        for path in sorted(folder.rglob("*.py")):
            within = path.relative_to(folder)
            if _SKIPPED_FOLDERS.isdisjoint(within.parts):
                yield f"{package}/{within.as_posix()}", path


def docstrings(path: Path) -> list[str]:
    """Return the docstrings of a module in order, "" for each missing one; none if the file is not valid Python."""
    source = path.read_bytes()
    if source.count(b'"""') < 4:  # parsing takes most of the time, and a single docstring is rarely worth it
        return []
    try:
        return list(_docstrings(ast.parse(source)))
    except (SyntaxError, ValueError):
        return []


def _docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    yield ast.get_docstring(node) or ""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child)


def _package_folders() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        if package == STANDARD_LIBRARY:
            yield "python", Path(sysconfig.get_path("stdlib"))
        else:
            spec = importlib.util.find_spec(package)  # a top-level name is located without importing it
            for folder in (spec and spec.submodule_search_locations) or ():
                yield package, Path(folder)


def _language_reference() -> Iterator[str]:
    from pydoc_data.topics import topics

    for _, text in sorted(topics.items()):
        yield text


def _licenses() -> Iterator[str]:
    for folder in dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib"))):
        for path in sorted(Path(folder).glob("*.dist-info/**/*LICEN[CS]E*")):
            if path.is_file():
                yield path.read_text("utf-8", errors="ignore")

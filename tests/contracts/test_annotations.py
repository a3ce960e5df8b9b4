"""Every public function, method and constructor of the package has annotated parameters and a return type."""

import ast
from collections.abc import Iterator
from pathlib import Path

PLUGINS = Path(__file__).parents[2] / "plugins"
SPECIAL = ("__init__", "__call__", "__getitem__", "__iter__", "__len__")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Yield (name, definition, whether it is a method) of functions and of the methods of public classes."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            yield from public_functions(inner, prefix)
        elif isinstance(node, Function) and (node.name in SPECIAL or not node.name.startswith("_")):
            yield prefix + node.name, node, bool(prefix)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")


def missing(function: Function, method: bool) -> list[str]:
    """Return the names of the parameters without an annotation, and "return" if the result has none."""
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.decorator_list)
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args][1 if method and not static else 0 :]
    named = [*positional, *arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    names = [argument.arg for argument in named if argument.annotation is None]
    return names + ["return"] * (function.returns is None and function.name != "__init__")


def test_public_functions_are_annotated() -> None:
    bare = [
        f"{path.relative_to(PLUGINS.parent)}:{function.lineno} {name}: {', '.join(names)}"
        for path in sorted(PLUGINS.rglob("*.py"))
        for name, function, method in public_functions(ast.parse(path.read_text(encoding="utf-8")).body)
        if (names := missing(function, method))
    ]
    assert not bare, "without annotations:\n" + "\n".join(bare)

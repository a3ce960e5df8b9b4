"""Options that fairseq evaluates as Python.

Defect: some 25 options (``--adam-betas``, ``--decoder-layers`` of convolutional models, ``--conv-feature-layers``, ...)
are passed to ``eval``, and many of them are also read from checkpoints. Here they are parsed as literals.
"""

import ast
import operator
import sys

from plugins.errors import UserError, shown

from .patching import repaired

OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
LONGEST = 10_000  # characters of an option, and items of a list that it describes


def install() -> None:
    """Apply the repairs of this file, and record them."""
    from fairseq import utils

    for function in ("eval_str_list", "eval_str_dict", "eval_bool"):
        assert hasattr(utils, function)
    for name, module in list(sys.modules.items()):
        if module is not None and name.split(".")[0] in ("fairseq", "fairseq_cli"):
            module.__dict__.setdefault("eval", evaluate)  # a module's own name comes before the builtin
    repaired("evaluated options", "are parsed as literals; fairseq calls eval on them, from checkpoints, too")


def evaluate(text: object) -> object:
    """Return the value of a literal: numbers, texts, tuples, lists and dicts, with ``+``, ``-`` and ``*`` between them.

    Raises:
        UserError: anything else.
    """
    if not isinstance(text, str):
        raise TypeError("eval() arg 1 must be a string")  # as eval does; fairseq's eval_bool relies on it
    try:
        if len(text) > LONGEST:
            raise ValueError("too long")
        return value_of(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise UserError(
            f"an option is {shown(text)}, which is not a literal; options are not evaluated as Python"
        ) from error


def value_of(node: ast.expr) -> object:
    """Return the value of an expression of literals and arithmetic.

    Raises:
        ValueError: it contains anything else, or a list that is too long.
    """
    match node:
        case ast.Constant():
            return node.value
        case ast.Tuple():
            return tuple(map(value_of, node.elts))
        case ast.List():
            return list(map(value_of, node.elts))
        case ast.Dict() if None not in node.keys:  # None: an unpacked dict
            pairs = zip(node.keys, node.values, strict=True)
            return {value_of(key): value_of(value) for key, value in pairs if key is not None}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            number = value_of(node.operand)
            if isinstance(number, int | float):
                return -number if isinstance(node.op, ast.USub) else number
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()):
            return combined(type(node.op), value_of(node.left), value_of(node.right))
    raise ValueError(f"not a literal: {ast.dump(node)[:80]}")


def combined(operation: type[ast.operator], left: object, right: object) -> object:
    """Apply an arithmetic operation.

    Raises:
        ValueError: the result would be a list that is too long.
    """
    items = sum(len(side) for side in (left, right) if hasattr(side, "__len__"))
    times = max(abs(side) if isinstance(side, int) else 1 for side in (left, right))
    if operation is ast.Mult and items * times > LONGEST:
        raise ValueError("a list that is too long")
    return OPERATIONS[operation](left, right)

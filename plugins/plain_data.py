"""Parse JSON and YAML into plain data, with bounds on depth, size and numbers, and no key twice in a mapping."""

import json
import re
from collections.abc import Callable
from typing import Any

from plugins.errors import shown

DEEPEST = 100  # nested lists and mappings
MOST_NODES = 1_000_000  # values in a YAML file, with aliases expanded
_BLANKS = re.compile(r"[ \t\n\r]*")
LONGEST_NUMBER = 308  # digits and sign, so that every integer is within the range of floats


class BadData(ValueError):
    """Text that is not JSON or YAML, or of a kind that is not accepted.

    Attributes:
        line: where, from 1, or None.
    """

    def __init__(self, problem: str, line: int | None = None):
        super().__init__(problem)
        self.line = line

    @property
    def place(self) -> str:
        """Suffix for a file name in errors: ``:17``, or "" without a line."""
        return f":{self.line}" if self.line else ""


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        BadData: not JSON, nested deeper than :data:`DEEPEST`, a number of more than :data:`LONGEST_NUMBER` digits,
            or one key twice in an object.
    """
    content, end = parse_json_at(text, _after_blanks(text))
    end = _after_blanks(text, end)
    if end < len(text):
        column, line = end - text.rfind("\n", 0, end), text.count("\n", 0, end) + 1
        raise BadData(f"not JSON (more text after it at column {column})", line)
    return content


def _after_blanks(text: str, start: int = 0) -> int:
    found = _BLANKS.match(text, start)
    return found.end() if found else start


def parse_json_at(text: str, start: int) -> tuple[Any, int]:
    """Parse the JSON value that begins at an index; return it and the index after it.

    Raises:
        BadData: as :func:`parse_json`.
    """
    try:
        content, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise BadData(f"not JSON ({error.msg} at column {error.colno})", error.lineno) from None
    except RecursionError:
        raise BadData(f"nested deeper than {DEEPEST}") from None
    if text.count("[", start, end) + text.count("{", start, end) > DEEPEST:  # else it cannot be deeper
        _check_size(content, most=None)
    return content, end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadData(f"the key {shown(key)} occurs twice")
            seen.add(key)
    return content


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise BadData(f"a number of {len(digits)} digits, {digits[:10]}...")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer)


def _check_size(content: Any, most: int | None = MOST_NODES) -> None:
    """Raise :class:`BadData` for plain data that is too deep, or has more than ``most`` values."""
    count, stack = 0, [(content, 1)] if isinstance(content, dict | list | tuple) else []
    while stack:
        value, depth = stack.pop()
        if depth > DEEPEST:
            raise BadData(f"nested deeper than {DEEPEST}")
        children = value.values() if isinstance(value, dict) else value
        count += len(children)
        if most is not None and count > most:
            raise BadData(f"more than {most:,} values, aliases expanded")
        stack.extend((child, depth + 1) for child in children if isinstance(child, dict | list | tuple))


def parse_yaml(text: str, texts: bool = False) -> Any:
    """Parse YAML.

    Args:
        texts: return every scalar as it is written; otherwise YAML's types apply, where ``yes`` is True.

    Raises:
        BadData: not YAML, one key twice in a mapping, nested deeper than :data:`DEEPEST`, more than
            :data:`MOST_NODES` values, or an integer of more than :data:`LONGEST_NUMBER` digits.
    """
    import yaml

    base: Any = yaml.BaseLoader if texts else yaml.SafeLoader

    class Loader(base):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            _check_keys(node, self.construct_object)
            return super().construct_mapping(node, deep)

        def construct_scalar(self, node: Any) -> Any:
            if node.tag.endswith(":int") and len(node.value) > LONGEST_NUMBER:
                raise BadData(f"a number of {len(node.value)} digits", node.start_mark.line + 1)
            return super().construct_scalar(node)

    try:
        content = yaml.load(text, Loader=Loader)
        _check_size(content)
        return content
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise BadData(f"not YAML: {problem}", mark and mark.line + 1) from None
    except RecursionError:
        raise BadData(f"nested deeper than {DEEPEST}") from None
    except BadData:
        raise
    except (ValueError, TypeError, OverflowError, LookupError) as error:  # a date of month 13, !!bool x
        raise BadData(f"not YAML that is accepted: {' '.join(str(error).split())}") from None


def _check_keys(node: Any, construct: Callable[[Any], Any]) -> None:
    seen = set()  # of values: 1, 1.0 and true are one key
    for key in (key for key, _ in node.value if key.id == "scalar" and key.value != "<<"):
        value = construct(key)
        if value in seen:
            raise BadData(f"the key {shown(key.value)} occurs twice", key.start_mark.line + 1)
        seen.add(value)

"""Tables as text: Markdown, columns for a terminal, and the numbers in them."""

from collections.abc import Iterable, Sequence

from plugins.errors import printable


def markdown(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table without a final line break; bars, line breaks and control characters are escaped."""
    names = list(head)
    lines: list[Iterable[object]] = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return printable(" ".join(str(value).split())).replace("|", r"\|")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text, the header first, as columns separated by two blanks."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def significant(value: float, digits: int) -> str:
    """Return a number with this many significant digits, and below 1e15 all digits before the point: 0.123, 12,346."""
    rounded = f"{value:.{digits}g}"
    return f"{value:,.0f}" if 10 ** (digits - 1) <= abs(float(rounded)) < 1e15 else rounded

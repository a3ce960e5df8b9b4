"""Extract the prose of technical text: sentences are kept; code, tables, signatures and headings are dropped.

In a docstring, indentation separates sentences from everything else. The text is cut into blocks of equally indented
lines, each block becomes one line, and lines that look like English are kept.
"""

import inspect
import re
from collections.abc import Iterator

_BULLET = re.compile(r"^(\s*)([-*+•]|\d{1,2}[.)]|\([a-z0-9]\))\s+(?=\S)")
_NOT_PROSE = re.compile(r"^(>>>|\.\.\s|:\w+|@|[|+#=~^_*-]{3,}|\$|%|In \[)")
_ROLE = re.compile(r":[\w:+-]+:`~?([^`<]*?)(?:\s*<[^`>]*>)?`")  # :func:`~os.stat`, :ref:`text <target>`
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?")
_CITATION = re.compile(r"\s?\[[\w-]+\]_")
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([^\s*]([^*]*[^\s*])?)\*{1,2}(?![\w*])")
_MARKUP = re.compile(r"``|`_?|\\(?=\W)")
_WORD = re.compile(r"[A-Za-z][a-z'’-]*\b")
# Sentences without any of these words are almost always lists of names or fragments of code.
_FUNCTION_WORDS = frozenset(
    "a an and are as at be by can for from has if in is it not of on or that the this to was with".split()
)


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of prose in a docstring, a reStructuredText page or a license, one line each."""
    for block in _blocks(inspect.cleandoc(text)):
        line = without_markup(block)
        if _is_prose(line):
            yield line


def _blocks(text: str) -> Iterator[str]:
    """Yield runs of equally indented lines joined by spaces, without the literal blocks that ``::`` opens."""
    lines: list[str] = []
    indent = 0
    literal = -1  # while >= 0: lines indented deeper than this belong to a literal block
    for line in [*text.expandtabs().split("\n"), ""]:
        bullet = _BULLET.match(line)
        # A bullet's text hangs under its first word: blanks in place of the mark line the two up.
        body = " " * bullet.end() + line[bullet.end() :] if bullet else line
        stripped = body.strip()
        depth = len(body) - len(body.lstrip())
        margin = len(line) - len(line.lstrip())
        if lines and (not stripped or bullet or depth != indent or _NOT_PROSE.match(stripped)):
            block, lines = " ".join(lines), []
            literal = indent if block.endswith("::") else literal
            yield block
        if not stripped or _NOT_PROSE.match(stripped):
            continue
        if literal >= 0 and margin > literal:
            continue
        literal, indent = -1, depth
        lines.append(stripped)


def without_markup(block: str) -> str:
    """Return reStructuredText as rendered, without roles, links, emphasis and citation marks."""
    for pattern in (_ROLE, _LINK, _EMPHASIS):
        block = pattern.sub(r"\1", block)
    for pattern in (_CITATION, _MARKUP):
        block = pattern.sub("", block)
    return " ".join(block.split())


def _is_prose(line: str) -> bool:
    """Return whether a line looks like English: sentences, mostly of words, some of them function words."""
    if len(line) < 40 or not line.rstrip("\"')").endswith((".", "!", "?")):
        return False
    if not (line[0].isalpha() or line[0] in "\"'("):
        return False
    letters = sum(character.isalpha() or character == " " for character in line)
    if letters < 0.88 * len(line) or "==" in line or "://" in line:
        return False
    words = _WORD.findall(line)
    function_words = sum(word.lower() in _FUNCTION_WORDS for word in words)
    return len(words) >= 7 and function_words >= 0.15 * len(words)

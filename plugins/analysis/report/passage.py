"""Choose the passage of a text that a report shows."""

import bisect
import re

from plugins.analysis.language_model import LanguageModel
from plugins.errors import UserError

SEARCHED = 200_000  # characters, from the start of a text, in which a passage of prose is looked for
_LEADER = re.compile(r"\.\s?\.\s?\.\s?\.|\t")  # dots or tabs between a heading and its page
_PAGE = re.compile(r"(?:\s|\.)\d+\s*$")


def passage_start(text: str) -> int:
    """Return where the first line of prose starts, after blank lines, headings and tables of contents; 0 for none.

    A line is prose if it has at least 40 letters and spaces, which make up four fifths of it, and at least one lower
    case letter or a letter of a script without case, and does not look like an entry of a table of contents.
    """
    start = 0
    for line in text[:SEARCHED].splitlines(keepends=True):
        if is_prose(line.strip()):
            return start + len(line) - len(line.lstrip())
        start += len(line)
    return len(text) - len(text.lstrip())


def is_prose(line: str) -> bool:
    """Return whether a line is a line of prose, see :func:`passage_start`."""
    plain = sum(character.isalpha() or character == " " for character in line)
    if plain < 40 or plain < 0.8 * len(line) or _LEADER.search(line) or _PAGE.search(line):
        return False
    return any(character.isalpha() and not character.isupper() for character in line) and not line.istitle()


def excerpt(lm: LanguageModel, text: str, limit: int) -> str:
    """Return the longest start of a text of at most ``limit`` tokens; of whole words, unless tokens are characters.

    Raises:
        UserError: the text is empty, or its first word is too long.
    """
    limit = min(limit, lm.model.max_positions())
    if lm.reads_characters:
        ends = range(1, min(len(text), limit) + 1)
    else:
        ends = [word.end() for word, _ in zip(re.finditer(r"\S+", text), range(limit), strict=False)]
    count = bisect.bisect_right(ends, limit, key=lambda end: len(lm.encode(text[:end])))
    if not count:
        raise UserError("the text is empty" if not ends else f"its first word is more than {limit} tokens: take more")
    return text[: ends[count - 1]]

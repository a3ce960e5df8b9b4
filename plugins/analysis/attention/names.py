"""Names of attention patterns in figures, tables and reports, and the selection of heads that are named."""

from collections.abc import Mapping

import numpy as np

STRONG = 0.1  # a head with a lower score does not follow the pattern; figures do not mark it
DESCRIPTIONS = {  # name of the pattern: displayed name, and what a head of that kind attends to
    "previous_token_head": ("previous token", "Attends to the token just before."),
    "current_token_head": ("current token", "Attends to the token itself."),
    "next_token_head": ("next token", "Attends to the token just after."),
    "first_token_head": ("first token", "Attends to the start of the text, often as an attention sink."),
    "duplicate_token_head": ("duplicate token", "Attends to other occurrences of the same token."),
    "same_token_head": ("same token", "Attends to all occurrences of the same token, including itself."),
    "word_start_head": ("word start", "Attends to the first token of its word."),
    "delimiter_head": ("delimiter", "Attends to punctuation and the end of the text."),
    "uniform_head": ("uniform", "Spreads its attention evenly over all visible tokens."),
    "induction_head": ("induction", "Attends to the token after an earlier copy of the query token, in repeated random "
                       "text."),
}  # fmt: skip


def readable(name: str) -> str:
    """Return the name of a pattern as words."""
    return DESCRIPTIONS[name][0] if name in DESCRIPTIONS else name.removesuffix("_head").replace("_", " ")


def two_digits(value: float) -> str:
    """Return a number with two decimals, without a negative zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def heads_in_order(found: Mapping, least: float = 0.01) -> list[tuple[int, int]]:
    """Return (layer, head), best first, of the heads with a score of at least ``least`` and an interval above 0.

    Args:
        found: ``score`` and ``low``, (L, H) each; a ``low`` of NaN, as of a single text, excludes no head.
        least: the lowest score.
    """
    order = np.argsort(-np.nan_to_num(found["score"], nan=-1), axis=None, kind="stable")
    heads = found["score"].shape[1]
    places = (divmod(int(i), heads) for i in order)
    return [place for place in places if found["score"][place] >= least and not found["low"][place] <= 0]

"""What a report says of the patterns of the heads: a map of layers and heads for each, and its best head."""

import sys
from collections.abc import Iterator

import numpy as np

from plugins.analysis.attention.patterns import score_heads
from plugins.analysis.language_model import LanguageModel

LENGTH = 128  # tokens of a stretch of text
DESCRIPTIONS = {
    "previous_token_head": ("Previous token", "Looks at the token just before."),
    "current_token_head": ("Current token", "Looks at the token itself."),
    "next_token_head": ("Next token", "Looks at the token just after."),
    "first_token_head": ("First token", "Looks at the start of the text, often to rest there."),
    "duplicate_token_head": ("Duplicate token", "Looks at other places with the same token."),
    "same_token_head": ("Same token", "Looks at all places with the same token, its own among them."),
    "word_start_head": ("Start of the word", "Looks at the first token of the word that it is in."),
    "delimiter_head": ("Delimiter", "Looks at punctuation and the end of the text."),
    "uniform_head": ("Everything alike", "Spreads its attention evenly over all that it sees."),
    "induction_head": ("Induction", "Looks at what followed the same token before, in random text that repeats."),
}


def head_maps(lm: LanguageModel, text: str, count: int, seed: int) -> dict:
    """Return the score of every head on every pattern, over stretches of a text.

    Args:
        lm: what ``plugins.hub.load`` returned.
        text: of which up to ``count`` stretches are read, evenly spread.
        count: see there.
        seed: of the intervals.

    Raises:
        UserError: no stretch of two tokens, or a character that the model does not know.
    """
    texts = list(stretches(lm, text, count))
    scores = score_heads(lm, texts, length=LENGTH, seed=seed, bar=sys.stderr.isatty())
    found = {name: of for name, of in scores.items() if np.isfinite(of["score"]).all()}
    layers, heads = next(iter(found.values()))["score"].shape
    note = (
        "A head scores the share of its attention that a pattern gets, less what it would get if the head looked at "
        "everything alike: 0 for no preference, near 1 for nothing else. Colours are those of the attention above, "
        f"layers downwards and heads across. Read from {len(texts):,} stretches of the text; brackets hold 95\u00a0% "
        "intervals over them. Choose a cell of a map to see the head."
    )
    items = [head_map(name, of) for name, of in found.items()]
    return {"note": note, "layers": layers, "heads": heads, "items": items}


def head_map(name: str, scores: dict) -> dict:
    """Return one pattern as the page shows it."""
    title, what = DESCRIPTIONS.get(name, (name.removesuffix("_head").replace("_", " ").capitalize(), ""))
    score, low, high = (np.asarray(scores[key]) for key in ("score", "low", "high"))  # (L, H)
    best, heads = int(score.argmax()), score.shape[1]
    most = f"Layer {best // heads}, head {best % heads}: {two_digits(score.flat[best])}"
    if np.isfinite(low).all():
        most += f" [{two_digits(low.flat[best])}, {two_digits(high.flat[best])}]"
    return {"title": title, "what": what, "score": np.round(score, 4).flatten().tolist(), "best": best, "most": most}


def two_digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # not -0.00


def stretches(lm: LanguageModel, text: str, count: int) -> Iterator[str]:
    """Yield up to ``count`` parts of a text, evenly spread, each long enough for the tokens that are read of it."""
    subwords = not lm.reads_characters
    width = min(LENGTH, lm.model.max_positions()) * (8 if subwords else 1)  # a subword has fewer than 8 characters
    starts = range(0, max(1, len(text) - width + 1), width)
    for i in np.linspace(0, len(starts) - 1, min(count, len(starts))).round().astype(int):
        part = text[starts[i] : starts[i] + width]
        yield part.partition(" ")[2] or part if subwords and i else part  # from the start of a word

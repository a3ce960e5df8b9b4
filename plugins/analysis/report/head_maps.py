"""The patterns of the heads in a report: a map of all heads for each, its best head, and the strongest head of all."""

import sys
from collections.abc import Iterator, Mapping

import numpy as np

from plugins.analysis.attention.head_scores import UNIFORM, score_heads
from plugins.analysis.attention.names import DESCRIPTIONS, STRONG, heads_in_order, readable, two_digits
from plugins.analysis.attention.patterns import INDUCTION
from plugins.analysis.language_model import LanguageModel

LENGTH = 128  # tokens of a stretch of text


def head_maps(lm: LanguageModel, text: str, count: int, seed: int) -> dict:
    """Return the score of every head on every pattern, over stretches of a text.

    Args:
        lm: returned by ``plugins.hub.load``.
        text: up to ``count`` stretches of it are read, evenly spaced.
        count: maximum number of stretches.
        seed: random seed of the intervals.

    Raises:
        UserError: no stretch of two tokens, or an unknown character.
    """
    texts = list(stretches(lm, text, count))
    scores = score_heads(lm, texts, length=LENGTH, seed=seed, bar=sys.stderr.isatty())
    found = {name: of for name, of in scores.items() if np.isfinite(of["score"]).all()}
    layers, heads = next(iter(found.values()))["score"].shape
    note = (
        "The score of a head is the share of its attention on a pattern, minus the share that a uniform head has "
        "there: 0 for no preference, near 1 for a head that does nothing else. Colors are on the square-root scale of "
        f"the attention above, layers downwards and heads across. Read from {len(texts):,} stretches of the text; "
        "brackets are 95\u00a0% intervals over them. Choose a cell of a map to see the head."
    )
    items = [head_map(name, of) for name, of in found.items()]
    return {"note": note, "layers": layers, "heads": heads, "items": items}


def head_map(name: str, scores: Mapping) -> dict:
    """Return one pattern in the page's form; a head below :data:`STRONG` is only named as the best of weak ones."""
    what = DESCRIPTIONS[name][1] if name in DESCRIPTIONS else ""
    score, low, high = (np.asarray(scores[key]) for key in ("score", "low", "high"))  # (L, H)
    best, heads = int(score.argmax()), score.shape[1]
    most = f"Layer {best // heads}, head {best % heads}: {two_digits(score.flat[best])}"
    if np.isfinite(low).all():
        most += f" [{two_digits(low.flat[best])}, {two_digits(high.flat[best])}]"
    strong = bool(heads_in_order({"score": score, "low": low}, STRONG))
    return {
        "name": name, "title": readable(name).capitalize(), "what": what, "best": best, "strong": strong,
        "most": most if strong else f"No such head. Highest: {most[0].lower()}{most[1:]}",
        "score": np.round(score, 4).flatten().tolist(),
    }  # fmt: skip


def strongest_head(maps: Mapping | None, weights: np.ndarray) -> int:
    """Return the head shown first in a report, counted through the layers.

    It is the one with the highest score on any pattern of the text, or without patterns the one that concentrates its
    attention most. A uniform head attends to nothing in particular, and induction is scored on other text.

    Args:
        maps: returned by :func:`head_maps`.
        weights: (L, H, T, T) on the text shown.
    """
    items = [item for item in (maps or {"items": ()})["items"] if item["name"] not in (UNIFORM, INDUCTION)]
    if items:
        return max(items, key=lambda item: item["score"][item["best"]])["best"]
    return int(weights.max(-1).mean(-1).argmax())  # (L, H)


def stretches(lm: LanguageModel, text: str, count: int) -> Iterator[str]:
    """Yield up to ``count`` parts of a text, evenly spaced, each long enough for the tokens that are read of it."""
    subwords = not lm.reads_characters
    width = min(LENGTH, lm.model.max_positions()) * (8 if subwords else 1)  # a subword has fewer than 8 characters
    starts = range(0, max(1, len(text) - width + 1), width)
    for i in np.linspace(0, len(starts) - 1, min(count, len(starts))).round().astype(int):
        part = text[starts[i] : starts[i] + width]
        yield part.partition(" ")[2] or part if subwords and i else part  # from the start of a word

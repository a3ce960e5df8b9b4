"""The masked passages of a report: which words are masked, and the model's answers."""

import re
from collections.abc import Sequence

import numpy as np

from plugins.analysis.language_model import MaskFiller
from plugins.data.dictionaries import MASK
from plugins.errors import UserError

ANSWERS = 5  # for each mask
MASKED = 8  # words of a passage, one at a time


def fill_masks(lm: MaskFiller, text: str, masked: Sequence[str]) -> list[dict] | None:
    """Return passages with places to fill, and the best answers for each.

    Words of the text are masked one at a time, given the rest. Sentences with masks are filled as they are.

    Raises:
        UserError: ``masked`` sentences for a model that does not fill masks.
    """
    if not lm.fills_masks:
        if masked:
            raise UserError(f"--mask {masked[0]!r}: this model does not fill masks; omit it")
        return None
    own = [] if MASK in text else [passage_of_words(lm, text)]
    given = [text] if MASK in text else []
    return [
        passage for passage in (*own, *(passage_of_masks(lm, sentence) for sentence in (*given, *masked))) if passage
    ]


def passage_of_masks(lm: MaskFiller, sentence: str) -> dict:
    """Return a sentence with masks, each a slot."""
    found = lm.fill_mask(sentence, topk=ANSWERS)
    slots = [found] if sentence.count(MASK) == 1 else found
    parts = sentence.split(MASK)
    pieces: list[str | dict[str, int]] = [parts[0]]
    for i, part in enumerate(parts[1:]):
        pieces += [{"slot": i}, part]
    return {"pieces": pieces, "slots": [{"truth": None, "answers": answers(slot)} for slot in slots]}


def passage_of_words(lm: MaskFiller, text: str) -> dict | None:
    """Return a text some of whose words are slots: words that are a single token, since an answer is one token."""
    words = [word for word in re.finditer(r"\w+", text) if is_one_token(lm, word[0])]
    if not words:
        return None
    words = [words[i] for i in sorted({round(i) for i in np.linspace(0, len(words) - 1, MASKED)})]
    found = lm.fill_mask([text[: word.start()] + MASK + text[word.end() :] for word in words], topk=ANSWERS)
    pieces, done = [], 0
    for i, word in enumerate(words):
        pieces += [text[done : word.start()], {"slot": i}]
        done = word.end()
    slots = [{"truth": word[0], "answers": answers(best)} for word, best in zip(words, found, strict=True)]
    return {"pieces": [*pieces, text[done:]], "slots": slots}


def is_one_token(lm: MaskFiller, word: str) -> bool:
    """Return whether a word is a single token."""
    try:
        return lm.single_token(f" {word}") is not None
    except UserError:
        return False


def answers(best: Sequence[tuple]) -> list[tuple[str, float]]:
    """Return (word, probability) of the answers of ``fill_mask``."""
    return [(word, round(probability, 4)) for _, probability, word in best]

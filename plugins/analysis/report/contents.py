"""What a report shows, gathered from a model and a text.

``lm`` is what ``plugins.hub.load`` returned. What it can do decides what is shown: a model that samples gets samples,
one that fills masks gets masks, one with styles a ribbon.
"""

import bisect
import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from plugins.analysis.attention.capture import attention_of, prompt_of
from plugins.analysis.styles import effects
from plugins.data.dictionaries import MASK
from plugins.errors import UserError

from .card import model_card
from .head_maps import head_maps

ANSWERS = 5  # for each mask
MASKED = 8  # words of a passage, one at a time
RIBBON = 400  # characters whose style is shown


def gather(
    lm,
    state: Mapping,
    title: str,
    text: str,
    *,
    source: str = "text",
    tokens: int = 64,
    pattern_texts: int = 100,
    prompt: str = "",
    temperatures: Sequence[float] = (0.2, 0.5, 0.8, 1.0, 1.2),
    length: int = 400,
    seed: int = 1,
    masked: Sequence[str] = (),
) -> dict:
    """Return what :func:`plugins.analysis.report.page.render` draws.

    Args:
        lm: see the module.
        state: the content of its checkpoint.
        title: the name of the report.
        text: its start is shown; all of it is read for the patterns of the heads.
        source: what errors call the text.
        tokens: how many are shown at most.
        pattern_texts: stretches of the text to read for the patterns of the heads; 0 leaves them
            out, and so does a tuned prompt, which is no text.
        prompt: what samples continue.
        temperatures, length, seed: of the samples; no length leaves them out.
        masked: sentences with ``<mask>`` to fill beside the text's own words.

    Raises:
        UserError: the text is empty, or holds what the model does not know.
    """
    with named(source):
        if lm.reads_characters:
            lm.encode(text)  # an unknown character is named by its place in the whole text
        text = text.strip()
        start = excerpt(lm, text, tokens)
        patterned = pattern_texts and prompt_of(lm.model) is None  # the patterns are about a text alone
        maps = head_maps(lm, text, pattern_texts, seed) if patterned else None
    shown, weights = attention_of(lm, start)
    card = model_card(lm, state)
    return {
        "title": title,
        "lead": lead(card["card"]),
        "model": card,
        "attention": {"tokens": shown, "weights": np.concatenate([layer.numpy() for layer in weights])},
        "patterns": maps,
        "styles": style_ribbon(lm, text[:RIBBON]),
        "masks": fill_masks(lm, start, masked),
        "samples": samples(lm, prompt, temperatures, length, seed),
    }


@contextlib.contextmanager
def named(source: str):
    """Put the name of a text before what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def lead(card: Iterable[Mapping]) -> str:
    """Return the model in a line."""
    facts = {name: value for group in card for name, value in group["facts"]}
    parts = [facts["Architecture"]]
    if "Layers" in facts and "Heads a layer" in facts:
        parts.append(f"{facts['Layers']} layers of {facts['Heads a layer']} heads")
    parts.append(f"{facts['All']} parameters")
    if "Updates" in facts:
        parts.append(f"{facts['Updates']} updates")
    return " · ".join(parts)


def excerpt(lm, text: str, limit: int) -> str:
    """Return the longest start of a text, of whole words where tokens are words, of at most so many tokens.

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


def style_ribbon(lm, text: str) -> dict | None:
    """Return the probability of each style after each character, or None where the model infers none."""
    if not lm.styles:
        return None
    try:
        probabilities = effects.probabilities(lm, text)  # (T, K)
    except UserError:  # a model that is given its style
        return None
    return {"names": lm.styles, "tokens": list(text), "probabilities": np.round(probabilities, 3).tolist()}


# Masks


def fill_masks(lm, text: str, masked: Sequence[str]) -> list[dict] | None:
    """Return passages with places to fill, and the best answers for each.

    Words of the text are masked one at a time, the rest being seen. Sentences that come with masks keep them all.
    """
    if not lm.fills_masks:
        if masked:
            raise UserError(f"--mask {masked[0]!r}: this model fills no masks; leave it out")
        return None
    own = [] if MASK in text else [passage_of_words(lm, text)]
    given = [text] if MASK in text else []
    return [
        passage for passage in (*own, *(passage_of_masks(lm, sentence) for sentence in (*given, *masked))) if passage
    ]


def passage_of_masks(lm, sentence: str) -> dict:
    """Return a sentence with masks, each a slot."""
    found = lm.fill_mask(sentence, topk=ANSWERS)
    slots = [found] if sentence.count(MASK) == 1 else found
    parts = sentence.split(MASK)
    pieces = [parts[0]]
    for i, part in enumerate(parts[1:]):
        pieces += [{"slot": i}, part]
    return {"pieces": pieces, "slots": [{"truth": None, "answers": answers(slot)} for slot in slots]}


def passage_of_words(lm, text: str) -> dict | None:
    """Return a text some of whose words are slots: words that are one token, which alone can be right."""
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


def is_one_token(lm, word: str) -> bool:
    try:
        return lm.single_token(f" {word}") is not None
    except UserError:
        return False


def answers(best: Sequence[tuple]) -> list[tuple[str, float]]:
    return [(word, round(probability, 4)) for _, probability, word in best]


# Samples


def samples(lm, prompt: str, temperatures: Sequence[float], length: int, seed: int) -> dict | None:
    """Return a sample for each temperature and, of a model with styles, each style, the inferred one first."""
    if not lm.continues_text:
        if prompt:
            raise UserError(f"--prompt {prompt!r}: this model continues no text; leave it out")
        return None
    if not length:
        return None
    names = lm.styles
    forced = {"inferred": None, **{name: name for name in names}, "none": False} if names else {"": None}
    jobs = [({"style": style} if names else {}, t) for style in forced.values() for t in temperatures]
    progress = tqdm(jobs, desc="samples", unit="sample", leave=False, disable=None)
    texts = [lm.sample(prompt, length, temperature=t, seed=seed, **style) for style, t in progress]
    rows = [texts[i : i + len(temperatures)] for i in range(0, len(texts), len(temperatures))]
    nearest = min(range(len(temperatures)), key=lambda i: abs(temperatures[i] - 0.8))
    note = f"Drawn from the model when this page was made, with seed {seed}"
    return {
        "note": note + (", after the prompt in grey." if prompt else "."),
        "prompt": prompt,
        "temperatures": [f"{t:g}" for t in temperatures],
        "styles": list(forced),
        "texts": rows,
        "chosen": nearest,
    }

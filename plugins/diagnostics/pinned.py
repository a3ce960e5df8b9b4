"""Pinned lexical bias: how far words alone, in a template, move a classifier towards a label.

Badjatiya, Gupta and Varma, 2019, "Stereotypical Bias Removal for Hate Speech Detection Task" (arXiv 2001.05495):
pB = mean over words of |p(label | template with the word) - phi|. A bare word is unlike the texts that the
classifier was trained on, so the bias is compared with that of random words that are as frequent in these texts.

Shapes: m words, P templates, R draws of m random words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plugins.errors import UserError, check, shown

from . import lexical
from .divergence import count_words, tokens
from .transforms import WORD

TEMPLATES = ("{}", "this is {}")
REFERENCES = ("above", "half", "mean")


@dataclass(frozen=True)
class Matched:
    """Words of a list that occur in some texts, and random words of equal frequency.

    Attributes:
        words: the m words of the list that occur.
        counts: in how many texts each occurs, (m,).
        missing: words of the list that do not occur.
        vocabulary: the different random words.
        draws: (R, m) numbers into ``vocabulary``.
    """

    words: list[str]
    counts: np.ndarray
    missing: list[str]
    vocabulary: list[str]
    draws: np.ndarray


def match(words: Sequence[str], texts: Sequence[str], draws: int = 100, seed: int = 1) -> Matched:
    """Return, for words of a list, random words that occur in about as many texts.

    Args:
        words: the list; case is ignored.
        texts: the texts that the classifier was trained on.
        draws: R, samples of m words each.
        seed: random seed of the samples.

    Raises:
        UserError: no word of the list occurs, fewer than one draw, or too few other words to draw from.
    """
    check(draws >= 1, f"--draws {draws}: at least 1 is needed")
    counted = count_words([tokens(text) for text in texts])
    frequency = np.asarray((counted.counts > 0).sum(0)).ravel()
    usable = np.array([i for i, word in enumerate(counted.vocabulary) if WORD.fullmatch(word)], np.int64)
    place = {counted.vocabulary[i]: k for k, i in enumerate(usable.tolist())}
    listed = list(dict.fromkeys(word.lower() for word in words))
    there = [word for word in listed if word in place]
    check(there, f"none of the {len(listed)} words of the list occurs in the texts: {shown(', '.join(listed))}")
    own = np.array([place[word] for word in there])
    free = len(usable) - len(own)
    check(
        free >= len(own), f"{len(own)} words of the list occur in the texts, which have only {free} others to compare"
    )
    random = np.random.default_rng(seed)
    chosen = np.stack([lexical.same_frequency(own, frequency[usable], random) for _ in range(draws)])  # (R, m)
    numbers, drawn = np.unique(chosen, return_inverse=True)
    return Matched(
        there, frequency[usable][own], [word for word in listed if word not in place],
        [counted.vocabulary[usable[i]] for i in numbers.tolist()], drawn.reshape(chosen.shape),
    )  # fmt: skip


def fill(templates: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return each word in each template, the templates of the first word first: m x P texts.

    Raises:
        UserError: a template without ``{}``, or with more than one.
    """
    for template in templates:
        check(template.count("{}") == 1, f"--template {shown(template)}: write {{}} once, where the word goes")
    return [template.replace("{}", word) for word in words for template in templates]


def bias(probabilities: np.ndarray, reference: str = "above") -> np.ndarray:
    """Return the pinned bias of words, the mean over the last axis of the distance from a reference.

    Args:
        probabilities: (..., m) of the label, for each word in a template.
        reference: phi. ``above``: min(p, 1/2), so that only probabilities above 1/2 count; ``half``: 1/2; ``mean``:
            the mean over the words, so that the bias is the mean absolute deviation.

    Returns:
        (...), from 0 to 1.

    Raises:
        UserError: no such reference, no words, or a probability that is NaN or not from 0 to 1.
    """
    p = np.asarray(probabilities, np.float64)
    check(p.ndim > 0 and p.shape[-1] > 0, "probabilities: at least one word is needed")
    check(((p >= 0) & (p <= 1)).all(), "probabilities: a value is NaN or not from 0 to 1")
    if reference == "above":
        phi = np.minimum(p, 0.5)
    elif reference == "half":
        phi = np.full_like(p, 0.5)
    elif reference == "mean":
        phi = np.broadcast_to(p.mean(-1, keepdims=True), p.shape)
    else:
        raise UserError(f"reference {reference!r}: there are {', '.join(REFERENCES)}")
    return np.abs(p - phi).mean(-1)


@dataclass(frozen=True)
class Comparison:
    """Pinned bias of a list of words for one label in one template, next to that of random words.

    Attributes:
        bias: of the list.
        random: mean over the draws of random words.
        random_high: their 95th percentile.
        p_value: share of draws at least as biased, the list itself counted as one: (1 + k) / (1 + R).
        probability: mean probability of the label over the list.
        random_probability: the same over the random words.
    """

    bias: float
    random: float
    random_high: float
    p_value: float
    probability: float
    random_probability: float


def compare(listed: np.ndarray, drawn: np.ndarray, reference: str = "above") -> Comparison:
    """Compare the pinned bias of listed words with that of draws of random words.

    Args:
        listed: (m,) probabilities of the label for the listed words.
        drawn: (R, m) the same for the random words.
        reference: see :func:`bias`.

    Raises:
        UserError: see :func:`bias`; or shapes that do not fit.
    """
    listed, drawn = np.asarray(listed, np.float64), np.asarray(drawn, np.float64)
    fits = listed.ndim == 1 and drawn.ndim == 2 and drawn.shape[1:] == listed.shape and len(drawn) > 0
    check(fits, f"probabilities: (m,) and (R, m) are expected, not the shapes {listed.shape} and {drawn.shape}")
    own, others = float(bias(listed, reference)), bias(drawn, reference)
    as_biased = int((others >= own - 1e-12).sum())  # equal up to rounding counts against the list
    return Comparison(
        own, float(others.mean()), float(np.quantile(others, 0.95)), (1 + as_biased) / (1 + len(others)),
        float(listed.mean()), float(drawn.mean()),
    )  # fmt: skip

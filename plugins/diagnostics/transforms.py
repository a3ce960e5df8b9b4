"""Input transforms that keep or remove one attribute of the text, to measure the usable information in it.

A transform maps the tuple of one or two texts of a row to a tuple of one or two texts.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from plugins.errors import UserError, check
from plugins.files import opened

from . import lexical, wordnet

NAMES = ("full", "empty", "first", "second", "shuffled", "length", "overlap", "words:LIST", "without:LIST",
         "hypernyms:LIST", "masked:LIST", "matched:LIST", "start:N")  # fmt: skip
WORD = re.compile(r"\w+(?:['’-]\w+)*")
Transform = Callable[[tuple[str, ...], int], tuple[str, ...]]


def make(
    name: str, columns: int, seed: int = 0, wordnet_folder: str | None = None, mask: str = "<mask>",
    texts: Sequence[Sequence[str]] = (),
) -> Transform:  # fmt: skip
    """Return a transform ``f(texts, row) -> texts``.

    Args:
        name: ``full``; ``empty``; only the ``first`` or ``second`` text; ``shuffled`` words; ``length``, the numbers of
            words; ``overlap``, the words of the second text that also occur in the first; ``words:FILE``, only the
            words of a list; ``without:FILE``, all other words; ``hypernyms:FILE``, the nouns of the list replaced by
            their WordNet hypernyms; ``masked:FILE``, the words of the list replaced by ``mask``; ``matched:FILE``,
            as many random words of similar frequency replaced by ``mask``; ``start:N``, the first N words.
        columns: texts of a row, 1 or 2.
        seed: random seed of the shuffling, which differs by row, and of random words.
        wordnet_folder: folder of WordNet's files.
        mask: replacement of a word in ``masked`` and ``matched``.
        texts: columns of texts that the random words are from.

    Raises:
        UserError: the transform is unknown or needs two texts, the list cannot be read, or WordNet is missing.
    """
    kind, _, argument = name.partition(":")
    takes = {known.split(":")[0]: ":" in known for known in NAMES}
    check(kind in takes, f"--inputs {name}: the choices are {', '.join(NAMES)}")
    check(bool(argument) == takes[kind], f"--inputs {name}: write {next(k for k in NAMES if k.split(':')[0] == kind)}")
    check(columns == 2 or kind not in ("second", "overlap"), f"--inputs {name}: the task has one text")
    if kind == "shuffled":
        return lambda texts, row: tuple(shuffled(text, seed, row, i) for i, text in enumerate(texts))
    if kind == "start":
        check(argument.isdecimal() and int(argument) > 0, f"--inputs {name}: N must be a number of at least 1")
        return lambda texts, row: tuple(" ".join(text.split()[: int(argument)]) for text in texts)
    if kind in ("words", "without", "masked", "matched", "hypernyms"):
        listed = read_list(argument)
        listed = matched(listed, texts, seed) if kind == "matched" else listed
        change = _changer("masked" if kind == "matched" else kind, listed, wordnet_folder, mask)
        return lambda texts, row: tuple(change(text) for text in texts)
    simple = {
        "full": lambda texts, row: texts,
        "empty": lambda texts, row: ("",),
        "first": lambda texts, row: texts[:1],
        "second": lambda texts, row: texts[1:],
        "length": lambda texts, row: tuple(str(len(text.split())) for text in texts),
        "overlap": lambda texts, row: (overlap(*texts),),
    }
    return simple[kind]


def _changer(kind: str, listed: set[str], wordnet_folder: str | None, mask: str) -> Callable[[str], str]:
    if kind == "words":
        return lambda text: " ".join(word for word in WORD.findall(text) if word.lower() in listed)
    if kind == "hypernyms":
        nouns = wordnet.load(wordnet.find(wordnet_folder))

        def above(word: str) -> str:
            return nouns.substitute(word) or word
    else:

        def above(word: str) -> str:
            return mask if kind == "masked" else ""

    def change(text: str) -> str:
        found = WORD.sub(lambda match: above(match[0]) if match[0].lower() in listed else match[0], text)
        return " ".join(found.split()) if kind == "without" else found

    return change


def read_list(path: str | Path) -> set[str]:
    """Return the words of a file, one per line, in lower case.

    Raises:
        UserError: the file cannot be read, or contains no words.
    """
    with opened(path) as file:
        words = {line.strip().lower() for line in file}
    words.discard("")
    check(words, f"{path}: no words; write one per line")
    return words


def matched(listed: set[str], texts: Sequence[Sequence[str]], seed: int) -> set[str]:
    """Return as many other words as some listed ones occur in texts, each in a similar number of rows.

    Args:
        listed: words in lower case.
        texts: columns of n texts.
        seed: random seed.

    Raises:
        UserError: none of the listed words occurs.
    """
    rows = ({word.lower() for text in row for word in WORD.findall(text)} for row in zip(*texts, strict=True))
    counts = Counter(word for row in rows for word in sorted(row))
    vocabulary = sorted(counts)
    own = np.flatnonzero([word in listed for word in vocabulary])
    check(len(own), "--inputs matched: none of the listed words occurs in the texts")
    numbers = np.array([counts[word] for word in vocabulary])
    return {vocabulary[i] for i in lexical.same_frequency(own, numbers, np.random.default_rng(seed)).tolist()}


def shuffled(text: str, seed: int, row: int, column: int) -> str:
    """Shuffle the words of a text, reproducibly for the same seed, row and column."""
    words = text.split()
    random.Random(f"{seed}/{row}/{column}").shuffle(words)
    return " ".join(words)


def overlap(first: str, second: str) -> str:
    """Return the words of the second text that also occur in the first, in their order."""
    known = {word.lower() for word in WORD.findall(first)}
    return " ".join(word for word in WORD.findall(second) if word.lower() in known)


def apply(transform: Transform, texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Apply a transform to each row of columns of texts, and return the new columns.

    Raises:
        UserError: the data set has no rows.
    """
    rows = [transform(row, number) for number, row in enumerate(zip(*texts, strict=True))]
    if not rows:
        raise UserError("no rows to transform")
    return [list(column) for column in zip(*rows, strict=True)]

"""Read comparisons of texts, or texts with ratings; make comparisons from ratings; split by text.

Columns are trl's, ``chosen``, ``rejected`` and optionally ``prompt``, ``margin``, ``weight``; or ``text_a``, ``text_b``
and ``preference`` (a, b or tie); or ``text``, ``score`` and optionally ``query``, which groups texts into lists.

In JSON a text may also be a chat, a list of messages ``{"role": ..., "content": ...}``, as in trl.
"""

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from plugins.data.embedding.vectors import LARGEST, text_hash
from plugins.data.text.packed import find_text
from plugins.data.text.records import BadRow, check_whole, is_json, json_records, string_under, usable_rows
from plugins.data.text.tables import check_delimiter, table_rows
from plugins.errors import UserError
from plugins.files import check_regular

logger = logging.getLogger(__name__)

CHOSEN, SIDES, RATED = ("chosen", "rejected"), ("text_a", "text_b", "preference"), ("text", "score")
OUTCOMES = {"a": 0, "b": 1, "tie": 2}
SPLITS = {"train": ("train",), "valid": ("valid", "validation", "dev"), "test": ("test",)}
SUFFIXES = (".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class Preferences:
    """N different texts, compared or rated.

    Attributes:
        texts: N texts, prompts before them.
        pairs: (P, 2) text numbers.
        outcomes: (P,) of 0 (the first is better), 1 (the second is), 2 (a tie).
        margins, weights: (P,) float64.
        scores: (N,) ratings, or None.
        groups: (N,) list numbers of rated texts, or None where there is one list only.
    """

    texts: list
    pairs: np.ndarray
    outcomes: np.ndarray
    margins: np.ndarray
    weights: np.ndarray
    scores: np.ndarray | None = None
    groups: np.ndarray | None = None

    @property
    def rated(self) -> bool:
        """Whether texts have ratings."""
        return self.scores is not None

    def keep(self, texts: np.ndarray) -> "Preferences":
        """Return the texts chosen by a mask (N,), and the comparisons whose two texts are among them."""
        number = np.cumsum(texts) - 1
        kept = texts[self.pairs].all(1) if len(self.pairs) else np.zeros(0, bool)
        return Preferences(
            [text for text, wanted in zip(self.texts, texts, strict=True) if wanted],
            number[self.pairs[kept]].reshape(-1, 2), self.outcomes[kept], self.margins[kept], self.weights[kept],
            None if self.scores is None else self.scores[texts], None if self.groups is None else self.groups[texts],
        )  # fmt: skip


def locate(data: str, split: str) -> tuple[Path, bool]:
    """Return the file of a split, and whether it contains all splits: ``data`` itself, if it is a file.

    Raises:
        UserError: there is none.
    """
    if Path(data).is_file():
        return Path(data), True
    if found := find_text(data, [name + suffix for name in SPLITS[split] for suffix in SUFFIXES]):
        if len(found) > 1:
            raise UserError(
                f"{data}: {' and '.join(path.name for path in found)} are both the {split} split; remove one"
            )
        return found[0], False
    raise UserError(f"{data}: neither a file nor a folder with {split}.jsonl, {split}.csv or {split}.tsv")


def load(data: str, split: str, valid_fraction: float = 0.1) -> Preferences:
    """Read a split. Of a single file, texts are divided, not comparisons: no text is in both parts.

    Raises:
        UserError: as :func:`locate` and :func:`read`, or nothing is left.
    """
    path, whole = locate(data, split)
    found = read(path)
    if not whole:
        return found
    if split not in ("train", "valid"):
        raise UserError(f"{path}: a single file has no {split} split; give a folder with one file each")
    chosen = held_out(found, valid_fraction)
    kept = found.keep(chosen if split == "valid" else ~chosen)
    if not kept.texts or (len(found.pairs) and not len(kept.pairs)):
        raise UserError(f"{path}: no rows are left for the {split} split; give more, or a folder with one file each")
    lost = len(found.pairs) - sum(len(found.keep(part).pairs) for part in (chosen, ~chosen))
    if lost and split == "train":
        logger.info(
            "%s: comparisons connect too many texts to keep them together; each is assigned to a split by its hash, "
            "and %d of %d comparisons, with one text in each split, are left out", path, lost, len(found.pairs),
        )  # fmt: skip
    return kept


def held_out(found: Preferences, fraction: float) -> np.ndarray:
    """Return the texts for validation, (N,) bool: those with the lowest hashes.

    Texts that comparisons connect are held out together, so that no comparison is lost, if groups that are smaller than
    the validation part contain at least half as many texts as it needs. Otherwise texts are held out one by one.

    Args:
        fraction: of the texts. With groups of texts the part may be half as large, or twice.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    hashes, n = np.array([text_hash(text) for text in found.texts], np.uint64), len(found.texts)
    wanted = round(fraction * n, 6)  # 0.1 * 30 is above 3
    graph = coo_array((np.ones(len(found.pairs)), (found.pairs[:, 0], found.pairs[:, 1])), shape=(n, n))
    count, group = connected_components(graph, directed=False)
    sizes, lowest = np.bincount(group), np.full(count, np.iinfo(np.uint64).max)
    np.minimum.at(lowest, group, hashes)
    order = np.argsort(lowest)
    # Of very few texts, two or three that are compared with each other may exceed the fraction.
    order = order[sizes[order] <= min(max(wanted, 3), n / 2)]
    held = np.cumsum(sizes[order])
    if not len(held) or 2 * held[-1] < wanted:
        group, order, held = np.arange(n), np.argsort(hashes), np.arange(1, n + 1)
    return np.isin(group, order[: np.searchsorted(held, wanted) + 1] if wanted else [])


def read(path: str | Path) -> Preferences:
    """Read a file.

    Raises:
        UserError: a row is bad, or the columns match none of the three kinds.
    """
    path = Path(path)
    texts: dict[str, int] = {}
    rows = list(usable_rows(path, _rows(path), lambda row, *_: _parsed(row, texts), remedy="correct the row"))
    ratings = sum("score" in row for row in rows)
    if 0 < ratings < len(rows):
        raise UserError(f"{path}: some rows are comparisons and some are ratings; separate them")
    if ratings:
        return _rated(path, texts, rows)
    numbers = [[row[name] for row in rows] for name in ("a", "b", "outcome", "margin", "weight")]
    a, b, outcomes = (np.array(column, np.int64) for column in numbers[:3])
    return Preferences(list(texts), np.stack([a, b], 1), outcomes, *(np.array(x, np.float64) for x in numbers[3:]))


def _rows(path: Path):
    check_regular(path)
    if is_json(path):
        yield from json_records(path)
        return
    table = table_rows(path)
    header = next(table, (0, [""]))[1]
    check_delimiter(path, header)
    if not any(set(kind) <= set(header) for kind in (CHOSEN, SIDES, RATED)):
        kinds = "; ".join(", ".join(kind) for kind in (CHOSEN, SIDES, RATED))
        raise UserError(f"{path}:1: the columns must be one of: {kinds}; found: {', '.join(header)[:200]}")
    for line, cells in table:
        fits = len(cells) == len(header)
        yield (
            line,
            dict(zip(header, cells, strict=True)) if fits else BadRow(f"{len(cells)} columns, {len(header)} expected"),
        )


def _parsed(row: dict, texts: dict) -> dict:
    """Return a row with text numbers, numbers and an outcome."""
    if set(CHOSEN) <= row.keys():
        a, b = (_text(row, name, texts) for name in CHOSEN)
        outcome = 0
    elif set(SIDES) <= row.keys():
        a, b = (_text(row, name, texts) for name in SIDES[:2])
        written = str(row["preference"]).strip().lower()
        if written not in OUTCOMES:
            raise BadRow(f"preference {written!r}: a, b or tie is needed")
        outcome = OUTCOMES[written]
    elif set(RATED) <= row.keys():
        return {"text": _text(row, "text", texts), "score": _number(row, "score"), "query": str(row.get("query", ""))}
    else:
        raise BadRow(f"neither {', '.join(CHOSEN)} nor {', '.join(SIDES)} nor {', '.join(RATED)}")
    if a == b:
        raise BadRow("a text is compared with itself")
    margin, weight = _number(row, "margin", 0.0), _number(row, "weight", 1.0)
    if weight < 0:
        raise BadRow(f"weight {weight:g} is negative")
    return {"a": a, "b": b, "outcome": outcome, "margin": margin, "weight": weight}


def _text(row: dict, name: str, texts: dict) -> int:
    if row.get(name) in (None, []) or not str(row[name]).strip():
        raise BadRow(f"no text in the column {name!r}")
    said, prompt = _said(row, name), _said(row, "prompt") if row.get("prompt") else []
    if isinstance(row[name], list) and {each.strip() for each in prompt} <= {each.strip() for each in said}:
        prompt = []  # the chat contains it, as in UltraFeedback
    return texts.setdefault("\n".join([*prompt, *said]), len(texts))


def _said(row: dict, name: str) -> list[str]:
    """Return the text of a column, or the texts of its messages; a message without one, as a tool call, is left out.

    Raises:
        BadRow: it is neither a text nor a list of messages of which one has a text.
    """
    if not isinstance(row[name], list):
        return [string_under(row, name)]
    contents = []
    for number, message in enumerate(row[name], 1):
        if not isinstance(message, dict) or "content" not in message:
            raise BadRow(f"message {number} under {name!r} has no 'content'")
        content = message["content"]
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            text = part.get("text") if isinstance(part, dict) else part
            if not isinstance(part, dict) or not isinstance(text, str | None):
                raise BadRow(f"message {number} under {name!r} has no text under 'content'")
            if text and text.strip():
                check_whole(text, name)
                contents.append(text)
    if not contents:
        raise BadRow(f"no message under {name!r} has a text under 'content'")
    return contents


def _number(row: dict[str, Any], name: str, default: float | None = None) -> float:
    value: Any = row.get(name)
    if value in (None, "") and default is not None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadRow(f"{name} {value!r} is not a number") from None
    if not math.isfinite(number):
        raise BadRow(f"{name} {value!r} is not finite")
    if abs(number) > LARGEST:
        raise BadRow(f"{name} {value!r} is not between {-LARGEST:g} and {LARGEST:g}")
    return number


def _rated(path: Path, texts: dict, rows: list) -> Preferences:
    if len(texts) < len(rows):
        raise UserError(f"{path}: {len(rows) - len(texts)} texts are rated twice; keep one rating of each")
    queries, groups = np.unique([row["query"] for row in rows], return_inverse=True)
    groups = groups if len(queries) > 1 else None
    none = np.zeros(0)
    scores = np.array([row["score"] for row in rows], np.float64)
    return Preferences(list(texts), np.zeros((0, 2), np.int64), none.astype(np.int64), none, none, scores, groups)


# Comparisons from ratings


def compare(found: Preferences, min_gap: float = 0.5, per_text: int = 4, seed: int = 1) -> Preferences:
    """Return ratings with comparisons of texts whose ratings differ enough, within a list where there are lists.

    Args:
        min_gap: smallest difference of two ratings that are compared.
        per_text: comparisons that each text starts, with others drawn at random.

    Raises:
        UserError: no two ratings differ as much.
    """
    draw, scores, pairs = np.random.default_rng(seed), found.scores, set()
    assert scores is not None, "comparisons are made from ratings"
    for i in tqdm(range(len(scores)), "comparisons", leave=False, disable=None, delay=2):
        far = np.abs(scores - scores[i]) >= max(min_gap, np.finfo(float).tiny)
        if found.groups is not None:
            far &= found.groups == found.groups[i]
        others = np.flatnonzero(far)
        for j in draw.choice(others, min(per_text, len(others)), replace=False) if len(others) else ():
            pairs.add((i, int(j)) if scores[i] > scores[j] else (int(j), i))
    if not pairs:
        raise UserError(f"--min-gap {min_gap}: no two ratings differ by that much; lower it")
    pairs = np.array(sorted(pairs))
    ones = np.ones(len(pairs))
    return replace(found, pairs=pairs, outcomes=np.zeros(len(pairs), np.int64), margins=0 * ones, weights=ones)


def shared_texts(a: Preferences, b: Preferences) -> int:
    """Return how many texts are in both."""
    return len(set(a.texts) & set(b.texts))

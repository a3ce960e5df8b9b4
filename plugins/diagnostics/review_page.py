"""Label review page: a self-contained HTML file that needs neither a network nor a server.

The page is ``page/review.html`` with its style and script inserted. Texts are only inserted as text nodes, and the
content security policy forbids other scripts and any request.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from plugins.errors import check

from . import review
from .label_errors import Listed, neighbors

HERE = Path(__file__).parent / "page"


def render(given: Listed, title: str, most: int = 20_000, slices: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return the page.

    Args:
        given: the rows.
        title: heading.
        most: maximum number of rows on the page; the most likely errors are included.
        slices: {name: n values} for the filters of the page.

    Raises:
        UserError: there are no rows.
    """
    check(len(given) > 0, "no rows to review")
    style, script = ((HERE / f"review.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    parts = {
        "TITLE": html.escape(title), "STYLE": style, "SCRIPT": script, "STYLE_HASH": digest(style),
        "SCRIPT_HASH": digest(script), "DATA": embed(content(given, title, most, slices or {})),
    }  # fmt: skip
    template = (HERE / "review.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z_]+)@", lambda found: parts[found[1]], template)  # one pass: inserted text is not searched


def content(given: Listed, title: str, most: int, slices: Mapping[str, Sequence[str]]) -> dict:
    """Return the data of the page's script, as plain data."""
    rows = given.order[:most]
    numbers = rows.tolist()
    place = {row: i for i, row in enumerate(numbers)}
    joined = [" ".join(row) for row in zip(*given.texts, strict=True)]
    near = neighbors(joined, rows)
    shown = [i for i in dict.fromkeys(near.ravel().tolist()) if i >= 0 and i not in place]
    extra = {row: len(numbers) + i for i, row in enumerate(shown)}
    everything = numbers + shown
    twins: dict[int, list[int]] = {}
    for i, row in enumerate(everything):
        twins.setdefault(int(given.groups[row]), []).append(i)
    x = review.features(given.log_probabilities, given.labels)
    prior = review.prior(len(given.classes))
    return {
        "title": title, "classes": given.classes, "count": len(numbers), "every": review.EVERY,
        "mean": prior.mean.tolist(), "precision": prior.precision.tolist(),
        "few": review.FEW, "recent": review.RECENT, "table": review.stopping_table(),
        "texts": [[printable(column[row]) for column in given.texts] for row in everything],
        "row": everything, "index": [given.index[row] for row in everything],
        "label": given.labels[everything].tolist(),
        "p": np.exp(given.log_probabilities[everything]).round(4).tolist(),
        "score": given.score[rows].round(5).tolist(), "pvi": given.pvi[rows].round(3).tolist(),
        "flag": given.flags[rows].astype(int).tolist(), "x": x[rows, :4].round(4).tolist(),
        "near": [[place.get(i, extra.get(i)) for i in row if i >= 0] for row in near.tolist()],
        "twins": [[j for j in twins[int(given.groups[row])] if j != i][:5] for i, row in enumerate(numbers)],
        "slices": {name: [str(values[row]) for row in numbers] for name, values in slices.items()},
    }  # fmt: skip


def printable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def embed(data: object) -> str:
    """Return data as JSON that is safe inside a script element, for texts with any content."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def digest(source: str) -> str:
    """Return the hash of an inline script or style for a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()

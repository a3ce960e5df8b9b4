"""Render a report as one self-contained HTML file: no network, no other file.

The page is ``page.html`` with ``page.css`` and the scripts inserted. All text is escaped, and the content security
policy forbids other scripts and any request, so that hostile text is harmless.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from plugins.analysis.palette import colors_of

SECTIONS = ("model", "attention", "patterns", "predictions", "styles", "masks", "samples")
HERE = Path(__file__).parent


def render(report: Mapping) -> str:
    """Return the page.

    Args:
        report: returned by :func:`plugins.analysis.report.contents.gather`: ``title``, ``lead``, and what each of
            :data:`SECTIONS` shows; a missing section is omitted. The weights of ``attention`` are an array
            (L, H, T, T).
    """
    template, style, script = (_read(f"page.{kind}") for kind in ("html", "css", "js"))
    script = script.replace("@SECTIONS@", _read("page.sections.js"))
    for section in set(SECTIONS) - {name for name in SECTIONS if report.get(name)}:
        template = re.sub(rf'<section id="{section}">.*?</section>\n*', "", template, flags=re.DOTALL)
    parts = {
        "TITLE": html.escape(report["title"]),
        "LEAD": html.escape(report["lead"]),
        "LINKS": "".join(
            f'<a href="#{name}">{title}</a>'
            for name, title in re.findall(r'<section id="(\w+)">\s*<h2>(.*?)</h2>', template)
        ),
        "CARD": "".join(map(_card, report["model"]["card"])),
        "OPTIONS": table(("Option", "Value"), report["model"]["options"]),
        "SCORES": _scores(report["patterns"]) if report.get("patterns") else "",
        "STYLE": style,
        "STYLE_HASH": _digest(style),
        "SCRIPT": script,
        "SCRIPT_HASH": _digest(script),
        "DATA": embed(_for_script(report)),
    }
    return re.sub(
        "@([A-Z_]+)@", lambda found: parts[found[1]], template
    )  # a single pass: inserted text is not searched


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    """Return the name of an inline script or style in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _for_script(report: Mapping) -> dict:
    """Return the data of ``page.js``."""
    data = {name: report[name] for name in SECTIONS[1:] if report.get(name)}
    if "styles" in data:
        names = data["styles"]["names"]
        colors = colors_of(names, ())
        data["styles"] = {**data["styles"], "colors": [colors[name] for name in names]}
    if "attention" in data:
        weights = np.asarray(data["attention"]["weights"])
        layers, heads = weights.shape[:2]
        shape = {"layers": layers, "heads": heads, "weights": quantize(weights)}
        data["attention"] = {**data["attention"], **shape}
    return data


def quantize(weights: np.ndarray) -> str:
    """Return weights in [0, 1] in base 64, in their order, one byte each: 255 times their square root, rounded.

    The root keeps small weights distinct: the error is at most 0.004 near 1, 0.0004 near 0.01, and 0.000004 near 0.
    """
    steps = np.rint(255 * np.sqrt(np.clip(weights, 0, 1))).astype(np.uint8)
    return base64.b64encode(steps.tobytes()).decode()


def embed(data: object) -> str:
    """Return data as JSON that is safe inside a script element, for texts with any content."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _card(group: Mapping) -> str:
    facts = "".join(f"<div><dt>{html.escape(name)}</dt><dd><bdi>{html.escape(value)}</bdi></dd></div>"
                    for name, value in group["facts"])  # fmt: skip
    return f"<details open><summary><h3>{html.escape(group['name'])}</h3></summary><dl>{facts}</dl></details>"


def _scores(patterns: Mapping) -> str:
    heads, items = patterns["heads"], patterns["items"]
    rows = [
        (f"layer {i // heads}, head {i % heads}", *(f"{item['score'][i]:.3f}" for item in items))
        for i in range(patterns["layers"] * heads)
    ]
    return table(("Head", *(item["title"] for item in items)), rows)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return an HTML table whose first column names the rows."""
    titles = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in head)
    lines = "".join(
        f'<tr><th scope="row">{html.escape(first)}</th>' + "".join(f"<td>{html.escape(cell)}</td>" for cell in rest)
        + "</tr>" for first, *rest in rows
    )  # fmt: skip
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"

"""Evaluate several checkpoints side by side and write the results."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from plugins.analysis.language_model import LanguageModel
from plugins.errors import UserError
from plugins.files import read_text, write_json

from . import figure
from .losses import Settings, evaluate, scheme_of, trained_length
from .pooling import pool


def run(
    load: Callable[[str], LanguageModel],
    checkpoints: Sequence[str],
    text: Path,
    lengths: Sequence[str],
    scalings: Sequence[str],
    output: Path,
    *,
    bar: bool = False,
    **settings: Any,
) -> str:
    """Evaluate checkpoints, write ``long_context.json`` and ``long_context.png`` and return a table.

    Args:
        load: from a path to the model, for example ``plugins.hub.load``.
        checkpoints: paths, each with its name before ``=`` or without. Several with one name are runs of one model,
            whose results are pooled.
        text: the file to read.
        lengths: tokens, or multiples of the trained length, for example ``4x``.
        scalings: kinds, see :class:`plugins.modules.scaling.Scaling`; kinds that a model does not support are skipped.
        output: folder of the results.
        bar: show progress.
        settings: of :class:`.losses.Settings`.

    Raises:
        UserError: a file cannot be read, a length or scaling is invalid, the text is too short, or nothing is left.
    """
    content, found = read_text(text), dict[str, list[list[dict]]]()
    named = {given.split("=", 1)[0] for given in checkpoints if "=" in given}
    for given in checkpoints:
        name, path = given.split("=", 1) if "=" in given else (Path(given).name, given)
        lm = load(path)
        device = next(lm.model.parameters()).device
        tokens, trained = tokens_of(lm, content).to(device), trained_length(lm)
        wanted = Settings(tuple(sorted({tokens_in(length, trained) for length in lengths})), **settings)
        supported = [kind for kind in scalings if kind in scheme_of(lm).scalings]
        for kind in tqdm(supported, desc=name, unit=" evaluations", disable=not bar):
            label = name if kind == "none" else f"{name}, {kind}"
            if label in found and name not in named:
                raise UserError(f"two checkpoints are called {name}: give them names, NAME=CKPT")
            found.setdefault(label, []).append(evaluate(lm, tokens, wanted, kind))
    if not found:
        raise UserError(f"--scaling {' '.join(scalings)}: no model supports any of these")
    output.mkdir(parents=True, exist_ok=True)
    about = {"text": str(text), "checkpoints": list(checkpoints), "lengths": list(lengths), **settings}
    series = {label: pool(runs) for label, runs in found.items()}
    write_json(output / "long_context.json", {**about, "results": series, "runs": found}, indent=1)
    figure.draw(output / "long_context.png", series)
    return table(series)


def tokens_of(lm: LanguageModel, text: str) -> torch.Tensor:
    """Return the tokens (N,) of a text without the special ones around it; a masked LM encodes line by line."""
    if not lm.fills_masks:
        return lm.encode(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError("the text is empty")
    return torch.cat([lm.encode(line)[1:-1] for line in lines])


def tokens_in(length: str, trained: int) -> int:
    """Return the number of tokens of a length, for example ``512`` or ``4x`` (times ``trained``).

    Raises:
        UserError: it is neither, or below 8 tokens.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(x?)", length)
    tokens = round(float(match[1]) * (trained if match[2] else 1)) if match else 0
    if tokens < 8:
        raise UserError(f"--lengths {length}: a number of tokens from 8 on is needed, or a multiple, for example 4x")
    return tokens


def table(series: dict[str, list[dict]]) -> str:
    """Return a line for each model and length."""
    rows: list[tuple[str, ...]] = [
        ("model", "length", "times", "windows (nats)", "sliding (nats)", "tokens/s", "peak MB")
    ]
    for name, results in series.items():
        for row in results:
            place = (name, f"{row['length']:,}", f"{row['times']:g}x")
            if "limit" in row:
                rows.append((*place, f"table ends at {row['limit']}", "", "", ""))
                continue
            means = (f"{row[kind]['mean']:.3f} +- {row[kind]['standard_error']:.3f}" for kind in ("windows", "sliding"))
            rows.append((*place, *means, f"{row['tokens_per_second']:,.0f}", f"{row['peak_mb']:,.0f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)  # fmt: skip

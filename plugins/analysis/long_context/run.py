"""Evaluate several checkpoints side by side and write the results."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from plugins.analysis.attention.capture import prompt_of
from plugins.analysis.language_model import LanguageModel
from plugins.data import dictionaries
from plugins.data.text.records import check_plain
from plugins.errors import UserError, located
from plugins.files import read_text, staging, write_json

from . import figure
from .losses import evaluate, scheme_of, trained_length
from .pooling import Runs, pool, read_runs
from .windows import WindowSettings


def run(
    load: Callable[[str], LanguageModel],
    checkpoints: Sequence[str],
    text: Path,
    lengths: Sequence[str],
    scalings: Sequence[str],
    output: Path,
    *,
    earlier: Sequence[Path] = (),
    bar: bool = False,
    **settings: Any,
) -> str:
    """Evaluate checkpoints, write ``long_context.json`` and ``long_context.png`` and return a table.

    Args:
        load: from a path to the model, for example ``plugins.hub.load``.
        checkpoints: paths, each with its name before ``=`` or without. Checkpoints with the same name are runs of the
            same model, and their results are pooled.
        text: the file to read.
        lengths: tokens, or multiples of the trained length, for example ``4x``.
        scalings: kinds, see :class:`plugins.modules.scaling.Scaling`; kinds that a model does not support are skipped.
        output: folder of the results.
        earlier: ``long_context.json`` files of the same text and settings, whose runs are pooled with these.
        bar: show progress.
        settings: fields of :class:`.windows.WindowSettings`.

    Raises:
        UserError: a file cannot be read, a length or scaling is invalid, the text is too short, an input does not fit
            into memory, the models cannot be compared, none supports the scaling, or an earlier file does not match.
    """
    check_lengths(lengths)
    check_plain(text)
    content, found, first = read_text(text), Runs(), None
    about = {"text_sha256": hashlib.sha256(content.encode()).hexdigest(), **settings}
    for given in checkpoints:
        name, path = name_and_path(given)
        lm = load(path)
        if prompt_of(lm.model) is not None:
            raise UserError(f"{path}: has a tuned prompt in front of the text, which the lengths do not count")
        if first is None:
            first = (path, lm)
            about["dictionary_sha256"] = dictionaries.fingerprint(lm.dictionary)
            found = read_earlier(earlier, about)
        check_same_tokens(*first, path, lm)
        device = next(lm.model.parameters()).device
        tokens, trained = tokens_of(lm, content, text).to(device), trained_length(lm)
        wanted = WindowSettings(tuple(sorted({tokens_in(length, trained) for length in lengths})), **settings)
        if len(tokens) <= max(wanted.lengths):
            need = f"--lengths up to {max(wanted.lengths):,} need more; give a longer text, or smaller lengths"
            raise UserError(f"{text}: {len(tokens):,} tokens with the tokenizer of {name}, but {need}")
        supported = [kind for kind in scalings if kind in scheme_of(lm).scalings]
        for kind in tqdm(supported, desc=name, unit=" evaluations", disable=not bar):
            label = name if kind == "none" else f"{name}, {kind}"
            if label in found and not any(other.startswith(f"{name}=") for other in checkpoints):
                raise UserError(f"two checkpoints are called {name}: give them names, NAME=CKPT")
            found.setdefault(label, []).append(evaluate(lm, tokens, wanted, kind))
            check_same_lengths(label, found[label])
    if not found:
        raise UserError(f"--scaling {' '.join(scalings)}: no model supports any of these")
    given = {"text": str(text), "checkpoints": list(checkpoints), "lengths": list(lengths)}
    series = {label: pool(runs) for label, runs in found.items()}
    with staging(output) as folder:
        write_json(folder / "long_context.json", {**given, **about, "results": series, "runs": found}, indent=1)
        figure.draw(folder / "long_context.png", series)
    return table(series)


def name_and_path(given: str) -> tuple[str, str]:
    """Return the name and the path of a checkpoint, from ``NAME=PATH`` or a path, whose last part is the name."""
    name, equals, path = given.partition("=")
    return (name, path) if equals else (Path(given).name, given)


def read_earlier(files: Sequence[Path], settings: Mapping[str, Any]) -> Runs:
    """Return the runs in ``long_context.json`` files; runs with the same name are pooled.

    Raises:
        UserError: see :func:`.pooling.read_runs`; or a file is given twice, or lengths differ.
    """
    found = Runs()
    resolved = [path.resolve() for path in files]
    for path in files:
        if resolved.count(path.resolve()) > 1:
            raise UserError(f"--pool {path} is given twice")
        for name, runs in read_runs(path, settings).items():
            for run in runs:
                found.setdefault(name, []).append(run)
                check_same_lengths(name, found[name])
    return found


def check_same_tokens(first: str, one: LanguageModel, path: str, other: LanguageModel) -> None:
    """Check that the losses per token of two models can be compared.

    Args:
        first, path: paths of the checkpoints, for the error.
        one, other: the models.

    Raises:
        UserError: their dictionaries differ, or only one of them is a masked LM.
    """
    if one.fills_masks != other.fills_masks:
        raise UserError(f"{path}: the loss of a masked LM cannot be compared with that of a causal one, {first}")
    if list(one.dictionary.symbols) != list(other.dictionary.symbols):
        raise UserError(f"{path}: other tokens than {first}, so losses per token cannot be compared; run it separately")


def check_same_lengths(name: str, runs: Sequence[list[dict]]) -> None:
    """Check that runs with the same name were trained on inputs of the same length.

    Raises:
        UserError: they were not.
    """
    lengths = [
        [(row["length"], row["times"], len(row["windows"]["losses"]) if "windows" in row else 0) for row in rows]
        for rows in (runs[0], runs[-1])
    ]
    if lengths[-1] != lengths[0]:
        raise UserError(
            f"the checkpoints called {name} were trained on or evaluated with inputs of different lengths: "
            "give them different names"
        )


def tokens_of(lm: LanguageModel, content: str, text: Path) -> torch.Tensor:
    """Return the tokens (N,) of a file's content without special ones around it; a masked LM encodes line by line.

    Raises:
        UserError: the file has no text.
    """
    if not content.strip():
        raise UserError(f"{text}: no text")
    with located(text):
        if not lm.fills_masks:
            return lm.encode(content)
        return torch.cat([lm.encode(line)[1:-1] for line in content.splitlines() if line.strip()])


def check_lengths(lengths: Sequence[str]) -> None:
    """Check values of ``--lengths`` before a model is loaded.

    Raises:
        UserError: a length is neither at least 8 tokens nor a multiple of at least 1x.
    """
    for length in lengths:
        match = re.fullmatch(r"(\d{1,9}|\d{1,9}(?:\.\d+)?x)", length)
        if not match or float(length.rstrip("x")) < (1 if length.endswith("x") else 8):
            raise UserError(f"--lengths {length}: must be at least 8 tokens, or a multiple of at least 1x")


def tokens_in(length: str, trained: int) -> int:
    """Return the number of tokens of a length, for example ``512``, or ``4x``: times ``trained``."""
    return round(float(length[:-1]) * trained) if length.endswith("x") else int(length)


def in_words(loss: dict) -> str:
    """Format a mean with the ends of its interval."""
    return f"{loss['mean']:.3f}" + ("" if loss["low"] is None else f" ({loss['low']:.3f}-{loss['high']:.3f})")


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
            means = (in_words(row[kind]) for kind in ("windows", "sliding"))
            rows.append((*place, *means, f"{row['tokens_per_second']:,.0f}", f"{row['peak_mb']:,.0f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)  # fmt: skip

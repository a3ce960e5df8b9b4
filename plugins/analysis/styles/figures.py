"""The figures of ``scripts/plot_styles.py`` on the styles of a character LM, with the arrays behind them."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from plugins.analysis import plots
from plugins.analysis.language_model import StyleLM
from plugins.analysis.metrics.means import standard_error
from plugins.analysis.runs import bars as run_bars
from plugins.analysis.runs import plots as run_plots
from plugins.analysis.styles import effects
from plugins.analysis.styles import plots as style_plots

CHARACTERS_OF_A_HEAD = 40  # in the figure of a head
BLOCKS_OF_ATTENTION = 4  # blocks per text; each costs one forward pass per style


class StyleFigures:
    """Draws figures into a folder and keeps their arrays for JSON.

    Args:
        lm: a :class:`plugins.hub.CharLM` with styles.
        texts: by name; a text with the name of a style is text of that style.
        windows: blocks of the texts that are long enough, from :func:`plugins.analysis.styles.effects.windows_of`.
        folder: output folder.
        evaluation: content of the file of ``scripts/evaluate_style.py`` for the model, or None.
        judge: the judge whose results are drawn.
        characters: characters of each text in its ribbon.

    Attributes:
        found: arrays by name.
        missing: reasons why some figures are not drawn.
    """

    def __init__(
        self,
        lm: StyleLM,
        texts: Mapping[str, str],
        windows: Mapping[str, torch.Tensor],
        folder: Path,
        evaluation: Mapping | None = None,
        judge: str = "svm",
        characters: int = 360,
    ):
        self.lm, self.texts, self.windows, self.folder = lm, texts, windows, folder
        self.evaluated, self.judge, self.characters = evaluation or {}, judge, characters
        self.found: dict[str, Any] = {"styles": lm.styles, "texts": list(texts)}
        self.missing: list[str] = []

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return the figures for this model, functions by name."""
        steps = {"embeddings": self.embeddings, "modulation": self.modulation, "attention": self.attention,
                 "perplexity": self.perplexity}  # fmt: skip
        if effects.classifier_of(self.lm) is None:
            self.missing.append(f"{effects.infers_nothing(self.lm)}: no ribbons, no texts.png, no confusion.png")
        else:
            steps |= {"texts": self.of_texts, "ribbons": self.ribbons, "confusion": self.confusion}
        if self.evaluated.get("judges"):
            steps["judges"] = self.judges
        return steps

    def path(self, name: str) -> Path:
        """Return the path of a figure."""
        return self.folder / f"{name}.png"

    def embeddings(self) -> None:
        """Draw the style embeddings."""
        vectors = effects.embeddings(self.lm)
        laid_out = effects.flatten(vectors)
        style_plots.plane(self.path("embeddings"), laid_out, self.lm.styles, "Style embeddings", named=True)
        self.found["embeddings"] = {"vectors": vectors, **vars(laid_out)}

    def of_texts(self) -> None:
        """Draw the windows of the texts in two dimensions; needs at least two texts to compare."""
        if len(self.windows) < 2:
            self.missing.append("only one text: no texts.png, which compares several")
            return
        vectors = np.concatenate([effects.summaries(self.lm, rows) for rows in self.windows.values()])
        names = [name for name, rows in self.windows.items() for _ in rows]
        laid_out = effects.flatten(vectors)
        title = f"Windows of {self.lm.block_size} characters, as the style classifier sees them"
        style_plots.plane(self.path("texts"), laid_out, names, title, styles=self.lm.styles)
        self.found["windows"] = {"text": names, **vars(laid_out)}

    def ribbons(self) -> None:
        """Draw the probabilities of the styles along each text."""
        self.found["probabilities"] = {}
        for name, text in self.texts.items():
            text = text[: self.characters]
            probabilities = effects.probabilities(self.lm, text)
            path = self.path("ribbon_" + re.sub(r"[^\w.-]+", "_", name))
            style_plots.ribbon(path, text, probabilities, self.lm.styles, f"Style probabilities along {name}")
            self.found["probabilities"][name] = {"text": text, "probabilities": probabilities}

    def modulation(self) -> None:
        """Draw gain and shift of each style, and their distance from no change."""
        found = effects.modulation(self.lm)
        style_plots.modulation(self.path("modulation"), found, self.lm.styles)
        style_plots.modulation_strength(self.path("modulation_strength"), found, self.lm.styles)
        gain, shift = found.strength()
        self.found["modulation"] = {**vars(found), "gain_strength": gain, "shift_strength": shift}

    def attention(self) -> None:
        """Draw the share of attention that each style moves, and the head whose attention moves most."""
        few = [rows[:: math.ceil(len(rows) / BLOCKS_OF_ATTENTION)] for rows in self.windows.values()]
        each = effects.attention_differences(self.lm, torch.cat(few))  # (N, K, L, H)
        moved = each.mean(0)
        errors = standard_error(each)
        style_plots.attention_differences(self.path("attention"), moved, self.lm.styles)
        layer, head = map(int, np.unravel_index(moved.mean(0).argmax(), moved.shape[1:]))
        tokens = few[0][0, : min(self.lm.block_size, CHARACTERS_OF_A_HEAD)]
        weights = effects.attention_under_styles(self.lm, tokens)[:, layer, head]  # (K, T, T)
        characters = [self.lm.characters[i] for i in tokens.tolist()]
        path = self.path("attention_head")
        style_plots.attention_of_head(path, weights, characters, self.lm.styles, (layer, head))
        self.found["attention"] = {"moved": moved, "standard_errors": errors, "windows": len(each), "layer": layer,
                                   "head": head, "characters": characters, "weights": weights}  # fmt: skip

    def perplexity(self) -> None:
        """Draw the perplexity of each text under each style."""
        table = effects.forced_perplexity(self.lm, self.windows)
        columns = [*self.lm.styles, effects.INFERRED, effects.NO_STYLE]
        values, errors = (np.array([[row[column][part] for column in columns] for row in table.values()])
                          for part in ("mean", "standard_error"))  # fmt: skip
        plots.heat_map(
            self.path("perplexity"), values, list(table), columns, "Perplexity under every forced style",
            ("text", "style"), note=f"blocks of {self.lm.block_size} characters; ± standard error over blocks",
            label="perplexity per character", errors=errors, decimals=2,
        )  # fmt: skip
        self.found["perplexity"] = table

    def confusion(self) -> None:
        """Draw the confusion matrix of the model's own classifier, of the evaluation if there is one."""
        head, names = self.evaluated.get("head"), self.lm.styles
        labelled = {name: rows for name, rows in self.windows.items() if name in names}
        if head:
            names, counts, note = head["styles"], head["confusion"], "held-out text of the evaluation"
        elif labelled:
            counts, note = effects.confusion(self.lm, labelled), f"blocks of {self.lm.block_size} characters"
        else:
            self.missing.append(f"no text has the name of a style ({', '.join(names)}): no confusion.png")
            return
        title = "Style of a text, as the model's classifier sees it"
        self.counts("confusion", counts, (names, names), title, note, "true style")

    def judges(self) -> None:
        """Draw a judge's results on real and generated text from the evaluation."""
        found, window = self.evaluated, self.evaluated["options"]["window"]
        series = run_bars.consistency({"": [found]}, self.judge)
        kinds, bars = run_bars.one_by_one(series)
        note = f"judge: {self.judge}, windows of {window} characters"
        title = "How often is text nearest to the requested style?"
        run_plots.bars(
            self.path("consistency"), kinds, {"": bars}, title, run_bars.CONSISTENCY,
            f"{note}; bars: one standard error over texts", (found["chance"], "chance"),
        )  # fmt: skip
        self.found["consistency"] = {"of": kinds, "values": bars[0], "standard_errors": bars[1][0]}
        given = found["judges"][self.judge]["transfer"].get("given")
        if given:
            names = found["styles"], [*found["styles"], "none"]
            title = "Style of generated text, as a judge sees it"
            self.counts("confusion_given", given["confusion"], names, title, note, "requested style")

    def counts(
        self, name: str, counts: ArrayLike, names: tuple[Sequence[str], Sequence[str]], title: str, note: str, rows: str
    ) -> None:
        """Draw a confusion matrix."""
        counts = np.array(counts, dtype=float)
        axes = (rows, "style found")
        plots.heat_map(self.path(name), counts, *names, title, axes, note=note, label="windows", decimals=0)
        self.found[name] = {"rows": names[0], "columns": names[1], "counts": counts}


def plain(value: object) -> object:
    """Return arrays and tuples in nested dicts as lists, and numbers with six digits, for JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value

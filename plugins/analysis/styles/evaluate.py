"""The complete style evaluation of a character LM, used by ``scripts/evaluate_style.py``.

``lm`` is a :class:`plugins.hub.CharLM`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plugins.analysis.language_model import StyleLM
from plugins.analysis.styles import evaluation
from plugins.analysis.styles.classifiers import partition
from plugins.analysis.styles.effects import windows_of
from plugins.analysis.styles.judging import Judging
from plugins.analysis.styles.samples import Sampling
from plugins.errors import UserError

SHARES = (0.6, 0.2, 0.2)  # shares of the held-out text: to train the judges, to test them, to judge the model


@dataclass(frozen=True)
class StyleEvaluation:
    """Settings of the evaluation.

    Attributes:
        sampling: settings of text generation.
        lengths: characters of the windows whose consistency is judged.
        window: characters of the windows for transfer, confusion and agreement.
        cost_windows: blocks of each style that the model predicts.
        honest_tokens: characters that are predicted only from their prefix; 0 for none.
    """

    sampling: Sampling
    lengths: Sequence[int]
    window: int
    cost_windows: int
    honest_tokens: int

    def run(self, lm: StyleLM, documents: Mapping[str, Sequence[str]]) -> dict:
        """Evaluate a model.

        Args:
            lm: see the module.
            documents: held-out text of each style; the style ``""`` for text without styles.

        Returns:
            ``styles``, ``chance``, ``model_has_these_styles``, ``sees_the_future``, ``characters``, and where they
            apply ``head``, ``cost``, ``loss``, ``judges``, ``agreement`` and ``samples``, as JSON data.

        Raises:
            UserError: too little text.
        """
        styles = [style for style in documents if style]
        judged = len(styles) > 1 and not lm.sees_the_future  # its samples are not those of an LM
        parts = list(zip(*(partition(documents[style], SHARES) for style in documents), strict=True))
        self.check(lm, parts, styles, judged)
        given = bool(styles) and sorted(lm.styles) == sorted(styles) and lm.model.num_styles == len(styles)
        names = ("judges_learn", "judges_tested", "model_judged")
        result = {
            "styles": styles,
            "chance": 1 / len(styles) if styles else None,
            "model_has_these_styles": given,
            "sees_the_future": lm.sees_the_future,
            "characters": {name: dict(zip(documents, map(len, part), strict=True))
                           for name, part in zip(names, parts, strict=True)},
            **self.own_numbers(lm, parts[2], styles, given),
        }  # fmt: skip
        if judged:
            texts = self.sampling.generate(lm, parts[2], styles, given)
            judging = Judging(styles, self.lengths, self.window, self.sampling.seeds[0])
            count = self.sampling.samples * len(self.sampling.seeds)
            result |= judging.judge(parts, texts, self.sampling.length, count)
            result["samples"] = texts
        return result

    def check(self, lm: StyleLM, parts: Sequence[Sequence[str]], styles: Sequence[str], judged: bool) -> None:
        """Raise a :class:`UserError` where there is too little text, before anything is computed."""
        number = min(range(len(parts[2])), key=lambda k: len(parts[2][k]))
        short, of_style = len(parts[2][number]), f" of the style {styles[number]!r}" if styles else ""
        if short <= max(lm.block_size, self.sampling.length if judged else 0):
            raise UserError(
                f"only {short} characters of held-out text{of_style} to judge the model by: more than a block "
                f"({lm.block_size}) is needed, and more than --sample-length where samples are judged; give more text, "
                "or a shorter --sample-length"
            )
        if judged:
            number = min(range(len(styles)), key=lambda k: len(parts[0][k]))
            short = len(parts[0][number])
            if short < max(self.lengths):
                raise UserError(
                    f"style {styles[number]!r}: {short} characters to learn it from are less than a window of "
                    f"{max(self.lengths)}: give more text, or shorter --lengths"
                )

    def own_numbers(self, lm: StyleLM, real: Sequence[str], styles: Sequence[str], given: bool) -> dict:
        """Return the model's own predictions on real text: its style head, the cost of styles, the honest loss."""
        found = {}
        windows = [windows_of(lm, text, self.cost_windows) for text in real]
        if given:
            own = [lm.styles.index(style) for style in styles]
            labels = torch.cat([torch.full((len(rows),), k) for rows, k in zip(windows, own, strict=True)])
            together = torch.cat(windows)[:, :-1]
            if lm.model(together[:1, :1])[1]["style_logits"] is not None:
                asked = sorted({1, 8, 16, 32, 64, 128, lm.block_size})
                head = evaluation.head_accuracy(lm.model, together, labels.to(lm.device), asked)
                found["head"] = head | {"styles": lm.styles}
            found["cost"] = {
                style: evaluation.style_cost(losses_of(lm, rows), k, len(lm.styles))
                for rows, style, k in zip(windows, styles, own, strict=True)
            }
        if self.honest_tokens:
            count = math.ceil(self.honest_tokens / lm.block_size / len(windows))
            rows = torch.cat([windows_of(lm, text, count) for text in real])
            found["loss"] = evaluation.honest_loss(lm.model, rows, progress=True)
        return found


def losses_of(lm: StyleLM, rows: Tensor) -> Callable[[Tensor | None], Tensor]:
    """Return a function from a style (K,), or None for the inferred one, to nats (N, T) of windows (N, T + 1)."""
    return lambda style: evaluation.nats(lm.model, rows, None if style is None else style.to(lm.device)).cpu()

"""Judge generated text, next to real text (the ceiling) and text without style (chance)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from plugins.analysis.metrics.means import mean_and_error
from plugins.analysis.styles import evaluation
from plugins.analysis.styles.classifiers import KINDS, StyleJudge, cut, mix, styleless
from plugins.analysis.styles.evaluation import Predict

JUDGES = ("svm", "bayes")
ALPHABET = list("abcdefghijklmnopqrstuvwxyz ")

BySeed = Mapping[int, Mapping[int, Sequence[str]]]
"""{seed: {style: texts}}."""
Samples = Mapping[str, BySeed]
"""{condition: {seed: {style: texts}}}; the conditions are :data:`plugins.analysis.styles.samples.CONDITIONS`."""


@dataclass
class Judging:
    """Options of the judgment of texts.

    Attributes:
        styles: K names.
        lengths: characters of the windows for consistency.
        window: characters of the windows for transfer, confusion and agreement.
        seed: random seed of the judges and of the texts without style.
    """

    styles: Sequence[str]
    lengths: Sequence[int]
    window: int
    seed: int

    def judge(self, parts: Sequence[Sequence[str]], samples: Samples, length: int, count: int) -> dict:
        """Return ``judges`` {name: report} and ``agreement`` of the two.

        Args:
            parts: three disjoint parts of K texts each: to learn from, to test on, and real text for comparison.
            samples: generated text.
            length: characters of the texts for comparison.
            count: number of generated texts per style.
        """
        learn, test, real = parts
        compared = references(real, length, count, self.seed)
        reports, labels = {}, []
        steps = tqdm(total=len(JUDGES) * (2 + len(samples)), desc="judges", unit="step", leave=False, disable=None)
        for kind in JUDGES:
            judge = StyleJudge(kind, self.styles, self.seed)
            judge.fit(dict(zip(self.styles, learn, strict=True)), self.lengths)
            steps.update()
            predict, nearest = remembering(judge.predict), remembering(judge.nearest)
            reports[kind] = self.test(predict, test) | self.of_references(predict, nearest, compared)
            steps.update()
            for condition, by_seed in samples.items():
                self.of_condition(reports[kind], condition, by_seed, predict, nearest)
                steps.update()
            texts = {"real": real, "generated": [text for by in samples.values() for text, _ in flat(by)]}
            labels.append({name: self.label(predict, of_name) for name, of_name in texts.items()})
        steps.close()
        agreement = {name: evaluation.agreement(labels[0][name], labels[1][name]) for name in labels[0]}
        return {"judges": reports, "agreement": agreement}

    def test(self, predict: Predict, texts: Sequence[str]) -> dict:
        """Return a judge's accuracy on unseen text, and the share of text without style that it labels none."""
        draw = np.random.default_rng(self.seed)
        none = {kind: float((predict(styleless(kind, texts, self.window, 200, draw)) < 0).mean()) for kind in KINDS}
        return {"accuracy": evaluation.accuracy_by_length(texts, predict, self.lengths), "called_none": none}

    def of_references(self, predict: Predict, nearest: Predict, compared: Mapping) -> dict:
        """Return the consistency of the reference texts."""
        scores = {name: self.consistency(predict, texts, asked, nearest) for name, (texts, asked) in compared.items()}
        return {"consistency": scores, "transfer": {}}

    def consistency(
        self, predict: Predict, texts: Sequence[str], asked: Sequence[int] | None = None, nearest: Predict | None = None
    ) -> dict:
        """Return the consistency of texts with their own style, and with the requested style."""
        scores = {"own_style": evaluation.consistency_by_length(texts, predict, self.lengths)}
        if asked is not None:
            assert nearest is not None
            scores["asked_style"] = evaluation.consistency_by_length(texts, predict, self.lengths, asked)
            scores["nearest_is_asked"] = evaluation.consistency_by_length(texts, nearest, self.lengths, asked)
        return scores

    def of_condition(self, report: dict, condition: str, by_seed: BySeed, predict: Predict, nearest: Predict) -> None:
        """Add a judge's results on the text generated under a condition."""
        texts, asked = zip(*flat(by_seed), strict=True)
        if condition == "free":  # no style requested: the base rates
            rates = evaluation.base_rates(texts, predict, self.window, len(self.styles))
            report["base_rates"] = dict(zip([*self.styles, "none"], rates.tolist(), strict=True))
            report["consistency"][condition] = self.consistency(predict, texts)
            return
        report["consistency"][condition] = self.consistency(predict, texts, asked, nearest)
        base = list(report["base_rates"].values()) if "base_rates" in report else None
        report["transfer"][condition] = self.transfer(predict, by_seed, base) | {
            "nearest": self.transfer(nearest, by_seed)
        }

    def transfer(self, label: Predict, by_seed: BySeed, base: Sequence[float] | None = None) -> dict:
        """Return the success over all texts, and over the means of the seeds."""
        styles = dict.fromkeys(style for _, style in flat(by_seed))
        by_style = {k: [text for text, style in flat(by_seed) if style == k] for k in styles}
        found = evaluation.transfer(by_style, label, self.window, base)
        seeds = [evaluation.transfer(of_seed, label, self.window)["success"]["mean"] for of_seed in by_seed.values()]
        return found | {"over_seeds": mean_and_error(seeds) | {"values": seeds}}

    def label(self, predict: Predict, texts: Sequence[str]) -> np.ndarray:
        """Return the labels of all windows of texts."""
        return predict([window for text in texts for window in cut(text, self.window)])


def remembering(predict: Predict) -> Predict:
    """Return a judge that caches its labels, because several measures use the same windows."""
    known = {}

    def label(windows):
        key = tuple(windows)
        if key not in known:
            known[key] = predict(windows)
        return known[key]

    return label


def flat(by_seed: BySeed) -> list[tuple[str, int]]:
    """Return (text, requested style) of all seeds."""
    return [(text, style) for of in by_seed.values() for style, texts in of.items() for text in texts]


def references(real: Sequence[str], length: int, count: int, seed: int) -> dict[str, tuple[list[str], list[int]]]:
    """Return texts for comparison with their requested styles: {name: (texts, styles)}.

    ``real`` is the ceiling; the others have no style, and all styles are requested equally often, so that chance is
    1/K: mixtures that alternate every 100 or 25 characters, and random letters.

    Args:
        real: real text of each of K styles.
        length: characters of a text.
        count: number of texts per style.
        seed: random seed of the texts without style.
    """
    draw = np.random.default_rng(seed)
    asked = [i % len(real) for i in range(count * len(real))]
    made = {"real": [(text, style) for style, whole in enumerate(real) for text in cut(whole, length)]}
    for stretch in (100, 25):
        texts = [mix([real[i] for i in draw.permutation(len(real))], length, stretch, draw) for _ in asked]
        made[f"mixture, {stretch} at a time"] = list(zip(texts, asked, strict=True))
    letters = ["".join(draw.choice(ALPHABET, length)) for _ in asked]
    made["random letters"] = list(zip(letters, asked, strict=True))
    return {name: ([text for text, _ in pairs], [style for _, style in pairs]) for name, pairs in made.items()}

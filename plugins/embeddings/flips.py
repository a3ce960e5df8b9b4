"""Study of reversed comparisons: train with a fraction of them reversed, evaluate on clean comparisons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugins.analysis.metrics import preference as metrics
from plugins.analysis.metrics.means import mean_and_deviation, standard_error
from plugins.analysis.plots import Band
from plugins.data.preference import flips, rows
from plugins.embeddings import figures
from plugins.errors import check
from plugins.jobs import Job
from plugins.tables import markdown

CORRECTED = "random, corrected"
METHODS = (*flips.WHICH, CORRECTED)
MEASURES = ("accuracy", "scale", "margin")
LABELS = {"accuracy": "accuracy on clean comparisons", "scale": "standard deviation of the scores"}
TRAIN, VALID = "train.jsonl", "valid.jsonl"


@dataclass(frozen=True)
class Case:
    """One training run.

    Attributes:
        method: which comparisons are reversed. :data:`CORRECTED`: random ones, with a loss that corrects for their
            fraction.
        share: fraction of the comparisons that is reversed.
        seed: random seed of the reversed comparisons and of the training.
    """

    method: str
    share: float
    seed: int

    @property
    def which(self) -> str:
        """One of :data:`plugins.data.preference.flips.WHICH`."""
        return "random" if self.method == CORRECTED else self.method

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        method = self.method.replace(", ", "-")
        return f"{method}-{self.share:g}-seed{self.seed}" if self.share else f"none-seed{self.seed}"

    @property
    def data(self) -> str:
        """Name of the folder of the comparisons."""
        return f"{self.which}-{self.share:g}-seed{self.seed}" if self.share else "none"


def cases(shares: Sequence[float], seeds: int) -> list[Case]:
    """Return the runs of a study for each seed: no reversed comparisons, then each method with each fraction."""
    found = [Case(METHODS[0], 0, seed) for seed in range(1, seeds + 1)]
    return found + [
        Case(method, share, seed) for share in shares if share for method in METHODS for seed in range(1, seeds + 1)
    ]


def write_data(folder: Path, chosen: Iterable[Case], train: str, valid: str, min_gap: float, per_text: int) -> None:
    """Write the training comparisons of each case and the clean validation comparisons into subfolders of ``folder``.

    Args:
        folder: the folder to write to.
        chosen: the cases.
        train, valid: files with the columns of ``--task preference``.
        min_gap, per_text: see :func:`plugins.data.preference.rows.compare`.

    Raises:
        UserError: a file is malformed, or all gaps of ``train`` are equal, so that the methods are the same.
    """
    clean = flips.comparisons(valid, min_gap, per_text)
    found, pairs, gaps = flips.comparisons(train, min_gap, per_text)
    check(
        len(set(gaps.tolist())) > 1, f"{train}: to reverse the largest or smallest gaps, ratings or margins must differ"
    )
    for case in {case.data: case for case in chosen}.values():
        flipped = flips.reversed_pairs(gaps, case.share, case.which, case.seed)
        flips.write(folder / case.data / TRAIN, found, pairs, flipped)
        flips.write(folder / case.data / VALID, *clean[:2], np.zeros(len(clean[1]), bool))


@dataclass(frozen=True)
class FlipScore:
    """Compute the result of a job after training. Contains only plain data: a job may run on another machine.

    Attributes:
        valid: file of clean comparisons.
    """

    valid: str

    def __call__(self, folder: Path, device: str) -> dict[str, float]:
        from plugins.hub import Scorer

        found = rows.read(self.valid)
        scorer = Scorer.from_pretrained(str(folder / "checkpoint_last.pt")).to(device)
        return evaluate(np.asarray(scorer.score(found.texts, progress=False), np.float64), found.pairs)


def evaluate(scores: np.ndarray, pairs: np.ndarray) -> dict[str, float]:
    """Return accuracy and mean margin on comparisons, and ``scale``, the standard deviation of the scores.

    Args:
        scores: (N,) scores of the texts.
        pairs: (P, 2) text numbers, the preferred text first.
    """
    better, worse = scores[pairs].T
    return {"accuracy": metrics.share(better, worse), "scale": float(scores.std()),
            "margin": float((better - worse).mean())}  # fmt: skip


def job(case: Case, folder: Path, common: Sequence, updates: int, origin: Any = None) -> Job:
    """Return the job of a case; its data are in a subfolder of ``folder``.

    Args:
        origin: JSON data that decide the comparisons, so that a run with others is not taken for this one.
    """
    corrected = ("--flip-rate", case.share) if case.method == CORRECTED else ()
    data = folder / case.data
    command = ("fairseq-train", data, *common, *corrected, "--seed", case.seed, "--max-update", updates)
    words = tuple(map(str, command))
    identity = {"command": list(words), "data": origin}
    return Job(case.name, words, updates, identity, finish=FlipScore(str(data / VALID)))


# Tables and figures


def records(results: Mapping[Case, Mapping[str, float]]) -> list[dict]:
    """Return the rows of ``flips.csv``; runs without reversed comparisons are repeated for each method."""
    found = []
    for case, scores in results.items():
        for method in (case.method,) if case.share else METHODS:
            found.append({"method": method, "share": case.share, "seed": case.seed, **scores})
    return sorted(found, key=lambda row: (METHODS.index(row["method"]), row["share"], row["seed"]))


def values(found: Sequence[Mapping], method: str, share: float, measure: str) -> np.ndarray:
    """Return a measure for each seed of a method and a fraction, (S,)."""
    return np.array([row[measure] for row in found if (row["method"], row["share"]) == (method, share)])


def table(found: Sequence[Mapping]) -> str:
    """Return means and standard deviations over seeds as a Markdown table, one row per method and fraction."""
    lines = []
    for method, share in dict.fromkeys((row["method"], row["share"]) for row in found):
        cells = []
        for measure in MEASURES:
            mine = values(found, method, share, measure)
            cells.append(mean_and_deviation(mine))
        lines.append([method, f"{share:g}", *cells])
    return markdown(["reversed", "share", *MEASURES], lines)


def draw(path: Path, found: Sequence[Mapping]) -> None:
    """Draw accuracy and scale against the fraction, one line per method, with bands of ±1 standard error over seeds."""
    panels: dict[str, dict[str, Band]] = {}
    for measure in LABELS:
        for method in METHODS:
            shares = sorted({row["share"] for row in found if row["method"] == method})
            own = [values(found, method, share, measure) for share in shares]
            error = [standard_error(x) if len(x) > 1 else 0.0 for x in own]
            band = np.array(shares), np.array([x.mean() for x in own]), np.array(error)
            panels.setdefault(LABELS[measure], {})[method] = band
    figures.bands(path, panels, "Which reversed comparisons does a reward model survive?", "share reversed")

"""Diagnose a data set with a pretrained model: choose the runs, and derive the results from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugins.diagnostics import (
    curves,
    diagnosis,
    diagnosis_figures,
    diagnosis_report,
    duplicates,
    folds,
    formats,
    slices,
    transforms,
    usable_information,
)  # fmt: skip
from plugins.diagnostics.datasets import Rows
from plugins.errors import UserError, check
from plugins.files import make_folder, staging
from plugins.jobs import Resources

from . import cross_fitting, frozen, stacked
from .cross_fitting import Cell, Recorded, Setting

FULL = "full"


@dataclass(frozen=True)
class DiagnosisRequest:
    """Options of a diagnosis: folds, inputs, and what they are compared with.

    Attributes:
        folds: F.
        inputs: names of :data:`plugins.diagnostics.transforms.NAMES`.
        null: ``prior``, the labels' distribution, or ``model``, a model of the empty input.
        sizes: shares of the training rows for a learning curve.
        similarity: similarity of near duplicates, which stay in one fold.
        seed: random seed of folds, shuffled words and intervals.
        wordnet: folder of WordNet's files, or None.
        slices: {name: values of n training rows}.
        frozen: train heads on fixed features of the model instead of fine-tuning it.
        stacked: fine-tune all models in one process, see :mod:`.stacked`.
        bias: calibrate by a bias for each class as well as a temperature.
    """

    folds: int
    inputs: Sequence[str] = (FULL,)
    null: str = "prior"
    sizes: Sequence[float] = ()
    similarity: float = 0.8
    seed: int = 1
    wordnet: str | None = None
    slices: Mapping[str, Sequence[str]] | None = None
    frozen: bool = False
    stacked: bool = False
    bias: bool = False


def cells_of(rows: Rows, request: DiagnosisRequest) -> tuple[dict[str, Cell], np.ndarray]:
    """Return the cells to run by their names, and the duplicate groups of the training rows.

    Raises:
        UserError: an input that is unknown or does not fit, or too many folds.
    """
    train = np.flatnonzero(rows.splits == 0)
    texts = [[column[i] for i in train.tolist()] for column in rows.texts]
    groups = duplicates.find(duplicates.joined(texts), request.similarity).groups
    labels = (rows.labels if rows.scores is None else rows.scores)[train]
    row_folds = folds.stratified(labels, request.folds, groups, request.seed)
    sizes = np.bincount(row_folds, minlength=request.folds)
    check(sizes.all(), f"--folds {request.folds}: {len(np.unique(groups))} groups of near duplicates, which are not "
          f"divided, leave a fold empty; give fewer folds, or a --similarity above {request.similarity:g}")  # fmt: skip
    names = [FULL, *request.inputs, *(["empty"] if request.null == "model" else [])]
    cells = {}
    for name in dict.fromkeys(names):
        transform = transforms.make(name, len(rows.texts), request.seed, request.wordnet, texts=texts)
        changed = transforms.apply(transform, rows.texts)
        columns = rows.columns[: len(changed)]
        part = Rows(columns, changed, rows.labels, rows.classes, rows.splits, rows.split_names, rows.index, rows.scores)
        cells[name] = Cell(_folder(name), part, row_folds)
    for share in request.sizes:
        if share < 1:
            used = curves.nested(labels, share, groups, request.seed)
            cells[f"size {share:g}"] = Cell(f"size-{share:g}", cells[FULL].rows, row_folds, used)
    check(len({cell.name for cell in cells.values()}) == len(cells), "--inputs: two lists have the same file name")
    return cells, groups


def _folder(name: str) -> str:
    kind, _, argument = name.partition(":")
    return f"{kind}-{Path(argument).stem}" if argument else kind


def diagnose(
    rows: Rows, setting: Setting, request: DiagnosisRequest, resources: Resources, figures: bool = True
) -> dict:
    """Run the missing runs, write everything into ``setting.output``, and return the summary.

    Args:
        rows: returned by :func:`.cross_fitting.train_and_valid`.
        setting: setting of the runs.
        request: the user's options.
        resources: resources of the runs.
        figures: draw.

    Raises:
        UserError: a run failed, or an option does not fit the data.
    """
    cells, groups = cells_of(rows, request)
    if request.frozen:
        recorded = frozen.run(list(cells.values()), setting)
    elif request.stacked:
        recorded = stacked.run(list(cells.values()), setting)
    else:
        recorded = cross_fitting.run(list(cells.values()), setting, resources)
    recorded = {name: recorded[cell.name] for name, cell in cells.items()}
    full = cells[FULL]
    nulls = null_of(recorded) if request.null == "model" else None
    found = {name: _diagnosed(recorded[name].held_out[-1], full, groups, nulls, request.bias) for name in cells}
    d, train = found[FULL], full.train
    texts = [[column[i] for i in train.tolist()] for column in rows.texts]
    index = [rows.index[i] for i in train.tolist()]
    parts = {"length": slices.by_length(texts)} | {
        name: slices.by_value(values, name) for name, values in (request.slices or {}).items()
    }
    of_inputs = {name: diagnosis.measured(found[name]) for name in dict.fromkeys(request.inputs)}
    more: dict[str, Any] = {"inputs": of_inputs, "calibration": calibration(request.bias)}
    maps = {}
    if d.classes:
        more["epochs"] = diagnosis.by_epoch(recorded[FULL].held_out, d.labels, d.folds, nulls, request.bias)
        maps["training"] = diagnosis.training_map(recorded[FULL].training, d.labels)
        maps["held_out"] = held_out_map(recorded[FULL], d.labels)
    if recorded[FULL].valid and d.classes:
        more["valid"] = on_valid(recorded[FULL].valid[-1], rows, d.labels, request.bias)
    if request.sizes:
        more["sizes"] = curve(found, request.sizes, d, len(train), request.folds)
    summary = diagnosis_report.summarized(d, parts, **more)
    table = diagnosis_report.columns(d, texts, index, maps.get("training"), rows.split_names[0])
    with staging(setting.output) as folder:
        diagnosis_report.write(folder, d, table, summary, nulls)
        if maps:
            write_maps(folder / "training_dynamics", recorded[FULL], d, index, maps)
        if figures:
            draw(folder / "figures", d, summary, maps)
    return summary


def calibration(bias: bool) -> str:
    """Return the name of a calibration for ``summary.json``."""
    return "temperature and bias" if bias else "temperature"


def _diagnosed(
    held_out: np.ndarray, cell: Cell, groups: np.ndarray, nulls: np.ndarray | None, bias: bool
) -> diagnosis.Diagnosis:
    rows, train = cell.rows, cell.train
    if rows.scores is not None:
        return diagnosis.diagnose_scores(held_out[..., 0], rows.scores[train], cell.folds, groups)
    return diagnosis.diagnose(held_out, rows.labels[train], rows.classes, cell.folds, nulls, groups, bias)


def null_of(recorded: Mapping[str, Recorded]) -> np.ndarray:
    """Return the log2 probabilities of the models of the empty input, averaged over seeds, (n, K)."""
    from plugins.diagnostics.predictions import log2_softmax

    return log2_softmax(recorded["empty"].held_out[-1]).mean(0)


def held_out_map(recorded: Recorded, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the data map of the held-out logits, averaged over seeds: predictions of models that never saw the row."""
    from plugins.diagnostics import dynamics

    epochs = np.stack(recorded.held_out)  # (E, S, n, K)
    return dynamics.averaged([dynamics.data_map(epochs[:, seed], labels) for seed in range(epochs.shape[1])])


def on_valid(logits: np.ndarray, rows: Rows, train_labels: np.ndarray, bias: bool = False) -> dict:
    """Return the information of the runs' models, (S * F, m, K) logits, about the validation rows."""
    labels = rows.labels[rows.splits == 1]
    prior = usable_information.prior_log2(train_labels, len(rows.classes))
    null = np.broadcast_to(prior, (len(labels), len(rows.classes)))
    found = diagnosis.diagnose(logits, labels, rows.classes, np.arange(len(labels)) % 2, null, bias=bias)
    return diagnosis.measured(found, resamples=250) | {"split": rows.split_names[1]}


def curve(found: Mapping, sizes: Sequence[float], d: diagnosis.Diagnosis, total: int, count: int) -> dict:
    """Return bits by size, and the fitted curve."""
    shares = sorted({*sizes, 1.0})
    by_seed = np.array([(found[f"size {s:g}"] if s < 1 else d).pvi_calibrated.mean(1) for s in shares])
    rows = np.array(shares) * total * (count - 1) / count
    most = float(d.h_yb.mean()) if d.classes else None
    fit = curves.fit(rows, by_seed.mean(1), most)
    return {"rows": rows.tolist(), "V_calibrated_by_seed": by_seed.tolist(), "fit": fit}


def write_maps(folder: Path, recorded: Recorded, d: diagnosis.Diagnosis, index: Sequence[str], maps: Mapping) -> None:
    """Write allenai's files: training logits averaged over runs, and both maps as tables."""
    epochs = []
    for epoch in range(len(recorded.training[0])):
        values = np.stack([np.asarray(run[epoch], np.float32) for run in recorded.training])
        counts = (~np.isnan(values)).sum(0)
        epochs.append(np.where(counts, np.nansum(values, 0) / np.maximum(counts, 1), np.nan))
    make_folder(folder)
    formats.write_dynamics(folder, epochs, d.labels, index, maps["training"])
    for name, found in maps.items():
        formats.write_csv(folder / f"{name}_map.csv", {"index": index} | dict(found))


def draw(folder: Path, d: diagnosis.Diagnosis, summary: Mapping, maps: Mapping) -> None:
    """Draw every figure that has data.

    Raises:
        UserError: matplotlib is not installed.
    """
    if summary.get("inputs"):
        diagnosis_figures.information(folder / "information.png", summary["inputs"], summary["H_yb"])
    if summary["slices"]:
        diagnosis_figures.by_slice(folder / "classes.png", summary["slices"])
    if len(d.pvi) > 1:
        diagnosis_figures.stability(folder / "stability.png", d.pvi_calibrated)
    flags = d.flags.get("prune_by_noise_rate")
    one_epoch = len(summary.get("epochs") or ()) == 1  # without variability
    for name, found in () if one_epoch else maps.items():
        file = "map.png" if name == "training" else "map_held_out.png"
        diagnosis_figures.data_map(folder / file, found, flags, "model and label disagree", name == "held_out")
    if len(summary.get("epochs") or ()) > 1:
        diagnosis_figures.epochs(folder / "epochs.png", summary["epochs"])
    if summary.get("sizes"):
        s = summary["sizes"]
        diagnosis_figures.learning_curve(
            folder / "learning_curve.png", np.array(s["rows"]), np.array(s["V_calibrated_by_seed"]), s["fit"]
        )


def diagnose_file(path: str, kind: str, output: Path, figures: bool = True, bias: bool = False) -> dict:
    """Diagnose predictions of any model, write everything, and return the summary.

    Args:
        path: returned by :func:`plugins.diagnostics.formats.read`.
        kind: ``probabilities`` or ``logits``.
        output: folder to write.
        figures: draw.
        bias: calibrate by a bias for each class as well as a temperature.

    Raises:
        UserError: the file cannot be read, or its predictions and labels do not fit.
    """
    given = formats.read(path, kind)
    if given.logits is None:
        assert given.bits is not None  # a table of bits
        d = diagnosis.diagnose_bits(given.bits, given.labels, given.classes, given.correct)
    else:
        try:
            d = diagnosis.diagnose(given.logits, given.labels, given.classes, given.folds, given.null_log2, bias=bias)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    texts = list((given.texts or {}).values())
    maps = {}
    if Path(path).is_dir():
        logits, labels, _ = formats.read_dynamics(Path(path))
        maps["training"] = diagnosis.training_map([list(logits)], labels)
        d.warnings.append("training dynamics come from rows that the model trains on, so V is too high")
    parts = {"length": slices.by_length(texts)} if texts else {}
    summary = diagnosis_report.summarized(d, parts, calibration=calibration(bias))
    table = diagnosis_report.columns(d, texts, given.index, maps.get("training"), "")
    with staging(output) as folder:
        diagnosis_report.write(folder, d, table, summary)
        if figures:
            draw(folder / "figures", d, summary, maps)
    return summary

"""Cross-fitting of small models in one process: one stacked model contains the runs of all folds, seeds and cells.

The stacked layers are in :mod:`plugins.modules.stacked`; the hyperparameters are those of the runs of
:mod:`.cross_fitting`.

Shapes: M runs at once, B rows of each, T tokens, n training rows, m validation rows, K outputs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from plugins import checkpoints
from plugins.data.glue import dataset, specs
from plugins.errors import check
from plugins.hub.roberta import RobertaInterface

from . import plan
from .cross_fitting import Cell, Recorded, Setting, write_task
from .stacked_training import Inputs, Member, Stack

GPU_SHARE, CPU_MODELS = 0.25, 4  # memory of the GPU to use; models at once on a CPU
SIMILAR = 0.9  # runs at once have numbers of training rows within this ratio
UNSUPPORTED = {"layer_lr_decay": 1.0, "reinit_layers": 0, "max_tokens": None, "options": ""}


def run(cells: Sequence[Cell], setting: Setting) -> dict[str, Recorded]:
    """Fine-tune the models of all cells, and return the logits of each cell by its name.

    Args:
        cells, setting: see :func:`.cross_fitting.run`.

    Raises:
        UserError: the checkpoint is no masked LM or has a part that cannot be stacked, a hyperparameter is not
            supported, or training diverges.
    """
    hyperparameters = hyperparameters_of(setting)
    lm = checkpoints.load(str(setting.checkpoint))
    check(isinstance(lm, RobertaInterface), f"--stacked: {setting.checkpoint} is not a masked LM")
    device = torch.device("cpu" if setting.cpu else "cuda")
    longest = int(hyperparameters["max_positions"] or lm.model.max_positions())
    encoded: dict[int, Inputs] = {}
    runs = []
    for cell in cells:
        check(cell.rows.scores is None, "--stacked trains classifiers, not regressions")
        key = id(cell.rows.texts)  # cells with other labels of the same texts
        if key not in encoded:
            encoded[key] = encode(cell, setting, longest)
        runs += runs_of(cell, encoded[key], setting)
    found: dict[str, list[list[np.ndarray]]] = {}
    with tqdm(total=len(runs), desc="models", disable=None) as bar:
        for group in grouped(runs, lm.model, int(hyperparameters["batch_size"]), device):
            for one, logits in zip(group, Stack(lm.model, group, hyperparameters, device).train(), strict=True):
                found.setdefault(one.cell.name, []).append(logits)
            bar.update(len(group))
    return {cell.name: collect(cell, setting, [one for one in runs if one.cell is cell], found[cell.name])
            for cell in cells}  # fmt: skip


def hyperparameters_of(setting: Setting) -> dict[str, Any]:
    """Return the hyperparameters, each a single value.

    Raises:
        UserError: one is out of range, has several values, or is not supported.
    """
    runs = plan.plan(["diagnosed"], [setting.seeds[0]], dict(setting.given), dict(setting.from_yaml))
    check(len(runs) == 1, "--lr and --batch-size: give a single value of each")
    hyperparameters = runs[0].hyperparameters | {"lr": runs[0].lr, "batch_size": runs[0].batch_size}
    for name, value in UNSUPPORTED.items():
        check(hyperparameters[name] == value, f"--stacked does not support {name}: {hyperparameters[name]!r}")
    return hyperparameters


def encode(cell: Cell, setting: Setting, longest: int) -> Inputs:
    """Return the model inputs of the rows of a cell, in their order, as the task ``glue`` encodes them."""
    folder = setting.output / "data" / cell.name
    spec = write_task(folder, cell.rows)
    tokenizer = dataset.FolderTokenizer(setting.checkpoint.parent)
    splits = cell.rows.splits
    names = [specs.TRAIN, *(["valid"] if (splits == 1).any() else [])]
    rows = np.concatenate([np.flatnonzero(splits == number) for number in range(len(names))])
    found: list[np.ndarray] = []
    for name in names:
        data = dataset.load(folder / spec.files[name], spec, name, tokenizer, setting.cache)
        pairs = dataset.SentencePairs(data, tokenizer.dictionary, longest)
        found += [pairs[i]["tokens"] for i in range(len(pairs))]
    sizes = np.array([len(row) for row in found])
    tokens = np.full((len(found), sizes.max()), tokenizer.dictionary.pad(), np.int64)
    for place, row in zip(rows, found, strict=True):
        tokens[place, : len(row)] = row
    sizes[rows] = sizes.copy()
    return Inputs(tokens, sizes)


def runs_of(cell: Cell, inputs: Inputs, setting: Setting) -> list[Member]:
    """Return the runs of a cell, seed by seed. Row numbers are those of all rows of the cell."""
    train, valid = cell.train, np.flatnonzero(cell.rows.splits == 1)
    usable = np.ones(len(train), bool) if cell.used is None else cell.used
    runs = []
    for seed in cell.seeds or setting.seeds:
        for fold in range(int(cell.folds.max()) + 1):
            own = train[(cell.folds != fold) & usable]
            runs.append(Member(cell, inputs, fold, seed, own, np.concatenate([train[cell.folds == fold], valid])))
    return runs


def grouped(runs: Sequence[Member], model: nn.Module, batch: int, device: torch.device) -> Iterator[list[Member]]:
    """Yield the runs in groups that fit into memory and have similar numbers of training rows."""
    cfg: Any = model.args
    longest = max(run.inputs.tokens.shape[1] for run in runs)
    per_token = 100 * cfg.encoder_layers * cfg.encoder_embed_dim  # bytes of activations, roughly
    weights = 20 * sum(p.numel() for p in model.parameters())  # with gradient, Adam's moments and a half copy
    most = CPU_MODELS
    if device.type == "cuda":
        most = max(1, int(GPU_SHARE * torch.cuda.mem_get_info()[1] / (weights + per_token * batch * longest)))
    group: list[Member] = []
    for one in runs:
        if group and (len(group) == most or not SIMILAR < len(one.own) / len(group[0].own) < 1 / SIMILAR
                      or len(one.cell.rows.classes) != len(group[0].cell.rows.classes)):  # fmt: skip
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def collect(cell: Cell, setting: Setting, runs: Sequence[Member], logits: Sequence[Sequence[np.ndarray]]) -> Recorded:
    """Return the logits of the runs of a cell, as :func:`.cross_fitting.collect` does."""
    train, valid = cell.train, np.flatnonzero(cell.rows.splits == 1)
    seeds = list(cell.seeds or setting.seeds)
    held_out, on_valid = [], []
    for epoch in range(len(logits[0]) // 2):
        values = np.full((len(seeds), len(train), logits[0][0].shape[1]), np.nan, np.float32)
        for one, arrays in zip(runs, logits, strict=True):
            own = cell.folds == one.fold
            values[seeds.index(one.seed), own] = arrays[2 * epoch + 1][train[own]]
        held_out.append(values)
        if len(valid):
            on_valid.append(np.stack([arrays[2 * epoch + 1][valid] for arrays in logits]))
    training = [[arrays[i][train] for i in range(0, len(arrays), 2)] for arrays in logits]
    return Recorded(held_out, on_valid, training)

"""Cross-fitting without fine-tuning: heads on frozen features of a pretrained model, all folds and seeds at once.

V is the family of perceptrons with one hidden layer on the mean of the last layer. Each distinct text is encoded once;
the features of pairs are those of InferSent (Conneau et al., 2017, arXiv 1705.02364): u, v, |u - v|, u * v.

Shapes: M = S x F heads, n rows, D features, H hidden units, K outputs.
"""

import hashlib
import json
import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from plugins.checkpoints import tokenizer_files
from plugins.data.glue.logits import load
from plugins.diagnostics.datasets import Rows
from plugins.errors import check
from plugins.files import make_folder
from plugins.hub.embedder import Embedder
from plugins.jobs import digest

from .cross_fitting import Cell, Recorded, Setting, save

BLOCK = 1024  # texts per cached file of features
LR, BATCH, HIDDEN, DROPOUT, WEIGHT_DECAY = 1e-3, 64, 256, 0.1, 0.01


def run(cells: Sequence[Cell], setting: Setting) -> dict[str, Recorded]:
    """Train the heads of all cells, and return the logits of each cell by its name.

    Args:
        cells: see :func:`.cross_fitting.run`.
        setting: provides the learning rate, batch size and epochs of the heads.

    Raises:
        UserError: the checkpoint is not a text encoder, or features or logits are not finite.
    """
    embedder = Embedder.from_pretrained(os.fspath(setting.checkpoint), pooling="mean")
    if not setting.cpu:
        embedder = embedder.to("cuda")
    vectors = encoded(embedder, [cell.rows for cell in cells], setting)
    found = {}
    for cell in tqdm(cells, "heads", disable=None, leave=False):
        x = features(cell.rows, vectors, embedder.width)
        check(bool(torch.isfinite(x).all()), f"{setting.checkpoint}: its features of the texts are not finite")
        found[cell.name] = trained(x.to(embedder.device), cell, setting)
    return found


def encoded(embedder: Embedder, parts: Sequence[Rows], setting: Setting) -> dict[str, np.ndarray]:
    """Return the vector (D,) of each distinct nonempty text; blocks of vectors are cached in the output folder."""
    texts = list(dict.fromkeys(text for rows in parts for column in rows.texts for text in column if text.strip()))
    folder, stat = setting.output / "features", os.stat(setting.checkpoint)
    model = [stat.st_size, stat.st_mtime_ns, digest(*tokenizer_files(setting.checkpoint))]
    make_folder(folder)
    found: dict[str, np.ndarray] = {}
    for start in tqdm(range(0, len(texts), BLOCK), f"blocks of {BLOCK} texts", disable=None, leave=False):
        block = texts[start : start + BLOCK]
        key = hashlib.sha256(json.dumps([*model, block]).encode()).hexdigest()[:32]
        path = folder / f"{key}.npy"
        if not path.exists():
            save(path, embedder.encode(block, progress=False))
        found |= zip(block, load(path), strict=True)
    return found


def features(rows: Rows, vectors: dict[str, np.ndarray], width: int) -> Tensor:
    """Return the inputs of the heads, (n, width) of one text and (n, 4 * width) of two.

    Empty texts have a zero vector. Each feature is standardized to mean 0 and variance 1.
    """
    nothing = np.zeros(width, np.float32)
    sides = [torch.from_numpy(np.stack([vectors.get(text, nothing) for text in column])) for column in rows.texts]
    if len(sides) == 2:
        u, v = sides
        sides += [(u - v).abs(), u * v]
    joined = torch.cat(sides, 1).float()
    return (joined - joined.mean(0)) / (joined.std(0, correction=0) + 1e-6)


def trained(x: Tensor, cell: Cell, setting: Setting) -> Recorded:
    """Train a head for each seed and fold, all in one batch, and return their logits after each epoch.

    Args:
        x: (n + m, D) features of training and validation rows.
        cell: the rows and folds.
        setting: settings of the runs.

    Raises:
        UserError: the logits are not finite.
    """
    rows, number = cell.rows, int(cell.folds.max()) + 1
    train, valid = cell.train, np.flatnonzero(rows.splits == 1)
    usable = np.ones(len(train), bool) if cell.used is None else cell.used
    own = [np.flatnonzero((cell.folds != fold) & usable) for _ in setting.seeds for fold in range(number)]
    heads = Heads(x, targets_of(rows, own, x.device), len(rows.classes) if rows.scores is None else 1, setting, number)
    held_out: list[np.ndarray] = []
    on_valid: list[np.ndarray] = []
    training: list[list[np.ndarray]] = [[] for _ in own]
    for _ in range(heads.epochs):
        seen = heads.epoch(own, len(train))  # (M, n, K), NaN for held-out rows
        for place, values in enumerate(seen):
            training[place].append(values)
        logits = heads.logits(x)  # (M, n + m, K)
        check(bool(np.isfinite(logits).all()), "--lr: the heads diverged; give a lower one")
        by_seed = logits.reshape(len(setting.seeds), number, *logits.shape[1:])
        epoch = np.empty((len(setting.seeds), len(train), logits.shape[-1]), np.float32)
        for fold in range(number):
            epoch[:, cell.folds == fold] = by_seed[:, fold][:, train[cell.folds == fold]]
        held_out.append(epoch)
        if len(valid):
            on_valid.append(logits[:, valid])
    return Recorded(held_out, on_valid, training)


def targets_of(rows: Rows, own: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return class ids or scores (n + m,), and the mean and deviation of each head's training scores, (M, 2)."""
    if rows.scores is None:
        return torch.from_numpy(rows.labels).to(device), torch.empty(len(own), 0)
    scores = rows.scores.astype(np.float32)
    scale = np.array([(scores[part].mean(), scores[part].std() or 1) for part in own], np.float32)
    return torch.from_numpy(scores).to(device), torch.from_numpy(scale).to(device)


class Heads:
    """M perceptrons on the same features, each with its own rows, order, dropout and initialization.

    Args:
        x: (n + m, D).
        targets: returned by :func:`targets_of`.
        outputs: K.
        setting: settings of the runs.
        number: F; the head of seed s and fold f has index s * F + f.
    """

    def __init__(self, x: Tensor, targets: tuple[Tensor, Tensor], outputs: int, setting: Setting, number: int):
        given = {key: value[0] if isinstance(value, list) else value for key, value in setting.given.items()}
        self.epochs, self.batch = int(given.get("epochs") or 3), int(given.get("batch_size") or BATCH)
        self.x, (self.y, self.scale) = x, targets
        self.draws = [np.random.default_rng((seed, fold)) for seed in setting.seeds for fold in range(number)]
        self.noise = torch.Generator(x.device).manual_seed(setting.seeds[0])
        sizes = ((x.size(1), HIDDEN), (HIDDEN, outputs))
        starts = [[draw.uniform(-1, 1, size) / np.sqrt(size[0]) for size in sizes] for draw in self.draws]
        self.weights = [
            torch.tensor(np.stack(w), dtype=torch.float32, device=x.device) for w in zip(*starts, strict=True)
        ]
        self.biases = [torch.zeros(len(self.draws), 1, size[1], device=x.device) for size in sizes]
        for parameter in (*self.weights, *self.biases):
            parameter.requires_grad_()
        groups = [{"params": self.weights, "weight_decay": WEIGHT_DECAY}, {"params": self.biases, "weight_decay": 0.0}]
        self.rate = float(given.get("lr") or LR)
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate)
        self.step, self.total = 0, 0

    def forward(self, inputs: Tensor, drop: bool) -> Tensor:
        """Return the outputs (M, B, K) for inputs (M, B, D)."""
        hidden = torch.tanh(torch.baddbmm(self.biases[0], inputs, self.weights[0]))  # (M, B, H)
        if drop:
            kept = torch.rand(hidden.shape, generator=self.noise, device=hidden.device) >= DROPOUT
            hidden = hidden * kept / (1 - DROPOUT)
        found = torch.baddbmm(self.biases[1], hidden, self.weights[1])
        return found if not self.scale.numel() else found * self.scale[:, 1, None, None] + self.scale[:, 0, None, None]

    def epoch(self, own: Sequence[np.ndarray], total: int) -> np.ndarray:
        """Train each head for one epoch; return its logits, (M, total, K), NaN for other rows."""
        longest = max(map(len, own))
        orders = np.stack(
            [np.resize(draw.permutation(part), longest) for draw, part in zip(self.draws, own, strict=True)]
        )
        real = np.arange(longest) < np.array([[len(part)] for part in own])  # False: repeated, weight 0
        self.total = self.total or self.epochs * -(-longest // self.batch)
        seen = np.full((len(own), total, self.weights[1].size(2)), np.nan, np.float32)
        for start in range(0, longest, self.batch):
            rows, counted = orders[:, start : start + self.batch], real[:, start : start + self.batch]
            places = torch.from_numpy(rows).to(self.x.device)
            logits = self.forward(self.x[places], drop=True)  # (M, B, K)
            loss = self.losses(logits, self.y[places]) * torch.from_numpy(counted).to(self.x.device)
            for group in self.optimizer.param_groups:  # linear decay
                group["lr"] = self.rate * (1 - self.step / self.total)
            self.optimizer.zero_grad()
            (loss.sum(1) / torch.from_numpy(counted.sum(1).clip(1)).to(loss)).sum().backward()
            self.optimizer.step()
            self.step += 1
            found = logits.detach().cpu().numpy()
            for head in range(len(own)):
                seen[head, rows[head, counted[head]]] = found[head, counted[head]]
        return seen

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row, (M, B), from logits (M, B, K)."""
        if self.scale.numel():
            return ((logits[..., 0] - targets) / self.scale[:, 1, None]) ** 2
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")

    @torch.no_grad()
    def logits(self, x: Tensor, block: int = 4096) -> np.ndarray:
        """Return the logits (M, N, K) for inputs (N, D), without dropout."""
        parts = [self.forward(x[i : i + block].expand(len(self.draws), -1, -1), False) for i in range(0, len(x), block)]
        return torch.cat(parts, 1).cpu().numpy()

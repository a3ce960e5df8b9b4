"""Training of models with stacked weights on their own rows, see :mod:`plugins.modules.stacked`.

Shapes: M runs at once, B rows of each, T tokens, n training rows, m validation rows, K outputs.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from plugins.compat.precision import gpu_has_bfloat16
from plugins.data.by_length import LENGTH_NOISE
from plugins.errors import UserError, check
from plugins.models import architecture
from plugins.modules.pooler import ClassificationHead
from plugins.modules.stacked import stack

from .cross_fitting import Cell

BETAS, EPS = (0.9, 0.98), 1e-6  # as plan.command
EVALUATED = 1024  # rows of each run in a batch of evaluation, at most


@dataclass
class Inputs:
    """The encoded rows of a cell: tokens (n + m, T) padded on the right, and their lengths (n + m,)."""

    tokens: np.ndarray
    sizes: np.ndarray


@dataclass
class Member:
    """One model to train: the rows of a cell without a fold, a seed, and the logits recorded so far."""

    cell: Cell
    inputs: Inputs
    fold: int
    seed: int
    own: np.ndarray  # numbers of its training rows among the n
    asked: np.ndarray  # numbers of the rows to predict, among the n + m


class Stack:
    """M models that are trained together, each on its own rows.

    Args:
        model: the pretrained model, which is copied.
        runs: M runs.
        hyperparameters: {name: value}, see :func:`.stacked.hyperparameters_of`.
        device: device to train on; products are in bfloat16 on a GPU that has it.
    """

    def __init__(self, model: nn.Module, runs: Sequence[Member], hyperparameters: Mapping, device: torch.device):
        self.runs, self.hyperparameters, self.device = runs, hyperparameters, device
        self.mixed = mixes(device)
        classes, seeds = len(runs[0].cell.rows.classes), [one.seed for one in runs]
        self.net = Classifier(model, classes, hyperparameters, seeds).to(device)
        parameters = list(self.net.parameters())
        groups = [  # a vector of a model is a matrix of the stack
            {"params": [p for p in parameters if p.ndim > 2], "weight_decay": hyperparameters["weight_decay"]},
            {"params": [p for p in parameters if p.ndim <= 2], "weight_decay": 0.0},
        ]
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPS, fused=True)
        self.draws = [np.random.default_rng((one.seed, one.fold)) for one in runs]
        different = {id(one.inputs): one.inputs for one in runs}
        self.widths = max(inputs.tokens.shape[1] for inputs in different.values())
        self.first, tables, total = {}, [], 0
        for key, inputs in different.items():
            self.first[key] = total  # row of the first input of the cell in the joint table
            wide = np.full((len(inputs.tokens), self.widths), self.net.padding, np.int64)
            wide[:, : inputs.tokens.shape[1]] = inputs.tokens
            tables.append(wide)
            total += len(wide)
        self.tokens = torch.from_numpy(np.concatenate(tables)).to(device)  # (rows, T)

    def train(self) -> list[list[np.ndarray]]:
        """Train all epochs; return for each run 2 E arrays: (n + m, K) of training and predicted rows by epoch.

        Rows without logits are NaN.

        Raises:
            UserError: the logits are not finite.
        """
        epochs, size = int(self.hyperparameters["epochs"]), int(self.hyperparameters["batch_size"])
        steps = -(-max(len(one.own) for one in self.runs) // size)
        total, warm = epochs * steps, round(float(self.hyperparameters["warmup"]) * epochs * steps)
        found: list[list[np.ndarray]] = [[] for _ in self.runs]
        step = 0
        for _ in tqdm(range(epochs), f"epochs of {len(self.runs)} models", leave=False, disable=None):
            seen = self.empty()
            for rows, counted in self.batches([one.own for one in self.runs], steps, shuffled=True):
                step += 1
                rate = step / warm if step <= warm else (total - step) / max(1, total - warm)
                for group in self.optimizer.param_groups:
                    group["lr"] = float(self.hyperparameters["lr"]) * rate
                self.note(seen, rows, counted, self.update(rows, counted))
            asked = self.predicted()
            good = all(np.isfinite(part[one.asked]).all() for part, one in zip(asked, self.runs, strict=True))
            check(good, "--lr: training diverged; give a lower one")
            for logits, one, two in zip(found, seen, asked, strict=True):
                logits += [one, two]
        return found

    def empty(self) -> list[np.ndarray]:
        """Return an array (n + m, K) of NaN for each run."""
        return [np.full((len(one.inputs.tokens), len(one.cell.rows.classes)), np.nan, np.float32) for one in self.runs]

    def batches(self, own: Sequence[np.ndarray], steps: int, shuffled: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield row numbers (M, B) in batches of similar length, and whether each counts; others repeat a row."""
        parts = []
        for one, rows, draw in zip(self.runs, own, self.draws, strict=True):
            noise = draw.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(rows)) if shuffled else 1
            parts.append(np.array_split(rows[np.argsort(one.inputs.sizes[rows] * noise, kind="stable")], steps))
        order = self.draws[0].permutation(steps) if shuffled else range(steps)
        for number in order:
            chosen = [part[number] for part in parts]
            most = max(map(len, chosen))
            counted = np.arange(most) < np.array([[len(rows)] for rows in chosen])
            yield np.stack([np.resize(rows, most) if len(rows) else np.full(most, one.asked[0])
                            for rows, one in zip(chosen, self.runs, strict=True)]), counted  # fmt: skip

    def forward(self, rows: np.ndarray) -> Tensor:
        """Return the logits (M, B, K) of rows (M, B)."""
        longest = max(one.inputs.sizes[part].max() for one, part in zip(self.runs, rows, strict=True))
        first = np.array([[self.first[id(one.inputs)]] for one in self.runs])
        places = torch.from_numpy((rows + first).ravel()).to(self.device)
        tokens = self.tokens[places, : -(-int(longest) // 8) * 8]  # (M * B, T)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            return self.net(tokens).float().view(*rows.shape, -1)

    def update(self, rows: np.ndarray, counted: np.ndarray) -> Tensor:
        """Take a step on rows (M, B), and return their logits in train mode, (M, B, K)."""
        self.net.train()
        logits = self.forward(rows)
        labels = np.stack([one.cell.rows.labels[part] for one, part in zip(self.runs, rows, strict=True)])
        targets, weights = (torch.from_numpy(a).to(self.device) for a in (labels, counted))
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none") * weights  # (M, B)
        self.optimizer.zero_grad(set_to_none=True)
        (losses.sum(1) / weights.sum(1).clamp_min(1)).sum().backward()
        if self.hyperparameters["clip_norm"]:
            self.clip(float(self.hyperparameters["clip_norm"]))
        self.optimizer.step()
        return logits.detach()

    @torch.no_grad()
    def clip(self, limit: float) -> None:
        """Scale the gradients of each run to a norm of at most ``limit``."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads]).norm(dim=0)  # (M,)
        factor = (limit / (norms + 1e-6)).clamp_max(1)
        for grad in grads:
            grad.mul_(factor.view(-1, *[1] * (grad.ndim - 1)))

    @torch.no_grad()
    def predicted(self) -> list[np.ndarray]:
        """Return the logits of the rows that each run is asked for, in arrays (n + m, K) of NaN."""
        self.net.eval()
        found, asked = self.empty(), [one.asked for one in self.runs]
        steps = -(-max(map(len, asked)) // min(EVALUATED, 4 * int(self.hyperparameters["batch_size"])))
        for rows, counted in self.batches(asked, steps, shuffled=False):
            self.note(found, rows, counted, self.forward(rows))
        return found

    def note(self, into: Sequence[np.ndarray], rows: np.ndarray, counted: np.ndarray, logits: Tensor) -> None:
        """Store the logits (M, B, K) of rows (M, B) that count."""
        values = logits.cpu().numpy()
        for number, array in enumerate(into):
            array[rows[number, counted[number]]] = values[number, counted[number]]


class Classifier(nn.Module):
    """M copies of an encoder, each with its own head.

    Args:
        model: a loaded masked LM, left unchanged.
        classes: K.
        hyperparameters: {name: value}, see :func:`.stacked.hyperparameters_of`.
        seeds: seeds of the M heads.

    Raises:
        UserError: a part of the encoder cannot be stacked.
    """

    def __init__(self, model: nn.Module, classes: int, hyperparameters: Mapping, seeds: Sequence[int]):
        super().__init__()
        source: Any = model
        cfg, encoder = source.args, source.encoder.sentence_encoder
        self.padding = encoder.padding_index
        heads = [made_head(cfg, classes, hyperparameters, seed) for seed in seeds]
        starts = {name: torch.stack([head.get_parameter(name).detach() for head in heads])
                  for name, _ in heads[0].named_parameters()}  # fmt: skip
        try:
            self.encoder = stack(copy.deepcopy(encoder).float(), len(seeds))
            self.head = stack(heads[0], len(seeds))
        except ValueError as error:
            raise UserError(f"--stacked: {error}") from None
        with torch.no_grad():
            for name, parameter in self.head.named_parameters():
                parameter.copy_(starts[name])
        part: Any
        for part in self.encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = float(hyperparameters["dropout"])
            if isinstance(getattr(part, "dropout", None), float):  # of attention weights
                part.dropout = float(hyperparameters["dropout"])

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (M * B, T) to logits (M * B, K)."""
        features, _ = self.encoder(tokens, has_padding=True, inner_states=False)
        return self.head(features, tokens == self.padding)


def made_head(cfg: Any, classes: int, hyperparameters: Mapping, seed: int) -> ClassificationHead:
    """Return a new classification head, initialized from a seed."""
    width = cfg.encoder_embed_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        activation = architecture.activation(str(cfg.pooler_activation_fn))
        return ClassificationHead(
            width, width, classes, activation, float(hyperparameters["dropout"]), hyperparameters["pooler_type"]
        )


def mixes(device: torch.device) -> bool:
    """Return whether products on a device are in bfloat16: on GPUs that have it; on others torch emulates it slowly."""
    return device.type == "cuda" and gpu_has_bfloat16()

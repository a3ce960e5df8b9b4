"""Embed texts with any model of this package, tuned for embeddings or not."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from tqdm import tqdm

from plugins import checkpoints
from plugins.analysis.metrics.retrieval import unit
from plugins.data.by_length import SMALL_BATCH, cuts
from plugins.data.embedding import encoding
from plugins.data.embedding.specs import POOLINGS
from plugins.errors import UserError, check
from plugins.models.embedding_head import NAME
from plugins.modules.embedding_head import EmbeddingHead

from .causal_lm import CausalLM
from .char_lm import CharLM
from .devices import move
from .roberta import RobertaInterface

if TYPE_CHECKING:
    from plugins.modules.score_head import ScoreHead

TEXTS_AT_ONCE = 16_384  # texts that are tokenized and sorted by length together
DEFAULT_LONGEST = 512


class Embedder:
    """A model, its text encoder, and a head that pools token features into a vector.

    Args:
        model: model of this package.
        encoder: encoder of its texts.
        head: pools features (B, T, C).
        longest: tokens of a text, which is truncated to them.
    """

    lm: CausalLM | CharLM | RobertaInterface | None = None  # the interface that it was created from

    def __init__(self, model: Any, encoder: encoding.TextEncoder, head: "EmbeddingHead | ScoreHead", longest: int):
        self.model, self.encoder, self.head, self.longest = model.eval(), encoder, head.eval(), longest

    @classmethod
    @checkpoints.reading_once()
    def from_pretrained(
        cls, path: str, pooling: str | None = None, normalize: bool | None = None, base: str | None = None
    ) -> "Embedder":
        """Load a checkpoint: of ``--task embedding``, or any masked, causal or character LM.

        Args:
            path: the ``.pt`` file, or the folder with ``checkpoint_best.pt`` or ``checkpoint_last.pt``.
            pooling: default: that of the training, else ``mean``.
            normalize: return vectors of length one; default: as in training, else no.
            base: the checkpoint that an adapter belongs to, if it is no longer where it was.

        Raises:
            UserError: a file is missing or damaged, or the model does not take this pooling.
        """
        path = checkpoints.find_checkpoint(path)
        saved = saved_settings(path)
        pooling = pooling or saved.get("pooling", "mean")
        normalize = saved.get("normalize", False) if normalize is None else normalize
        lm = checkpoints.load(path, base)
        try:
            return cls.of(lm, pooling, normalize, saved.get("longest"))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    @classmethod
    def of(
        cls, lm: CausalLM | CharLM | RobertaInterface, pooling: str = "mean", normalize: bool = False,
        longest: int | None = None,
    ) -> "Embedder":  # fmt: skip
        """Return an embedder of a loaded model.

        Args:
            lm: a :class:`RobertaInterface`, :class:`CausalLM` or :class:`CharLM`.
            longest: tokens of a text at most.

        Raises:
            UserError: the model does not take this pooling.
        """
        check(pooling in POOLINGS, f"pooling {pooling!r}: there are {', '.join(POOLINGS)}")
        model, causal = lm.model, not isinstance(lm, RobertaInterface)
        if causal and pooling in ("bos", "attention"):
            raise UserError(f"pooling {pooling!r} reads no text in a causal model; use mean, max or last")
        trained = getattr(model, NAME, None)
        head = EmbeddingHead(model.peft_parts().table.weight.size(1), "mean", normalize)
        if pooling == "attention":
            if trained is None or trained.attention is None:
                raise UserError("the checkpoint has no trained pooler; use another pooling than 'attention'")
            head.attention = trained.attention
        head.pooling = pooling
        if isinstance(trained, EmbeddingHead) and type(trained) is not EmbeddingHead and trained.pooling == pooling:
            head = copy.copy(trained)  # a plugin's, which may pool in another way
            head.normalize = normalize
        embedder = cls(model, encoder_of(lm), head, min(longest or DEFAULT_LONGEST, model.max_positions()))
        embedder.lm = lm
        return embedder

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        """The number of dimensions of the vectors."""
        return self.model.peft_parts().table.weight.size(1)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move the model to a device, convert its weights to a dtype (``torch.bfloat16``), and return self."""
        move(self.model, device, dtype)
        move(self.head, device, dtype)
        return self

    def encode(
        self, texts: str | Iterable[str], batch_size: int = 64, normalize: bool | None = None, progress: bool = True
    ) -> np.ndarray:
        """Return the vectors of texts, (n, d) float32, in their order; for a single string, (d,).

        Args:
            batch_size: maximum texts in a forward pass; batches are of similar length, padded to their longest, and
                smaller where padding would exceed a tenth.
            normalize: scale vectors to length one; default: as the head does.
            progress: show a bar on a terminal.

        Raises:
            UserError: a text has no tokens, or a character that the model does not know or UTF-8 cannot encode.
        """
        if isinstance(texts, str):
            return self.encode([texts], batch_size, normalize, progress=False)[0]
        blocks = [vectors for vectors, _ in self.stream(texts, batch_size, normalize, progress)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.width), np.float32)

    def stream(
        self,
        texts: Iterable[str],
        batch_size: int = 64,
        normalize: bool | None = None,
        progress: bool = False,
        names: Iterable[str] | None = None,
    ) -> Iterator[tuple[np.ndarray, list[str]]]:
        """Yield (vectors (B, d), texts), up to 16,384 texts at a time, in constant memory for any number of texts.

        Args:
            names: of the texts in errors, as many as texts (default: their numbers, from 1).

        Raises:
            UserError: as :meth:`encode`.
        """
        check(batch_size > 0, f"batch_size {batch_size} is not positive")
        total = len(texts) if isinstance(texts, Sized) else None
        named = iter(itertools.count(1) if names is None else names)
        with tqdm(desc="embedding", total=total, leave=False, disable=None if progress else True) as bar:
            for block in blocks_of(texts, TEXTS_AT_ONCE):
                rows = encoding.encode_all(block, self.encoder, self.longest, itertools.islice(named, len(block)))
                yield self._vectors(rows, batch_size, normalize, bar), block

    @torch.inference_mode()
    def _vectors(self, rows: list, batch_size: int, normalize: bool | None, bar: tqdm) -> np.ndarray:
        found = np.empty((len(rows), self.width), np.float32)
        order = np.argsort([-len(row) for row in rows], kind="stable")  # the largest batch first: memory is known early
        small = SMALL_BATCH[self.device.type == "cuda"]
        for chosen in np.split(order, cuts([len(rows[i]) for i in order], batch_size, small)):
            tokens, lengths = self._batch([rows[i] for i in chosen])
            features, _ = self.model(tokens, src_lengths=lengths, features_only=True)
            found[chosen] = self.head(features, lengths).float().cpu().numpy().reshape(len(chosen), -1)
            bar.update(len(chosen))
        return unit(found) if normalize else found

    def _batch(self, rows: list) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens (B, T), padded to the longest, and their lengths (B,), on the model's device."""
        tokens, lengths = self.encoder.batch(rows)
        return torch.from_numpy(tokens).to(self.device), torch.from_numpy(lengths).to(self.device)

    @torch.inference_mode()
    def layers(self, texts: Iterable[str], batch_size: int = 64, poolings: tuple = ("mean",)) -> dict[str, np.ndarray]:
        """Return the vectors (L, n, d) of texts after each of L layers, for each pooling that has no parameters."""
        rows = encoding.encode_all(texts := list(texts), self.encoder, self.longest, range(1, len(texts) + 1))
        blocks = self.model.peft_parts().blocks
        found = {name: np.empty((len(blocks), len(rows), self.width), np.float32) for name in poolings}
        heads = {name: EmbeddingHead(self.width, name) for name in poolings}
        states, prompt = [], self.model.peft_parts().body.prompt
        hooks = [block.register_forward_hook(lambda module, given, out: states.append(out)) for block in blocks]
        try:
            for start in tqdm(range(0, len(rows), batch_size), "layers", leave=False, disable=None):
                chosen = rows[start : start + batch_size]
                tokens, lengths = self._batch(chosen)
                states.clear()
                self.model(tokens, src_lengths=lengths, features_only=True)
                for name, head in heads.items():
                    for layer, state in enumerate(states):
                        state = state if prompt is None else prompt.remove(state)
                        found[name][layer, start : start + len(chosen)] = head(state, lengths).float().cpu()
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def word_vectors(self, texts: Iterable[str]) -> np.ndarray:
        """Return the mean row of the embedding table over each text's tokens, (n, d): a baseline without context."""
        table = self.model.peft_parts().table.weight.detach().float().cpu().numpy()
        before, after = len(self.encoder.before), len(self.encoder.after)
        rows = encoding.encode_all(texts := list(texts), self.encoder, self.longest, range(1, len(texts) + 1))
        return np.stack([table[row[before : len(row) - after]].mean(0) for row in rows])

    def similarity(self, a: Iterable[str] | np.ndarray, b: Iterable[str] | np.ndarray) -> np.ndarray:
        """Return the cosines (n, m) of texts, or vectors, a and b."""
        a, b = (unit(x if isinstance(x, np.ndarray) else self.encode(list(x), progress=False)) for x in (a, b))
        return a @ b.T


def blocks_of(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield lists of up to ``size`` texts."""
    block = []
    for text in texts:
        block.append(text)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def saved_settings(path: str, task: str = "embedding") -> dict:
    """Return the settings that ``--task embedding`` or ``preference`` stores in a checkpoint; empty for other ones."""
    return (checkpoints.read_state(path).get("task_state") or {}).get(task) or {}


def encoder_of(lm: CausalLM | CharLM | RobertaInterface) -> encoding.TextEncoder:
    """Return the encoder of the texts of a loaded model."""
    if isinstance(lm, CausalLM):
        return encoding.causal(lm.dictionary)
    if isinstance(lm, CharLM):
        return encoding.characters(lm.dictionary)
    if isinstance(getattr(lm.task, "encoder", None), encoding.TextEncoder):  # a model of --task embedding
        return lm.task.encoder
    dictionary = lm.task.source_dictionary
    return encoding.TextEncoder(
        dictionary,
        lambda text: [dictionary.index(piece) for piece in lm.bpe.encode(text).split()],
        (dictionary.bos(),),
        (dictionary.eos(),),
        dictionary.pad(),
    )

"""Base of the language models with a GPT-2 style decoder: options, features, logits and loss.

State-dict keys are ``decoder.`` and GPT-2's names (``transformer.h.0.attn.c_attn.weight``, ..., ``lm_head.weight``).
"""

from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.data import Dictionary
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import FairseqDecoder, FairseqLanguageModel
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, open_dict
from torch import Tensor

from plugins import checkpoints
from plugins.checkpoints import as_dict, inherit, record
from plugins.errors import UserError
from plugins.modules.cache import Cache
from plugins.modules.decoder import Decoder, initialize
from plugins.modules.linear import DecodingLinear
from plugins.modules.linear_cross_entropy import linear_cross_entropy
from plugins.options import add_tristate_flags, architecture_names, check_depth, check_ranges
from plugins.peft import Parts

from . import tuning
from .architecture import activation, check_compilation
from .embedding_head import WithEmbeddingHead
from .position_options import check_positions, scaling_of

SIZE_OPTIONS = ("decoder_layers", "decoder_attention_heads", "decoder_embed_dim", "decoder_ffn_embed_dim", "block_size")


class DecoderLanguageModel(WithEmbeddingHead, FairseqLanguageModel):
    """Base of the registered decoder models.

    A subclass sets ``config`` and ``decoder_type`` and implements :meth:`complete`.
    """

    def __init__(self, cfg: DictConfig, dictionary: Dictionary) -> None:
        super().__init__(self.decoder_type(cfg, dictionary))
        self.cfg = cfg

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Add the options of the model to a command line."""
        add_tristate_flags(parser, cls.config)
        gen_parser_from_dataclass(parser, cls.config(), delete_default=True)

    @classmethod
    def build_model(cls, cfg: DictConfig, task: FairseqTask) -> "DecoderLanguageModel":
        """Build a model for the dictionary of a task.

        Raises:
            UserError: the options contradict each other, the task, or the checkpoint that training starts from.
        """
        source = checkpoints.starting_checkpoint(cfg.save_dir, cfg.restore_file, cfg.finetune_from_model)
        state = checkpoints.read_state(source) if source else None
        with open_dict(cfg):
            if source and state is not None:
                checkpoints.check_kind(cls, state, source)
                saved = cls.saved_architecture(state, task, source)
                if cfg.block_size is not None and saved.get("positions", "learned") != "learned":
                    # Without a table the block may be longer or shorter than it was.
                    saved.setdefault("trained_length", saved.pop("block_size", None))
                inherit(cfg, saved, source)
            cls.complete(cfg, task)
            tuning.resolve(cfg, state, source)
            model = tuning.tune(cls(cfg, task.source_dictionary), cfg, task)
        record(cfg)
        return model

    @classmethod
    def saved_architecture(cls, state: Mapping, task: FairseqTask, source: str) -> dict:
        """Return the architecture options that a checkpoint stores.

        Args:
            state: its content.
            task: the task of the new run.
            source: its path, for messages.
        """
        saved = as_dict(state["cfg"]["model"])
        return {name: saved[name] for name in architecture_names(cls.config) if saved.get(name) is not None}

    @classmethod
    def complete(cls, cfg: DictConfig, task: FairseqTask) -> None:
        """Fill in options that were not given, and check that they agree.

        Raises:
            UserError: options contradict each other.
        """
        raise NotImplementedError

    def forward(
        self, src_tokens: Tensor, src_lengths: Tensor | None = None, features_only: bool = False, **options: Any
    ) -> tuple[Tensor | None, dict]:
        """Map tokens (B, T) to logits (B, T, V), or features (B, T, C), and a dict; see the decoder's ``forward``."""
        if features_only:
            return self.decoder.extract_features(src_tokens, src_lengths=src_lengths, **options)
        return self.decoder(src_tokens, src_lengths=src_lengths, **options)

    def peft_parts(self) -> Parts:
        """Return the parts of the model that ``--peft`` changes."""
        decoder = self.decoder.transformer
        return Parts(
            body=decoder,
            table=decoder.wte,
            prompt_at=0,
            blocks=decoder.h,
            norm=decoder.ln_f,
            head=self.decoder.lm_head,
            attention=("attn.c_attn",),
            scaled=("attn.c_attn", "mlp.c_proj"),
            feedforward=("mlp.c_proj",),
        )

    def new_cache(self, batch: int, window: int | None = None) -> Cache:
        """Return an empty key-value cache for ``batch`` sequences of up to ``max_positions()`` tokens.

        Args:
            batch: number of sequences.
            window: tokens that the cache keeps while it slides over longer sequences; None: it does not slide.

        Raises:
            UserError: positions with which a cache cannot slide.
        """
        try:
            return self.decoder.transformer.new_cache(batch, window)
        except ValueError as error:
            raise UserError(f"--positions {self.cfg.positions}: {error}") from error


class LMDecoder(FairseqDecoder):
    """Decoder and output projection."""

    def __init__(self, cfg: DictConfig, dictionary: Dictionary) -> None:
        super().__init__(dictionary)
        self.transformer = Decoder(
            cfg.vocab_size,
            cfg.block_size,
            cfg.decoder_embed_dim,
            cfg.decoder_ffn_embed_dim,
            cfg.decoder_layers,
            cfg.decoder_attention_heads,
            activation(str(cfg.activation_fn)),
            positions=str(cfg.positions),
            scaling=scaling_of(cfg),
            alibi_float32=str(cfg.alibi_dtype) == "float32",
            bias=cfg.bias,
            norm_eps=cfg.norm_eps,
            dropout=cfg.dropout,
            embedding_dropout=cfg.embedding_dropout,
            attention_dropout=cfg.attention_dropout,
            residual=cfg.residual,
        )
        self.transformer.checkpoint_activations = cfg.checkpoint_activations
        if cfg.compile:
            self.transformer.compile_layers()
        self.lm_head = DecodingLinear(cfg.decoder_embed_dim, cfg.vocab_size, bias=False)
        if cfg.tie_embeddings:
            self.lm_head.weight = self.transformer.wte.weight
        initialize(self, str(cfg.init))

    def forward(
        self, tokens: Tensor, target: Tensor | None = None, predicted: Mapping | None = None, **inputs: Any
    ) -> tuple[Tensor | None, dict]:
        """Predict the next token at every position.

        Args:
            tokens: (B, T), padded on the right; with a cache, the tokens after those in the cache.
            target: (B, T), ``pad()`` where there is none. With it the loss is computed without storing logits.
            predicted: which positions have a target, see :func:`plugins.data.predicted.predicted`; None to find out.
            inputs: passed to :meth:`extract_features`.

        Returns:
            Logits (B, T, V) and the dict of :meth:`extract_features`. With ``target``: None, and the dict has ``loss``,
            a scalar in nats, summed over all targets.
        """
        x, extra = self.extract_features(tokens, **inputs)
        if target is None:
            return self.output_layer(x), extra
        return None, {**extra, "loss": self.loss(x, target, predicted)}

    def extract_features(
        self, tokens: Tensor, src_lengths: Tensor | None = None, *, cache: Cache | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Map tokens (B, T) to features (B, T, C) and an empty dict.

        Args:
            src_lengths: (B,) without padding; ignored, since no position attends to later ones.
            cache: from :meth:`DecoderLanguageModel.new_cache`.
        """
        return self.transformer(tokens, cache), {}

    def output_layer(self, features: Tensor) -> Tensor:
        """Map features (B, T, C) to logits (B, T, V)."""
        return self.lm_head(features)

    def loss(self, features: Tensor, target: Tensor, predicted: Mapping | None = None) -> Tensor:
        """Return the summed cross-entropy of targets (B, T) other than ``pad()``, given features (B, T, C)."""
        x, target = features.flatten(0, 1), target.flatten()
        if predicted is None:
            rows = (target != self.dictionary.pad()).nonzero().squeeze(1)
            rows = None if len(rows) == len(target) else rows  # then nothing is copied
        else:
            rows = predicted["rows"]
        if rows is not None:
            x, target = x.index_select(0, rows), target[rows]  # (N, C), (N,): only these are projected
        head = self.lm_head
        if type(head) is not DecodingLinear:  # an adapter's layer must be called
            return F.cross_entropy(head(x).float(), target, reduction="sum")
        return linear_cross_entropy(x, head.weight, target, head.bias)

    def get_normalized_probs(self, net_output: tuple[Tensor, Any], log_probs: bool, sample: Any = None) -> Tensor:
        """Return (log-)probabilities (B, T, V + 1); the last column is for padded targets, which have no symbol."""
        logits = net_output[0].float()
        probs = utils.log_softmax(logits, dim=-1) if log_probs else utils.softmax(logits, dim=-1)
        return F.pad(probs, (0, 1), value=-torch.inf if log_probs else 0.0)

    def max_positions(self) -> int:
        """Return the longest input, in tokens."""
        return self.transformer.max_tokens


def fill(cfg: DictConfig, defaults: Mapping, symbols: int) -> None:
    """Fill in options that were not given.

    Args:
        cfg: the options of the model.
        defaults: {option: value}.
        symbols: size of the dictionary.

    Raises:
        UserError: --vocab-size contradicts the dictionary.
    """
    for name, value in defaults.items():
        if cfg[name] is None:
            cfg[name] = value
    if cfg.decoder_ffn_embed_dim is None:
        cfg.decoder_ffn_embed_dim = 4 * cfg.decoder_embed_dim
    for name in ("embedding_dropout", "attention_dropout"):
        cfg[name] = cfg.dropout if cfg[name] is None else cfg[name]
    if cfg.vocab_size not in (None, symbols):
        raise UserError(f"--vocab-size {cfg.vocab_size} contradicts the dictionary, which has {symbols} symbols")
    cfg.vocab_size = symbols
    cfg.trained_length = cfg.trained_length or cfg.block_size


def validate(cfg: DictConfig, positive: Iterable[str] = (), probabilities: Iterable[str] = ()) -> None:
    """Check the values of options.

    Args:
        positive: further options that must be positive.
        probabilities: further options that must be between 0 and 1.

    Raises:
        UserError: names the flag.
    """
    width, heads = cfg.decoder_embed_dim, cfg.decoder_attention_heads
    probabilities = ("dropout", "embedding_dropout", "attention_dropout", *probabilities)
    check_ranges(cfg, (*SIZE_OPTIONS, "norm_eps", *positive), probabilities)
    check_depth(cfg.decoder_layers, "decoder_layers")
    if width % heads:
        raise UserError(f"--decoder-attention-heads {heads} does not divide --decoder-embed-dim {width}")
    if cfg.positions == "alibi_symmetric":
        raise UserError("--positions alibi_symmetric is for encoders; use alibi, which is the same in a causal model")
    check_positions(cfg, "decoder")
    check_compilation(cfg, "--compile" if cfg.compile else None)

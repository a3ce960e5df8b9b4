"""Character language models: a GPT-2 style decoder, with or without a Multi-Style Adapter.

State-dict keys are ``decoder.`` and nanoGPT's names; those of the adapter begin with ``decoder.style.``.
"""

import logging

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import FairseqDecoder, FairseqLanguageModel, register_model, register_model_architecture
from omegaconf import open_dict
from torch import nn

from plugins import compat
from plugins.errors import UserError
from plugins.modules.decoder import Decoder, initialize
from plugins.modules.published_style import PublishedStyle
from plugins.modules.style_adapter import StyleAdapter
from plugins.options import add_tristate_flags

from .architecture import as_dict, flag, inherit, record
from .char_lm_config import ARCHITECTURE, DEFAULTS, SIZES, UNLABELLED_STYLES, CharLMConfig

logger = logging.getLogger(__name__)

LEAK = (
    "--style-inference published lets every position see the end of its input, so what it predicts too: its loss is no "
    "likelihood, and cannot be compared with that of a language model"
)


@register_model("char_lm", dataclass=CharLMConfig)
class CharLanguageModel(FairseqLanguageModel):
    """See the module's docstring."""

    def __init__(self, cfg, dictionary):
        super().__init__(CharDecoder(cfg, dictionary))
        self.cfg = cfg

    @classmethod
    def add_args(cls, parser):
        add_tristate_flags(parser, CharLMConfig)
        gen_parser_from_dataclass(parser, CharLMConfig(), delete_default=True)

    @classmethod
    def build_model(cls, cfg, task):
        """Build a model for the characters and styles of a task.

        Raises:
            UserError: the options contradict each other, the corpus, or the checkpoint that training starts from.
        """
        source = compat.starting_checkpoint(cfg.save_dir, cfg.restore_file, cfg.finetune_from_model)
        with open_dict(cfg):
            if source:
                saved = as_dict(compat.read_state(source)["cfg"]["model"])
                inherit(cfg, {k: saved[k] for k in ARCHITECTURE if saved.get(k) is not None}, source)
            resolve(cfg, len(task.source_dictionary), len(task.style_names))
        record(cfg)
        if cfg.style_layers != "none" and cfg.style_inference == "published":
            logger.warning(LEAK)
        return cls(cfg, task.source_dictionary)

    def forward(self, src_tokens, src_lengths=None, **options):
        """Map tokens (B, T) to logits (B, T, V) and a dict; see :meth:`CharDecoder.forward`."""
        return self.decoder(src_tokens, src_lengths=src_lengths, **options)

    @property
    def num_styles(self):
        return 0 if self.decoder.style is None else self.decoder.style.styles

    def new_cache(self, batch):
        """Return an empty key-value cache for ``batch`` sequences of up to ``max_positions()`` characters.

        Raises:
            UserError: the published style form, in which each new character changes what came before it.
        """
        if isinstance(self.decoder.style, PublishedStyle):
            raise UserError("--style-inference published has no cache: each character changes all hidden states")
        return self.decoder.transformer.new_cache(batch)


class CharDecoder(FairseqDecoder):
    """Decoder, output projection, and the style adapter between the layers."""

    def __init__(self, cfg, dictionary):
        super().__init__(dictionary)
        self.transformer = Decoder(
            cfg.vocab_size,
            cfg.block_size,
            cfg.decoder_embed_dim,
            cfg.decoder_ffn_embed_dim,
            cfg.decoder_layers,
            cfg.decoder_attention_heads,
            F.gelu if cfg.activation_fn == "gelu" else utils.get_activation_fn(str(cfg.activation_fn)),
            positions=str(cfg.positions),
            bias=cfg.bias,
            dropout=cfg.dropout,
            embedding_dropout=cfg.embedding_dropout,
            attention_dropout=cfg.attention_dropout,
            residual=cfg.residual,
        )
        self.lm_head = nn.Linear(cfg.decoder_embed_dim, cfg.vocab_size, bias=False)
        if cfg.tie_embeddings:
            self.lm_head.weight = self.transformer.wte.weight
        initialize(self, str(cfg.init))
        self.style = build_style(cfg)

    def forward(self, tokens, src_lengths=None, styles=None, style_labels=None, cache=None):
        """Predict the next character at every position.

        Args:
            tokens: (B, T), padded on the right; with a cache, those that follow what it holds.
            src_lengths: (B,) without padding; the causal forms do not need them.
            styles: (B, K) mixture forced on every position, zeros for no style. None: the model infers it.
            style_labels: (B,) true styles, -1 where unknown, for training.
            cache: of :meth:`CharLanguageModel.new_cache`.

        Returns:
            Logits (B, T, V) and ``{"style_logits": (B, T, K) or None}``; (B, 1, K) in the published form.
        """
        if self.style is None:
            return self.lm_head(self.transformer(tokens, cache)), {"style_logits": None}
        if isinstance(self.style, PublishedStyle):
            style = self.style.begin(styles, src_lengths)
        else:
            style = self.style.begin(styles, style_labels if self.style.styles > 1 else None, cache)
        x = self.transformer(tokens, cache, after_layer=style)
        return self.lm_head(x), {"style_logits": style.logits}

    def get_normalized_probs(self, net_output, log_probs, sample=None):
        """Return (log-)probabilities (B, T, V + 1), the last column for padded targets, which are no character."""
        logits = net_output[0].float()
        probs = utils.log_softmax(logits, dim=-1) if log_probs else utils.softmax(logits, dim=-1)
        return F.pad(probs, (0, 1), value=-torch.inf if log_probs else 0.0)

    def max_positions(self):
        return self.transformer.block_size


def modulated_layers(cfg):
    """Return which layers, from 0, are modulated; in the published every-other-layer form never the last."""
    published, every = cfg.style_inference == "published", cfg.style_layers == "every"
    first = 0 if published else cfg.style_source - 1
    end = cfg.decoder_layers - (published and not every)
    return [layer for layer in range(first, end) if every or layer % 2]


def build_style(cfg):
    if cfg.style_layers == "none":
        return None
    if cfg.style_inference == "published":  # with every other layer of an even number, one gate is never used
        gates = cfg.decoder_layers if cfg.style_layers == "every" else cfg.decoder_layers // 2
        return PublishedStyle(cfg.decoder_embed_dim, modulated_layers(cfg), gates, cfg.num_styles, cfg.style_dim)
    return StyleAdapter(
        cfg.decoder_embed_dim,
        modulated_layers(cfg),
        cfg.num_styles,
        cfg.style_dim,
        cfg.style_hidden,
        source=cfg.style_source - 1,
        inference=str(cfg.style_inference),
        decay=cfg.style_decay,
        prefix=cfg.style_prefix,
        null_prob=cfg.style_null_prob,
        true_prob=cfg.style_true_prob,
    )


def resolve(cfg, characters, styles):
    """Fill what was not given, and refuse what contradicts itself.

    Args:
        cfg: the options of the model.
        characters: how many the dictionary holds.
        styles: how many the corpus names, or 0.
    """
    for name, value in DEFAULTS.items():
        if cfg[name] is None:
            cfg[name] = value
    cfg.decoder_ffn_embed_dim = cfg.decoder_ffn_embed_dim or 4 * cfg.decoder_embed_dim
    for name in ("embedding_dropout", "attention_dropout"):
        cfg[name] = cfg.dropout if cfg[name] is None else cfg[name]
    if cfg.vocab_size not in (None, characters):
        raise UserError(f"--vocab-size {cfg.vocab_size} contradicts the dictionary, which has {characters} characters")
    cfg.vocab_size = characters
    if cfg.style_layers != "none":
        cfg.num_styles = cfg.num_styles or styles or UNLABELLED_STYLES
        if styles and cfg.num_styles not in (1, styles):
            raise UserError(f"--num-styles {cfg.num_styles} contradicts the corpus, which has {styles}; leave it out")
    validate(cfg)


def validate(cfg):
    width, heads, layers = cfg.decoder_embed_dim, cfg.decoder_attention_heads, cfg.decoder_layers
    for name in ("decoder_layers", "decoder_attention_heads", "decoder_embed_dim", "block_size"):
        if cfg[name] < 1:
            raise UserError(f"{flag(name)} {cfg[name]} is not positive")
    if width % heads:
        raise UserError(f"--decoder-attention-heads {heads} does not divide --decoder-embed-dim {width}")
    probabilities = ("dropout", "embedding_dropout", "attention_dropout", "style_null_prob", "style_true_prob")
    for name in (*probabilities, "style_decay"):
        if not 0 <= cfg[name] <= 1:
            raise UserError(f"{flag(name)} {cfg[name]} is not between 0 and 1")
    if cfg.style_layers == "none":
        return
    if not 1 <= cfg.style_source <= layers:
        raise UserError(f"--style-source {cfg.style_source} is not one of the {layers} layers")
    if not modulated_layers(cfg):
        raise UserError(f"--style-layers every_other modulates none of {layers} layers; take every, or more layers")
    if cfg.style_null_prob + cfg.style_true_prob > 1:
        raise UserError("--style-null-prob and --style-true-prob add up to more than 1")
    if cfg.style_inference == "prefix" and not 1 <= cfg.style_prefix < cfg.block_size:
        raise UserError(f"--style-prefix {cfg.style_prefix} is not between 1 and the block size of {cfg.block_size}")


def register_size(name, sizes):
    @register_model_architecture("char_lm", name)
    def fill_sizes(args):
        for option, value in sizes.items():
            if getattr(args, option, None) is None:
                setattr(args, option, value)


for _size, _sizes in SIZES.items():
    register_size(f"char_lm_{_size}", _sizes)
    register_size(f"style_char_lm_{_size}", _sizes | {"style_layers": "every"})

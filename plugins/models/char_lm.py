"""Character language models: a GPT-2 style decoder, with or without a Multi-Style Adapter.

State-dict keys are ``decoder.`` and nanoGPT's names; those of the adapter begin with ``decoder.style.``.
"""

import logging
from typing import Any

from fairseq.data import Dictionary
from fairseq.models import register_model
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig
from torch import Tensor

from plugins.errors import UserError
from plugins.modules.cache import Cache
from plugins.modules.published_style import PublishedStyle
from plugins.modules.style_adapter import StyleAdapter

from .architecture import register_size
from .char_lm_config import DEFAULTS, SIZES, UNLABELED_STYLES, CharLMConfig
from .decoder_lm import DecoderLanguageModel, LMDecoder, fill
from .decoder_lm import validate as validate_decoder

logger = logging.getLogger(__name__)

LEAK = (
    "--style-inference published lets every position see the end of its input, including its target: its loss is not a "
    "likelihood, and cannot be compared with that of a language model"
)


class CharDecoder(LMDecoder):
    """A decoder with a style adapter between the layers."""

    def __init__(self, cfg: DictConfig, dictionary: Dictionary) -> None:
        super().__init__(cfg, dictionary)
        self.style = build_style(cfg)

    def extract_features(
        self,
        tokens: Tensor,
        src_lengths: Tensor | None = None,
        styles: Tensor | None = None,
        style_labels: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Map tokens (B, T) to features (B, T, C).

        Args:
            tokens: padded on the right; with a cache, the tokens after those in the cache.
            src_lengths: (B,) without padding; needed by the published form only.
            styles: (B, K) mixture imposed on every position, zeros for no style. None: inferred.
            style_labels: (B,) true styles for training; -1 where unknown.
            cache: from :meth:`CharLanguageModel.new_cache`.

        Returns:
            The features and ``{"style_logits": (B, T, K) or None}``; (B, 1, K) in the published form.
        """
        if self.style is None:
            return self.transformer(tokens, cache), {"style_logits": None}
        if isinstance(self.style, PublishedStyle):
            style = self.style.begin(styles, src_lengths)
        else:
            style = self.style.begin(styles, style_labels if self.style.styles > 1 else None, cache)
        x = self.transformer(tokens, cache, after_layer=style)
        return x, {"style_logits": style.logits}


@register_model("char_lm", dataclass=CharLMConfig)
class CharLanguageModel(DecoderLanguageModel):
    """See the module's docstring."""

    config, decoder_type = CharLMConfig, CharDecoder

    @classmethod
    def complete(cls, cfg: DictConfig, task: FairseqTask) -> None:
        """Fill in the defaults of the options in place, check them, and warn of the published form."""
        resolve(cfg, len(task.source_dictionary), len(task.style_names))
        if cfg.style_layers != "none" and cfg.style_inference == "published":
            logger.warning(LEAK)

    @property
    def num_styles(self) -> int:
        """Number of styles, 0 for a model without."""
        return 0 if self.decoder.style is None else self.decoder.style.styles

    def new_cache(self, batch: int, window: int | None = None) -> Cache:
        """See :meth:`.DecoderLanguageModel.new_cache`.

        Raises:
            UserError: the published style form, in which each new character changes all hidden states, or as there.
        """
        if isinstance(self.decoder.style, PublishedStyle):
            raise UserError("--style-inference published has no cache: each character changes all hidden states")
        return super().new_cache(batch, window)


def modulated_layers(cfg: DictConfig) -> list[int]:
    """Return the indices of the modulated layers; the published every-other-layer form never modulates the last."""
    published, every = cfg.style_inference == "published", cfg.style_layers == "every"
    first = 0 if published else cfg.style_source - 1
    end = cfg.decoder_layers - (published and not every)
    return [layer for layer in range(first, end) if every or layer % 2]


def build_style(cfg: DictConfig) -> StyleAdapter | PublishedStyle | None:
    """Build the style adapter, or None for a model without styles."""
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


def resolve(cfg: DictConfig, characters: int, styles: int) -> None:
    """Fill in options that were not given, and check that they agree.

    Args:
        cfg: the options of the model.
        characters: size of the dictionary.
        styles: number of styles that the corpus names, or 0.

    Raises:
        UserError: options contradict each other or the corpus.
    """
    fill(cfg, DEFAULTS, characters)
    if cfg.style_layers != "none":
        if cfg.num_styles is None:
            cfg.num_styles = styles or UNLABELED_STYLES
        if styles and cfg.num_styles not in (1, styles):
            raise UserError(f"--num-styles {cfg.num_styles} contradicts the corpus, which has {styles}; leave it out")
    validate(cfg)


def validate(cfg: DictConfig) -> None:
    """Check the values of the options.

    Raises:
        UserError: names the flag.
    """
    validate_decoder(cfg, ("style_dim", "style_hidden"), ("style_null_prob", "style_true_prob", "style_decay"))
    layers = cfg.decoder_layers
    if cfg.style_layers == "none":
        return
    if cfg.num_styles < 1:
        raise UserError(f"--num-styles {cfg.num_styles} is not positive")
    if not 1 <= cfg.style_source <= layers:
        raise UserError(f"--style-source {cfg.style_source} is not one of the {layers} layers")
    if not modulated_layers(cfg):
        raise UserError(f"--style-layers every_other modulates none of {layers} layers; take every, or more layers")
    if cfg.style_null_prob + cfg.style_true_prob > 1:
        raise UserError("--style-null-prob and --style-true-prob add up to more than 1")
    if cfg.style_inference == "prefix" and not 1 <= cfg.style_prefix < cfg.block_size:
        raise UserError(f"--style-prefix {cfg.style_prefix} is not between 1 and the block size of {cfg.block_size}")


for _size, _sizes in SIZES.items():
    register_size("char_lm", f"char_lm_{_size}", _sizes)
    register_size("char_lm", f"style_char_lm_{_size}", _sizes | {"style_layers": "every"})

"""Character and causal LMs for Hugging Face transformers: a GPT-2 style decoder, with or without a style adapter.

The layers are in the files next to this one. Shapes: B sequences, T tokens, V kinds of tokens, S styles.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from plugins.modules.activations import ACTIVATIONS
from plugins.modules.cache import Cache
from plugins.modules.decoder import Decoder
from plugins.modules.published_style import PublishedStyle
from plugins.modules.scaling import Scaling
from plugins.modules.style_adapter import StyleAdapter

CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"  # by version


class DecoderLMConfig(PretrainedConfig):
    """The architecture. ``style`` is None, or what the style adapter is built from, see ``style_adapter.py``."""

    model_type = "decoder_lm"
    attribute_map = {"max_position_embeddings": "block_size"}

    def __init__(
        self,
        vocab_size: int = 256,
        block_size: int = 1024,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        hidden_act: str = "gelu",
        positions: str = "learned",
        position_scaling: tuple[str, float, int] | None = None,
        bias: bool = True,
        residual: bool = True,
        layer_norm_eps: float = 1e-5,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        style: dict[str, Any] | None = None,
        styles: list[str] | None = None,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ):
        self.vocab_size, self.block_size, self.hidden_size = vocab_size, block_size, hidden_size
        self.intermediate_size, self.num_hidden_layers = intermediate_size, num_hidden_layers
        self.num_attention_heads, self.hidden_act, self.positions = num_attention_heads, hidden_act, positions
        self.position_scaling = position_scaling
        self.bias, self.residual, self.layer_norm_eps = bias, residual, layer_norm_eps
        self.dropout, self.embedding_dropout, self.attention_dropout = dropout, embedding_dropout, attention_dropout
        self.style, self.styles = style, styles
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


class GenerationCache(Cache):
    """A key-value cache with the methods that ``generate`` calls."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self.take(beam_idx)
        for name in ("sum", "frozen"):  # (B, 1, ...), state of the style adapter per text
            if isinstance(self.style.get(name), Tensor):
                self.style[name] = self.style[name][beam_idx]


class DecoderLMForCausalLM(PreTrainedModel, GenerationMixin):
    """Map tokens to the logits of the next token at each position.

    ``style`` of :meth:`forward` and ``generate`` is a name of ``config.styles``, a mixture {name: weight}, "none", or
    weights (B, S); without it, the model infers the style from the text so far.
    """

    config_class = DecoderLMConfig
    base_model_prefix = "transformer"
    main_input_name = "input_ids"
    _tied_weights_keys = {"lm_head.weight": "transformer.wte.weight"}
    _no_split_modules = ["Block"]
    _supports_sdpa = True

    def __init__(self, config: DecoderLMConfig):
        super().__init__(config)
        c = config
        self.transformer = Decoder(
            c.vocab_size,
            c.block_size,
            c.hidden_size,
            c.intermediate_size,
            c.num_hidden_layers,
            c.num_attention_heads,
            ACTIVATIONS[c.hidden_act],
            positions=c.positions,
            bias=c.bias,
            dropout=c.dropout,
            embedding_dropout=c.embedding_dropout,
            attention_dropout=c.attention_dropout,
            residual=c.residual,
            norm_eps=c.layer_norm_eps,
            scaling=Scaling(*c.position_scaling or ()),
        )
        style = dict(c.style or {})
        kind = {"published": PublishedStyle, "causal": StyleAdapter}.get(style.pop("form", ""))
        self.style = kind(c.hidden_size, **style) if kind else None
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # forward creates its own cache

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.transformer.wte

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.transformer.wte = value

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        style: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        cache: GenerationCache | None = None,
        past_key_values: GenerationCache | None = None,
        return_dict: bool = True,
        **unused: Any,
    ) -> CausalLMOutputWithPast | tuple:
        """Return logits (B, T, V) of the tokens that follow ``input_ids`` (B, T), padded on the left or the right.

        Args:
            input_ids: with a cache, the tokens that follow its contents.
            attention_mask: (B, cached and new tokens), 0 at padding.
            labels: (B, T), the tokens themselves, -100 where none is predicted; they are shifted here.
            style: see the class.
            use_cache: return a cache for the next call.
            logits_to_keep: number of last tokens whose logits are returned; 0 for all.
        """
        held = cache if cache is not None else past_key_values
        styles = self.style_weights(style, len(input_ids))
        tokens = input_ids.masked_fill(input_ids >= self.config.vocab_size, 0)  # padding may have no row
        first, lengths = None, None
        if attention_mask is not None and held is None and not attention_mask.all():
            first, lengths = attention_mask.int().argmax(1), attention_mask.sum(1)  # (B,)
            tokens = rotate(tokens, first)  # padding to the right, where no token sees it
        if held is None and use_cache and self.can_cache(lengths, styles):
            like = self.transformer.wte.weight.detach()
            c = self.config
            shape = (len(tokens), c.num_attention_heads, c.block_size, c.hidden_size // c.num_attention_heads)
            held = GenerationCache(c.num_hidden_layers, shape, like)
            new = True
        else:
            new = False
        x = self.features(tokens, styles, lengths, held)  # (B, T, C)
        if new and held is not None and lengths is not None:
            held.set_lengths(lengths)
        x = x if first is None else rotate(x, -first)
        logits = self.lm_head(x[:, -logits_to_keep:] if logits_to_keep else x)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        output = CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: held if use_cache else None})
        return output if return_dict else output.to_tuple()

    def features(
        self, tokens: Tensor, styles: Tensor | None, lengths: Tensor | None, held: GenerationCache | None
    ) -> Tensor:
        """Map tokens (B, T), padded on the right, to features (B, T, C)."""
        if self.style is None:
            return self.transformer(tokens, held)
        if isinstance(self.style, PublishedStyle):
            return self.transformer(tokens, held, after_layer=self.style.begin(styles, lengths))
        return self.transformer(tokens, held, after_layer=self.style.begin(styles, None, held))

    def can_cache(self, lengths: Tensor | None, styles: Tensor | None) -> bool:
        """Return whether a cache continues these texts: not where styles are inferred with padding, or published."""
        if self.style is None or isinstance(self.style, StyleAdapter) and styles is not None:
            return True
        return lengths is None and not isinstance(self.style, PublishedStyle)

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Return the arguments of :meth:`forward`: only the last token if a cache contains those before it."""
        held = kwargs.get(CACHE)
        names = ("attention_mask", "style", "use_cache", "logits_to_keep")
        inputs = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        return inputs | {"input_ids": input_ids if held is None else input_ids[:, -1:], CACHE: held}

    def style_weights(self, style: Any, batch: int) -> Tensor | None:
        """Return the weights (B, S) of the styles, None to infer them.

        Raises:
            ValueError: an unknown style.
        """
        if style is None or self.style is None:
            return None
        if isinstance(style, Tensor):
            return style.to(self.device)
        names = self.config.styles or [str(i) for i in range(self.style.styles)]
        mixture = {} if style in (False, "none") and "none" not in names else style
        mixture = mixture if isinstance(mixture, dict) else {mixture: 1.0}
        unknown = [name for name in mixture if name not in names]
        if unknown:
            raise ValueError(f"style {unknown[0]!r} is none of {', '.join(names)}, none")
        total = sum(mixture.values()) or 1.0
        row = [mixture.get(name, 0.0) / total for name in names]
        return torch.tensor(row, device=self.device).expand(batch, -1)


def rotate(x: Tensor, by: Tensor) -> Tensor:
    """Move each row of (B, T) or (B, T, C) to the left by its number of places, around the end."""
    index = (torch.arange(x.size(1), device=x.device) + by[:, None]) % x.size(1)  # (B, T)
    return x.gather(1, index if x.ndim == 2 else index[..., None].expand_as(x))

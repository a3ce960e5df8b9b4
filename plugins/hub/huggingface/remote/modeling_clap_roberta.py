"""clap_roberta for Hugging Face transformers: RoBERTa with other positions, other embeddings, and the CLAP head.

The layers are in the files next to this one. Shapes: B sequences, T tokens, C channels, V words, K labels.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, ModelOutput, SequenceClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from plugins.modules.activations import ACTIVATIONS
from plugins.modules.attention import SelfAttention
from plugins.modules.clap_head import ClapHead, RobertaHead
from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding, embedding_scale
from plugins.modules.placement import Placement
from plugins.modules.pooler import ClassificationHead
from plugins.modules.positions import Spec
from plugins.modules.positions import build as build_positions
from plugins.modules.scaled_dot_product import PADDED_KEY
from plugins.modules.scaling import Scaling

from .configuration_clap_roberta import ClapRobertaConfig


class InterfaceAttention(SelfAttention):
    """Self-attention by the function that ``attn_implementation`` names: ``sdpa``, ``eager``, or a registered one.

    The function receives the position bias and the padding as one additive mask. Functions without such a mask (flash,
    flex) cannot compute ALiBi, and transformers refuses them.
    """

    def __init__(self, config: ClapRobertaConfig):
        super().__init__(config.hidden_size, config.num_attention_heads, config.attention_probs_dropout_prob)
        self.config = config

    def attend(self, q: Tensor, k: Tensor, v: Tensor, placement: Placement, padding: Tensor | None = None) -> Tensor:
        """Return the weighted values (B, H, Q, D) of queries (B, H, Q, D) and keys (B, H, S, D)."""
        name = self.config._attn_implementation or "sdpa"
        if name == "sdpa":  # the same kernel, in blocks for long inputs
            return super().attend(q, k, v, placement, padding)
        mask = placement.bias()  # (1 or B, 1 or H, Q, S), or None
        if padding is not None:
            hidden = padding[:, None, None] * PADDED_KEY  # (B, 1, 1, S)
            mask = hidden if mask is None else mask + hidden
        if mask is not None:
            mask = mask.to(q.dtype).expand(len(q), -1, q.size(2), -1)  # (B, 1 or H, Q, S)
        function = ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_attention)
        p = self.dropout if self.training else 0.0
        x, _ = function(self, q, k, v, mask, dropout=p, scaling=q.size(-1) ** -0.5, is_causal=False)  # (B, Q, H, D)
        return x.transpose(1, 2)


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **unused: Any,
) -> tuple[Tensor, Tensor]:
    """Return the weighted values (B, Q, H, D) and the weights (B, H, Q, S) by plain products."""
    scores = query @ key.transpose(2, 3) * scaling  # (B, H, Q, S)
    scores = scores if attention_mask is None else scores + attention_mask
    weights = F.dropout(scores.softmax(-1, dtype=torch.float32).to(query.dtype), dropout, module.training)
    return (weights @ value).transpose(1, 2), weights


class ClapRobertaPreTrainedModel(PreTrainedModel):
    """Base class of the models below."""

    config_class = ClapRobertaConfig
    base_model_prefix = "model"
    _no_split_modules = ["EncoderLayer"]
    _supports_sdpa = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, ClapHead) and self.config.excluded:  # a buffer that no file contains
            device = module.weight.device
            module.excluded = torch.tensor(self.config.excluded, device="cpu" if device.type == "meta" else device)


class ClapRobertaModel(ClapRobertaPreTrainedModel):
    """Map tokens to features."""

    def __init__(self, config: ClapRobertaConfig):
        super().__init__(config)
        c, width = config, config.hidden_size
        layers = [
            EncoderLayer(
                width,
                c.intermediate_size,
                c.num_attention_heads,
                ACTIVATIONS[c.hidden_act],
                dropout=c.hidden_dropout_prob,
                attention_dropout=c.attention_probs_dropout_prob,
                activation_dropout=c.activation_dropout_prob,
                pre_norm=c.pre_norm,
                norm_eps=c.layer_norm_eps,
            )
            for _ in range(c.num_hidden_layers)
        ]
        for layer in layers:
            layer.self_attn = InterfaceAttention(config)
        places = Spec(
            width,
            c.num_attention_heads,
            c.max_positions,
            padding_row=c.pad_token_id,
            alibi_bos=c.alibi_bos,
            scaling=Scaling(*c.position_scaling or ()),
        )
        self.encoder = SentenceEncoder(
            nn.Embedding(c.vocab_size, width),
            build_positions(c.positions, places),
            TokenEmbedding(c.mask_token_id, c.normalize_embeddings, embedding_scale(width, c.scale_embeddings)),
            layers,
            padding_index=c.pad_token_id,
            dropout=c.hidden_dropout_prob,
            layer_norm_embedding=c.layernorm_embedding,
            pre_norm=c.pre_norm,
            norm_eps=c.layer_norm_eps,
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.encoder.embed_tokens = value

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool = True,
        **unused: Any,
    ) -> BaseModelOutput | tuple:
        """Encode tokens (B, T), padded on the right; ``attention_mask`` (B, T) is 0 at padding.

        Returns:
            Features (B, T, C); with ``output_hidden_states`` the input of each layer and the output of the last; and
            with ``output_attentions`` the attention weights of each layer, (B, H, T, T) float32, before dropout.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if attention_mask is not None:
            input_ids = input_ids.masked_fill(attention_mask == 0, self.config.pad_token_id)
        weights: list[Tensor] = []
        with recorded(self, weights) if output_attentions else contextlib.nullcontext():
            x, states = self.encoder(input_ids)
        output = BaseModelOutput(
            last_hidden_state=x,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(weights) if output_attentions else None,
        )
        return output if return_dict else output.to_tuple()


@contextlib.contextmanager
def recorded(model: nn.Module, weights: list[Tensor]) -> Iterator[None]:
    """Append the attention weights of each layer to a list inside a ``with`` block."""
    layers = [part for part in model.modules() if isinstance(part, SelfAttention)]
    for layer in layers:
        layer.record = lambda _, found: weights.append(found)
    try:
        yield
    finally:
        for layer in layers:
            layer.record = None


class _WithHead(ClapRobertaPreTrainedModel):
    """A model with a head: subclasses map features to an output with logits, and a loss where there are labels."""

    model: "ClapRobertaModel"

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool = True,
        **unused: Any,
    ) -> ModelOutput | tuple:
        """Map tokens (B, T) to logits; with ``labels`` also return a loss. See :meth:`predict` of the subclass."""
        out = self.model(input_ids, attention_mask, output_hidden_states, output_attentions)
        padding = input_ids == self.config.pad_token_id if attention_mask is None else attention_mask == 0  # (B, T)
        output = self.predict(out.last_hidden_state, padding, labels)
        output.hidden_states, output.attentions = out.hidden_states, out.attentions
        return output if return_dict else output.to_tuple()

    def predict(self, x: Tensor, padding: Tensor, labels: Tensor | None) -> Any:
        """Return the output for features (B, T, C), ``padding`` (B, T) and labels."""
        raise NotImplementedError


class ClapRobertaForMaskedLM(_WithHead):
    """Map tokens to the logits of the words at each position."""

    _tied_weights_keys = {"lm_head.weight": "model.encoder.embed_tokens.weight"}

    def __init__(self, config: ClapRobertaConfig):
        super().__init__(config)
        self.model = ClapRobertaModel(config)
        table = cast(nn.Parameter, self.model.encoder.embed_tokens.weight)
        if not config.tie_word_embeddings:
            table = nn.Parameter(torch.empty_like(table))
        self.lm_head: RobertaHead | ClapHead
        if config.head == "roberta":
            self.lm_head = RobertaHead(table, ACTIVATIONS[config.head_act], config.layer_norm_eps)
        else:
            self.lm_head = ClapHead(
                table,
                normalize=config.normalize_embeddings,
                reference_dim=config.beta_reference_dim,
                max_scale=config.max_logit_scale,
                excluded=torch.tensor(config.excluded) if config.excluded else None,
            )
            # Hooks give fairseq's files a beta without dimensions; transformers loads tensor by tensor, without hooks.
            for hooks in (self.lm_head._state_dict_hooks, self.lm_head._load_state_dict_pre_hooks):
                hooks.clear()
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: RobertaHead | ClapHead) -> None:
        self.lm_head.weight = value.weight

    def predict(self, x: Tensor, padding: Tensor, labels: Tensor | None) -> MaskedLMOutput:
        """Return logits (B, T, V), and with ``labels`` (B, T), -100 where there is none, the mean cross-entropy."""
        logits = self.lm_head(x)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return MaskedLMOutput(loss, logits)


class ClapRobertaForSequenceClassification(_WithHead):
    """Map the tokens of a text to the logits of the labels, or to a number."""

    def __init__(self, config: ClapRobertaConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = ClapRobertaModel(config)
        self.classifier = ClassificationHead(
            config.hidden_size,
            config.classifier_dim or config.hidden_size,
            config.num_labels,
            ACTIVATIONS[config.pooler_act],
            config.classifier_dropout,
            config.pooler_type,
        )
        self.post_init()

    def predict(self, x: Tensor, padding: Tensor, labels: Tensor | None) -> SequenceClassifierOutput:
        """Return logits (B, K), and with ``labels`` (B,) the mean cross-entropy, or squared error if K = 1."""
        logits, loss = self.classifier(x, padding), None
        if labels is not None:
            regression = self.config.num_labels == 1
            loss = F.mse_loss(logits[:, 0], labels.to(logits)) if regression else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss, logits)

"""The encoder of ``clap_roberta`` with its head, and how they are built from options."""

from collections.abc import Mapping
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqEncoder
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.modules.quant_noise import quant_noise
from fairseq.modules.transformer_sentence_encoder import init_bert_params
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from plugins.data import dictionaries
from plugins.modules.clap_head import ClapHead, RobertaHead
from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding, embedding_scale
from plugins.modules.positions import Spec
from plugins.modules.positions import build as build_positions

from . import architecture
from .position_options import scaling_of

UNLIKELY = -1e4  # bias of a word that is never predicted; within half precision
NO_LIMIT = 10**9  # positions, for models that take inputs of any length


class ClapRobertaEncoder(FairseqEncoder):
    """Sentence encoder and language-model head."""

    def __init__(self, cfg: DictConfig, dictionary: Dictionary) -> None:
        super().__init__(dictionary)
        self.args = cfg
        keep = cfg.encoder_layers_to_keep
        if keep:
            with open_dict(cfg):
                cfg.encoder_layers = len(keep.split(","))
        self.sentence_encoder = build_sentence_encoder(cfg, dictionary)
        self.sentence_encoder.apply(init_bert_params)
        if cfg.compile or cfg.compile_encoder:
            self.sentence_encoder.compile_layers()
        self.lm_head = build_head(cfg, dictionary, self.sentence_encoder.embed_tokens.weight)

    def forward(
        self,
        src_tokens: Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        masked_tokens: Tensor | None = None,
        target: Tensor | None = None,
        predicted: Mapping | None = None,
        has_padding: bool | None = None,
        **unused: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Encode a batch.

        Args:
            src_tokens: (B, T).
            features_only: return features instead of logits.
            return_all_hiddens: also return the input and the output of each layer.
            masked_tokens: (B, T) boolean, the positions to predict. With ``--self-mask-prob`` the model draws the
                masked positions among them.
            target: (B, T). With it the loss at the masked positions is computed without storing their logits.
            predicted: the masked positions, see :func:`plugins.data.predicted.predicted`; None to find them here.
            has_padding: whether any token is padding; None to look.

        Returns:
            Features (B, T, C) if ``features_only``, else logits (B, T, V), or (N, V) at the N masked positions; and a
            dict with ``inner_states`` (a list of (T, B, C), or None) and ``masked_tokens`` (as given, or as drawn).
            With ``target``: None, and the dict also has ``loss``, a scalar in nats, summed over the masked positions.
        """
        if masked_tokens is not None and self.args.self_mask_prob:
            drawn = torch.rand(src_tokens.shape, device=src_tokens.device) < self.args.self_mask_prob
            masked_tokens = masked_tokens & drawn
            src_tokens = src_tokens.masked_fill(masked_tokens, self.sentence_encoder.token_embedding.mask_index)
            predicted = None
        if masked_tokens is None or features_only or return_all_hiddens:
            x, extra = self.extract_features(src_tokens, return_all_hiddens, has_padding)
            x = x if features_only else self.output_layer(x, masked_tokens)
        else:
            if predicted is None:
                rows, most = masked_tokens.flatten().nonzero().squeeze(1), None
            else:
                rows, most = predicted["rows"], predicted["most"]
            if rows is None:
                rows = torch.arange(src_tokens.numel(), device=src_tokens.device)
            extra = dict[str, Any](inner_states=None)
            x, _ = self.sentence_encoder(src_tokens, rows, most, has_padding, inner_states=False)
            if target is None:
                x = self.lm_head(x)
            else:
                extra["loss"] = self.lm_head.cross_entropy(x, target.flatten()[rows])
                return None, extra | {"masked_tokens": masked_tokens}
        return x, extra | {"masked_tokens": masked_tokens}

    def extract_features(
        self, src_tokens: Tensor, return_all_hiddens: bool = False, has_padding: bool | None = None, **unused: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        x, states = self.sentence_encoder(src_tokens, has_padding=has_padding, inner_states=return_all_hiddens)
        states = [state.transpose(0, 1) for state in states] if return_all_hiddens else None  # (B, T, C) -> (T, B, C)
        return x, {"inner_states": states}

    def first_features(self, src_tokens: Tensor, has_padding: bool | None = None, **unused: Any) -> Tensor:
        """Map tokens (B, T) to the features (B, C) of the first token of each row."""
        batch, length = src_tokens.shape
        rows = torch.arange(batch, device=src_tokens.device) * length
        return self.sentence_encoder(src_tokens, rows, 1, has_padding, inner_states=False)[0]

    def output_layer(self, features: Tensor, masked_tokens: Tensor | None = None, **unused: Any) -> Tensor:
        return self.lm_head(features if masked_tokens is None else features[masked_tokens])

    def max_positions(self) -> int:
        prompt = self.sentence_encoder.prompt
        taken = 0 if prompt is None else len(prompt)
        return self.args.max_positions - taken if self.args.positions == "learned" else NO_LIMIT


def build_sentence_encoder(cfg: DictConfig, dictionary: Dictionary) -> SentenceEncoder:
    """Build the embedding, the positions and the layers."""
    pad, width = dictionary.pad(), cfg.encoder_embed_dim
    # A padding row that stays zero cannot be normalized; the fork has none wherever rows may be normalized.
    plain = cfg.head == "roberta" and cfg.mask_embedding == "learned"
    noise = quant_noise(nn.Linear(width, width, bias=False), cfg.quant_noise_pq, cfg.quant_noise_pq_block_size)
    return SentenceEncoder(
        nn.Embedding(cfg.vocab_size, width, pad if plain else None),
        build_positions(
            str(cfg.positions),
            Spec(
                width,
                cfg.encoder_attention_heads,
                cfg.max_positions,
                padding_row=pad,
                alibi_bos=str(cfg.alibi_bos),
                alibi_float32=str(cfg.alibi_dtype) == "float32",
                scaling=scaling_of(cfg),
            ),
        ),
        TokenEmbedding(
            dictionary.index(dictionaries.MASK),
            normalize=cfg.normalize_embeddings,
            scale=embedding_scale(width, cfg.scale_embeddings),
        ),
        [build_layer(cfg) for _ in range(cfg.encoder_layers)],
        padding_index=pad,
        dropout=cfg.dropout,
        layer_norm_embedding=cfg.layernorm_embedding,
        pre_norm=cfg.encoder_normalize_before,
        norm_eps=cfg.norm_eps,
        layer_drop=cfg.encoder_layerdrop,
        embedding_noise=noise if cfg.quant_noise_pq else None,
        checkpoint_activations=cfg.checkpoint_activations and not cfg.offload_activations,
        flex_attention=str(cfg.attn_implementation) == "flex_attention",
    )


def build_layer(cfg: DictConfig) -> nn.Module:
    """Build an encoder layer, wrapped for quantization noise and offloading as configured."""
    layer = EncoderLayer(
        cfg.encoder_embed_dim,
        cfg.encoder_ffn_embed_dim,
        cfg.encoder_attention_heads,
        architecture.activation(str(cfg.activation_fn)),
        dropout=cfg.dropout,
        attention_dropout=cfg.attention_dropout,
        activation_dropout=cfg.activation_dropout,
        pre_norm=cfg.encoder_normalize_before,
        norm_eps=cfg.norm_eps,
    )
    if cfg.quant_noise_pq:
        for part in (layer, layer.self_attn):
            for linear in (m for m in part.children() if isinstance(m, nn.Linear)):
                quant_noise(linear, cfg.quant_noise_pq, cfg.quant_noise_pq_block_size)
    if cfg.checkpoint_activations and cfg.offload_activations:
        layer = checkpoint_wrapper(layer, offload_to_cpu=True)
    return layer


def build_head(cfg: DictConfig, dictionary: Dictionary, table: Tensor) -> ClapHead | RobertaHead:
    """Build the language-model head over an embedding table (V, C)."""
    if cfg.untie_weights_roberta:
        table = nn.Linear(cfg.encoder_embed_dim, cfg.vocab_size, bias=False).weight
        nn.init.normal_(table, std=0.02)
    if cfg.head == "roberta":
        activation = architecture.activation(str(cfg.head_activation_fn or cfg.activation_fn))
        head = RobertaHead(table, activation, cfg.norm_eps)
        with torch.no_grad():  # a probability of 0, so these rows and biases get no gradient
            head.bias[list(getattr(dictionary, "padding", ()))] = UNLIKELY
        return head
    excluded = dictionaries.excluded_words(dictionary, bool(cfg.exclude_unused))
    return ClapHead(
        table,
        cfg.initial_beta,
        normalize=cfg.normalize_embeddings,
        reference_dim=cfg.beta_reference_dim,
        max_scale=cfg.max_logit_scale,
        excluded=torch.tensor(excluded) if excluded else None,
    )

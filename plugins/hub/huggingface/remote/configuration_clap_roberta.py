"""Configuration of ``clap_roberta`` for transformers."""

from typing import Any

from transformers import PretrainedConfig

COMMON: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "tie_word_embeddings": True}


class ClapRobertaConfig(PretrainedConfig):
    """The architecture; names are RoBERTa's for options that it shares.

    ``<mask>`` has no row of the table, and a zero embedding, where ``mask_token_id`` is ``vocab_size``.
    """

    model_type = "clap_roberta"

    def __init__(
        self,
        vocab_size: int = 50265,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        max_positions: int = 512,
        positions: str = "learned",
        alibi_bos: str = "linear",
        position_scaling: tuple[str, float, int] | None = None,
        head: str = "clap",
        normalize_embeddings: bool = True,
        scale_embeddings: bool = False,
        layernorm_embedding: bool = True,
        pre_norm: bool = False,
        layer_norm_eps: float = 1e-5,
        hidden_act: str = "gelu",
        head_act: str = "gelu",
        pooler_act: str = "tanh",
        pooler_type: str = "bos",
        classifier_dim: int | None = None,
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        activation_dropout_prob: float = 0.0,
        classifier_dropout: float = 0.0,
        beta_reference_dim: int = 0,
        max_logit_scale: float = 0.0,
        excluded: list[int] | None = None,
        mask_token_id: int | None = None,
        **kwargs: Any,
    ):
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        self.num_attention_heads, self.intermediate_size = num_attention_heads, intermediate_size
        self.max_positions, self.positions, self.alibi_bos, self.head = max_positions, positions, alibi_bos, head
        self.position_scaling = position_scaling
        self.normalize_embeddings, self.scale_embeddings = normalize_embeddings, scale_embeddings
        self.layernorm_embedding, self.pre_norm, self.layer_norm_eps = layernorm_embedding, pre_norm, layer_norm_eps
        self.hidden_act, self.head_act, self.pooler_act = hidden_act, head_act, pooler_act
        self.pooler_type = pooler_type
        self.classifier_dim = classifier_dim
        self.hidden_dropout_prob, self.attention_probs_dropout_prob = hidden_dropout_prob, attention_probs_dropout_prob
        self.activation_dropout_prob, self.classifier_dropout = activation_dropout_prob, classifier_dropout
        self.beta_reference_dim, self.max_logit_scale, self.excluded = beta_reference_dim, max_logit_scale, excluded
        self.mask_token_id = vocab_size - 1 if mask_token_id is None else mask_token_id
        super().__init__(**COMMON | kwargs)

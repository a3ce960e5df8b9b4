"""RoBERTa's tensors by fairseq's names and by transformers'."""

LAYER = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
REST = {
    "encoder.sentence_encoder.embed_tokens.weight": "roberta.embeddings.word_embeddings.weight",
    "encoder.sentence_encoder.embed_positions.weight": "roberta.embeddings.position_embeddings.weight",
    "encoder.sentence_encoder.layernorm_embedding.weight": "roberta.embeddings.LayerNorm.weight",
    "encoder.sentence_encoder.layernorm_embedding.bias": "roberta.embeddings.LayerNorm.bias",
    "encoder.lm_head.weight": "lm_head.decoder.weight",
    "encoder.lm_head.bias": "lm_head.bias",
    "encoder.lm_head.dense.weight": "lm_head.dense.weight",
    "encoder.lm_head.dense.bias": "lm_head.dense.bias",
    "encoder.lm_head.layer_norm.weight": "lm_head.layer_norm.weight",
    "encoder.lm_head.layer_norm.bias": "lm_head.layer_norm.bias",
}
BERT = {  # beginnings of its names that RoBERTa has changed
    "bert.": "roberta.",
    "cls.predictions.transform.dense.": "lm_head.dense.",
    "cls.predictions.transform.LayerNorm.": "lm_head.layer_norm.",
    "cls.predictions.": "lm_head.",
}
OURS, THEIRS = "encoder.sentence_encoder.layers.", "roberta.encoder.layer."


def stock_name(name: str) -> str | None:
    """Return transformers' name of a tensor of a fairseq RoBERTa, None for tensors that transformers does not have."""
    if not name.startswith(OURS):
        return REST.get(name)
    number, _, rest = name.removeprefix(OURS).partition(".")
    part, _, kind = rest.rpartition(".")
    return f"{THEIRS}{number}.{LAYER[part]}.{kind}"


def our_name(name: str) -> str | None:
    """Return fairseq's name of a tensor of transformers' RoBERTa, None for tensors that fairseq does not have."""
    if not name.startswith(THEIRS):
        return next((ours for ours, theirs in REST.items() if theirs == name), None)
    number, _, rest = name.removeprefix(THEIRS).partition(".")
    part, _, kind = rest.rpartition(".")
    ours = next((ours for ours, theirs in LAYER.items() if theirs == part), None)
    return None if ours is None else f"{OURS}{number}.{ours}.{kind}"

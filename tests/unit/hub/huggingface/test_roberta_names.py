"""RoBERTa's tensors by fairseq's names and by transformers'."""

import pytest

from plugins.hub.huggingface.roberta_names import our_name, stock_name

NAMES = {
    "encoder.sentence_encoder.layers.11.self_attn.k_proj.bias": "roberta.encoder.layer.11.attention.self.key.bias",
    "encoder.sentence_encoder.layers.0.self_attn.out_proj.weight":
        "roberta.encoder.layer.0.attention.output.dense.weight",
    "encoder.sentence_encoder.layers.0.self_attn_layer_norm.bias":
        "roberta.encoder.layer.0.attention.output.LayerNorm.bias",
    "encoder.sentence_encoder.layers.0.fc1.weight": "roberta.encoder.layer.0.intermediate.dense.weight",
    "encoder.sentence_encoder.layers.0.fc2.weight": "roberta.encoder.layer.0.output.dense.weight",
    "encoder.sentence_encoder.layers.0.final_layer_norm.weight": "roberta.encoder.layer.0.output.LayerNorm.weight",
    "encoder.sentence_encoder.embed_tokens.weight": "roberta.embeddings.word_embeddings.weight",
    "encoder.lm_head.weight": "lm_head.decoder.weight",
    "encoder.lm_head.layer_norm.bias": "lm_head.layer_norm.bias",
}  # fmt: skip


@pytest.mark.parametrize("ours", NAMES)
def test_names_are_translated_in_both_directions(ours):
    assert stock_name(ours) == NAMES[ours] and our_name(NAMES[ours]) == ours


def test_other_tensors_have_no_name_there():
    assert stock_name("encoder.sentence_encoder.version") is None
    assert our_name("roberta.pooler.dense.weight") is None
    assert our_name("roberta.encoder.layer.0.crossattention.self.key.weight") is None

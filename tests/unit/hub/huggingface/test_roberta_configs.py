"""Configs and tensors of RoBERTa and BERT as clap_roberta's, without transformers: literals of small tensors."""

from pathlib import Path

import pytest
import torch
import toy

from plugins.hub.huggingface import roberta_in

PATH, FILE = Path("folder/config.json"), Path("folder/model.safetensors")
CONFIG = {
    "model_type": "roberta", "vocab_size": 6, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 8, "max_position_embeddings": 7, "pad_token_id": 1,
}  # fmt: skip


def test_options_of_a_roberta():
    found = roberta_in.options_of(CONFIG, PATH)
    expected = {
        "vocab_size": 6, "encoder_embed_dim": 4, "encoder_layers": 1, "encoder_attention_heads": 2,
        "encoder_ffn_embed_dim": 8, "max_positions": 5, "positions": "learned", "head": "roberta",
        "mask_embedding": "learned", "normalize_embeddings": False, "activation_fn": "gelu",
        "head_activation_fn": "gelu", "norm_eps": 1e-12, "untie_weights_roberta": False, "dropout": 0.1,
        "attention_dropout": 0.1, "pooler_dropout": 0.1,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_options_that_a_config_states():
    more = {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "tie_word_embeddings": False, "hidden_dropout_prob": 0.2,
            "attention_probs_dropout_prob": 0.3}  # fmt: skip
    found = roberta_in.options_of(CONFIG | more, PATH)
    assert (found["activation_fn"], found["norm_eps"], found["untie_weights_roberta"]) == ("gelu_accurate", 1e-5, True)
    assert (found["dropout"], found["attention_dropout"], found["pooler_dropout"]) == (0.2, 0.3, 0.2)
    assert roberta_in.options_of(CONFIG | more | {"classifier_dropout": 0.4}, PATH)["pooler_dropout"] == 0.4
    assert roberta_in.options_of(CONFIG | {"model_type": "bert"}, PATH)["max_positions"] == 7
    assert roberta_in.options_of(CONFIG | {"pad_token_id": 0}, PATH)["max_positions"] == 6


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_attention_heads": 3}, "num_attention_heads 3"),
        ({"hidden_act": "silu"}, "hidden_act silu"),
        ({"max_position_embeddings": 2}, "max_position_embeddings 2"),
        ({"pad_token_id": -1}, "pad_token_id -1"),
        ({"pad_token_id": True}, "pad_token_id true"),
        ({"pad_token_id": None}, "pad_token_id null"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type relative_key"),
        ({"is_decoder": True}, "is_decoder true"),
        ({"hidden_dropout_prob": 2}, "hidden_dropout_prob 2"),
        ({"classifier_dropout": -1}, "classifier_dropout -1"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps x"),
    ],
)
def test_what_the_model_does_not_support_is_named(change, named):
    with toy.refused(PATH, named):
        roberta_in.options_of(CONFIG | change, PATH)


def read(monkeypatch, *names):
    monkeypatch.setattr(roberta_in.files, "read_weights", lambda folder: dict.fromkeys(names, (torch.zeros(1), FILE)))
    return list(roberta_in.read_weights(Path("folder")))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("roberta.embeddings.LayerNorm.gamma", "roberta.embeddings.LayerNorm.weight"),
        ("embeddings.LayerNorm.beta", "roberta.embeddings.LayerNorm.bias"),
        ("encoder.layer.0.output.dense.weight", "roberta.encoder.layer.0.output.dense.weight"),
        ("bert.encoder.layer.0.output.dense.weight", "roberta.encoder.layer.0.output.dense.weight"),
        ("cls.predictions.transform.dense.bias", "lm_head.dense.bias"),
        ("cls.predictions.transform.LayerNorm.weight", "lm_head.layer_norm.weight"),
        ("cls.predictions.decoder.weight", "lm_head.decoder.weight"),
        ("cls.predictions.bias", "lm_head.bias"),
        ("lm_head.bias", "lm_head.bias"),
        ("unknown", "unknown"),
    ],
)
def test_tensors_have_robertas_names(monkeypatch, theirs, ours):
    assert read(monkeypatch, theirs) == [ours]


@pytest.mark.parametrize(
    "name",
    ["roberta.pooler.dense.weight", "pooler.dense.bias", "bert.pooler.dense.weight", "embeddings.position_ids",
     "roberta.embeddings.token_type_ids", "cls.seq_relationship.bias"],
)  # fmt: skip
def test_tensors_that_are_not_of_the_masked_lm_are_left_out(monkeypatch, name):
    assert read(monkeypatch, name) == []


def tensors(places=7, kinds=1, **more):
    generator = torch.Generator().manual_seed(0)
    shapes = {
        roberta_in.WORDS: (6, 4), roberta_in.PLACES: (places, 4), roberta_in.TYPES: (kinds, 4), "lm_head.bias": (6,),
        "roberta.encoder.layer.0.intermediate.dense.weight": (8, 4), "lm_head.dense.bias": (4,),
    }  # fmt: skip
    found = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()} | more
    return {name: (tensor, FILE) for name, tensor in found.items()}


ROWS = [0, 1, 2, 3, 5, 4]
SENTENCE = "encoder.sentence_encoder."


@pytest.mark.parametrize(("config", "places", "first"), [(CONFIG, 7, 2), (CONFIG | {"model_type": "bert"}, 5, 0)])
def test_words_are_reordered_and_segments_are_folded_into_positions(config, places, first):
    found = tensors(places, 2)
    weights = roberta_in.translate(found, config, ROWS, False, Path("folder"))
    words, positions, types = (found[name][0] for name in (roberta_in.WORDS, roberta_in.PLACES, roberta_in.TYPES))
    assert torch.equal(weights[f"{SENTENCE}embed_tokens.weight"], words[ROWS])
    assert torch.equal(weights["encoder.lm_head.weight"], words[ROWS])
    assert torch.equal(weights["encoder.lm_head.bias"], found["lm_head.bias"][0][ROWS])
    table = weights[f"{SENTENCE}embed_positions.weight"]
    assert table.shape == (7, 4) and not table[:2].any()
    assert torch.equal(table[2:], positions[first:] + types[0])
    assert torch.equal(weights["encoder.lm_head.dense.bias"], found["lm_head.dense.bias"][0])
    assert weights[f"{SENTENCE}version"].tolist() == [3.0]
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def test_an_untied_output_has_its_own_table_and_bias():
    more = {"lm_head.decoder.weight": torch.ones(6, 4), "lm_head.decoder.bias": torch.arange(6.0)}
    weights = roberta_in.translate(tensors(**more), CONFIG, ROWS, True, Path("folder"))
    assert weights["encoder.lm_head.weight"].eq(1).all()
    assert weights["encoder.lm_head.bias"].tolist() == [0, 1, 2, 3, 5, 4]
    with toy.refused(FILE, "lm_head.decoder.weight", "tie_word_embeddings"):
        roberta_in.translate(tensors(**more), CONFIG, ROWS, False, Path("folder"))


def test_an_unknown_tensor_is_named():
    with toy.refused(FILE, "score.weight"):
        roberta_in.translate(tensors(**{"score.weight": torch.zeros(1)}), CONFIG, ROWS, False, Path("folder"))


@pytest.mark.parametrize(
    "change",
    [{"num_hidden_layers": 2}, {"vocab_size": 7}, {"hidden_size": 2}, {"max_position_embeddings": 6},
     {"intermediate_size": 4}, {"type_vocab_size": 2}],
)  # fmt: skip
def test_sizes_are_those_of_the_tensors(change):
    roberta_in.check_sizes(CONFIG, tensors(), PATH)
    ((key, value),) = change.items()
    with toy.refused(PATH, f"{key} {value}"):
        roberta_in.check_sizes(CONFIG | change, tensors(), PATH)


@pytest.mark.parametrize(
    ("name", "shape"),
    [(roberta_in.PLACES, (7,)), (roberta_in.PLACES, (7, 1)), (roberta_in.TYPES, (1, 1)), (roberta_in.TYPES, (0, 4)),
     (roberta_in.BIAS, (7,)), (roberta_in.BIAS, (5,)), (roberta_in.DECODER, (6, 4, 1)),
     (roberta_in.DECODER_BIAS, (1,))],
)  # fmt: skip
def test_a_table_of_another_shape_is_named(name, shape):
    with toy.refused(FILE, name, str(list(shape))):
        roberta_in.check_sizes(CONFIG, tensors(**{name: torch.zeros(shape)}), PATH)


@pytest.mark.parametrize("name", [roberta_in.WORDS, roberta_in.PLACES, roberta_in.TYPES])
def test_a_missing_table_is_named(tmp_path, name):
    (tmp_path / "model.safetensors").touch()
    found = tensors()
    del found[name]
    with toy.refused(tmp_path / "model.safetensors", name):
        roberta_in.check_sizes(CONFIG, found, tmp_path / "config.json")


def test_a_new_head_starts_as_transformers_initializes_it():
    words = torch.randn(60, 40), FILE
    found = {name: tensor for name, (tensor, _) in roberta_in.new_head({"untie_weights_roberta": True}, words).items()}
    assert found["lm_head.dense.weight"].shape == (40, 40)
    assert found["lm_head.dense.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    assert found["lm_head.layer_norm.weight"].eq(1).all() and len(found["lm_head.layer_norm.weight"]) == 40
    for name, size in (("lm_head.dense.bias", 40), ("lm_head.layer_norm.bias", 40), ("lm_head.bias", 60)):
        assert found[name].shape == (size,) and not found[name].any()
    assert torch.equal(found["lm_head.decoder.weight"], words[0])
    assert "lm_head.decoder.weight" not in roberta_in.new_head({"untie_weights_roberta": False}, words)


@pytest.mark.parametrize("kind", ["roberta", "camembert", "xlm-roberta", "bert"])
def test_a_roberta_is_known_by_its_config(tmp_path, kind):
    assert not roberta_in.is_roberta(tmp_path)
    (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    assert roberta_in.is_roberta(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert not roberta_in.is_roberta(tmp_path)

"""OPT's config and tensors as GPT-2's, without transformers: literals of small tensors."""

from pathlib import Path

import pytest
import torch
import toy

from plugins.hub.huggingface import opt_in

PATH = Path("folder/config.json")
FILE = Path("folder/model.safetensors")
CONFIG = {
    "vocab_size": 5, "max_position_embeddings": 3, "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 2,
    "ffn_dim": 4,
}  # fmt: skip


def test_a_config_has_gpt2s_keys():
    assert opt_in.config_of(CONFIG, PATH) == {
        "vocab_size": 5, "n_positions": 3, "n_embd": 2, "n_layer": 1, "n_head": 2, "n_inner": 4,
        "activation_function": "relu", "resid_pdrop": 0.1, "attn_pdrop": 0.0, "embd_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5, "model_type": "gpt2",
    }  # fmt: skip
    more = {"dropout": 0.2, "attention_dropout": 0.3, "activation_function": "gelu", "tie_word_embeddings": False,
            "bos_token_id": 2, "eos_token_id": 3, "word_embed_proj_dim": 2}  # fmt: skip
    found = opt_in.config_of(CONFIG | more, PATH)
    assert (found["resid_pdrop"], found["attn_pdrop"], found["activation_function"]) == (0.2, 0.3, "gelu")
    assert (found["tie_word_embeddings"], found["bos_token_id"], found["eos_token_id"]) == (False, 2, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"do_layer_norm_before": False}, "do_layer_norm_before false"),
        ({"enable_bias": False}, "enable_bias false"),
        ({"_remove_final_layer_norm": True}, "_remove_final_layer_norm true"),
        ({"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine false"),
        ({"quantization_config": {}}, "quantization_config {}"),
        ({"word_embed_proj_dim": 1}, "word_embed_proj_dim 1"),
        ({"num_attention_heads": 3}, "num_attention_heads 3"),
        ({"ffn_dim": 0}, "ffn_dim 0"),
    ],
)
def test_what_gpt2_does_not_support_is_named(change, named):
    with toy.refused(PATH, named):
        opt_in.config_of(CONFIG | change, PATH)


def tensors(prefix="model.decoder."):
    matrix = lambda start, rows, columns: torch.arange(start, start + rows * columns).reshape(rows, columns).float()  # noqa: E731
    layer = "layers.0."
    found = {
        "embed_tokens.weight": matrix(0, 5, 2),
        "embed_positions.weight": matrix(100, 5, 2),
        "final_layer_norm.weight": torch.ones(2),
        f"{layer}self_attn.q_proj.weight": matrix(10, 2, 2),
        f"{layer}self_attn.k_proj.weight": matrix(20, 2, 2),
        f"{layer}self_attn.v_proj.weight": matrix(30, 2, 2),
        f"{layer}self_attn.q_proj.bias": torch.tensor([1.0, 2]),
        f"{layer}self_attn.k_proj.bias": torch.tensor([3.0, 4]),
        f"{layer}self_attn.v_proj.bias": torch.tensor([5.0, 6]),
        f"{layer}self_attn.out_proj.weight": matrix(40, 2, 2),
        f"{layer}self_attn_layer_norm.bias": torch.zeros(2),
        f"{layer}final_layer_norm.bias": torch.full((2,), 7.0),
        f"{layer}fc1.weight": matrix(50, 4, 2),
        f"{layer}fc2.bias": torch.full((2,), 8.0),
        f"{layer}other.weight": torch.zeros(1),
        "unknown": torch.zeros(1),
    }
    return {prefix + name: (tensor, FILE) for name, tensor in found.items()}


@pytest.mark.parametrize("prefix", ["model.decoder.", "decoder.", ""])
def test_tensors_have_gpt2s_names_and_layout(prefix):
    found = {name: tensor.tolist() for name, (tensor, _) in opt_in.weights_of(tensors(prefix), CONFIG, PATH).items()}
    assert found == {
        "wte.weight": [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]],
        "wpe.weight": [[104, 105], [106, 107], [108, 109]],  # without the two rows before the first position
        "ln_f.weight": [1, 1],
        "h.0.attn.c_attn.weight": [[10, 12, 20, 22, 30, 32], [11, 13, 21, 23, 31, 33]],
        "h.0.attn.c_attn.bias": [1, 2, 3, 4, 5, 6],
        "h.0.attn.c_proj.weight": [[40, 42], [41, 43]],
        "h.0.ln_1.bias": [0, 0],
        "h.0.ln_2.bias": [7, 7],
        "h.0.mlp.c_fc.weight": [[50, 52, 54, 56], [51, 53, 55, 57]],
        "h.0.mlp.c_proj.bias": [8, 8],
        "h.0.other.weight": [0],
        "unknown": [0],
    }


@pytest.mark.parametrize("other", ["k_proj.weight", "v_proj.bias"])
def test_a_missing_projection_is_named(other):
    found = tensors()
    del found[f"model.decoder.layers.0.self_attn.{other}"]
    with toy.refused(FILE, "layers.0.self_attn.q_proj"):
        opt_in.weights_of(found, CONFIG, PATH)


@pytest.mark.parametrize(
    ("name", "gpt2s"),
    [("wte.weight", "wte.weight"), ("layers.0.ln_2.bias", "h.0.ln_2.bias"), ("h.0.ln_1.bias", "h.0.ln_1.bias")],
)
def test_a_tensor_with_gpt2s_name_does_not_replace_that_of_the_opt(name, gpt2s):
    with toy.refused(FILE, gpt2s):
        opt_in.weights_of(tensors() | {name: (torch.ones(2), FILE)}, CONFIG, PATH)


def test_projections_of_different_shapes_are_refused():
    found = tensors()
    found["model.decoder.layers.0.self_attn.k_proj.weight"] = (torch.zeros(3, 2), FILE)
    with toy.refused(FILE, "layers.0.self_attn.q_proj.weight"):
        opt_in.weights_of(found, CONFIG, PATH)


@pytest.mark.parametrize(
    "change",
    [{"num_hidden_layers": 2}, {"vocab_size": 6}, {"max_position_embeddings": 5}, {"ffn_dim": 2}, {"hidden_size": 3}],
)
def test_sizes_are_those_of_the_tensors(change):
    (key, value), = change.items()  # fmt: skip
    with toy.refused(PATH, f"{key} {value}"):
        opt_in.weights_of(tensors(), CONFIG | change, PATH)


def test_a_missing_table_is_reported_later():
    found = {name: value for name, value in tensors().items() if "embed" not in name}
    assert "wte.weight" not in opt_in.weights_of(found, CONFIG, PATH)

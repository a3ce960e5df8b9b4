"""The sizes in stored options, compared with stored tensors before a model is built."""

import pytest
import torch
import toy

from plugins.checkpoints import building

DECODER = {
    "decoder.transformer.wte.weight": torch.empty(5, 8),
    "decoder.transformer.wpe.weight": torch.empty(16, 8),
    "decoder.transformer.h.0.mlp.c_fc.weight": torch.empty(32, 8),
    "decoder.transformer.h.11.mlp.c_fc.weight": torch.empty(32, 8),
}
ENCODER = {
    "encoder.sentence_encoder.embed_tokens.weight": torch.empty(5, 8),
    "encoder.sentence_encoder.layers.0.fc1.weight": torch.empty(32, 8),
    "encoder.sentence_encoder.layers.1.fc1.weight": torch.empty(32, 8),
    "encoder.sentence_encoder.layers.1.fc2.weight": torch.empty(8, 32),
}
SIZES = {"layers": 2, "embed_dim": 8, "ffn_embed_dim": 32}


def test_the_sizes_of_tensors_are_found_by_their_names():
    assert building.sizes_of(DECODER) == SIZES | {"vocab_size": 5, "block_size": 16}
    assert building.sizes_of(ENCODER) == SIZES | {"vocab_size": 5, "block_size": None}
    assert building.sizes_of({"encoder.layers.0.lora_A.weight": torch.empty(4, 8)}) == {}
    assert building.sizes_of({"transformer.wte.weight": torch.empty(5)}) == {}
    transposed = {"transformer.wte.weight": torch.empty(5, 8), "transformer.h.0.mlp.c_fc.weight": torch.empty(8, 32)}
    assert building.sizes_of(transposed) == {
        "layers": 1, "embed_dim": 8, "ffn_embed_dim": 32, "vocab_size": 5, "block_size": None
    }  # fmt: skip
    odd = {"transformer.wte.weight": torch.empty(5, 8), "transformer.h.0.mlp.c_fc.weight": torch.empty(9, 32)}
    assert building.sizes_of(odd)["ffn_embed_dim"] is None
    assert building.sizes_of({"transformer.wte.weight": torch.empty(5, 8)})["layers"] is None


@pytest.mark.parametrize("side, weights", [("encoder", ENCODER), ("decoder", DECODER)])
def test_options_that_the_weights_have_pass_and_others_are_named_with_both_values(side, weights):
    good = {f"{side}_{name}": value for name, value in SIZES.items()} | {"vocab_size": 5}
    building.check_sizes(good | {f"{side}_attention_heads": 8}, weights, "x.pt")
    for name, value in good.items():
        with toy.refused("x.pt", name, "1,000", value):
            building.check_sizes(good | {name: 1000}, weights, "x.pt")
        for wrong in (0, -1, True, 2.0, "2"):
            with toy.refused("x.pt", name, repr(wrong)):
                building.check_sizes(good | {name: wrong}, weights, "x.pt")
    with toy.refused("x.pt", f"{side}_attention_heads", 9, 8):
        building.check_sizes(good | {f"{side}_attention_heads": 9}, weights, "x.pt")
    with toy.refused("x.pt", f"{side}_attention_heads", 0):
        building.check_sizes(good | {f"{side}_attention_heads": 0}, weights, "x.pt")


@pytest.mark.parametrize("option, most", [
    ("block_size", 16_777_216), ("max_positions", 1_000_000_000), ("num_styles", 1_048_576), ("style_dim", 65_536),
    ("style_hidden", 65_536), ("lora_rank", 16_384), ("prompt_tokens", 65_536),
])  # fmt: skip
def test_options_without_a_tensor_are_limited(option, most):
    building.check_sizes({option: most}, {}, "x.pt")
    building.check_sizes({option: None}, {}, "x.pt")
    with toy.refused("x.pt", option, f"{most + 1:,}", f"{most:,}"):
        building.check_sizes({option: most + 1}, {}, "x.pt")


def test_a_block_size_is_that_of_the_table_of_positions():
    building.check_sizes({"block_size": 16}, DECODER, "x.pt")
    with toy.refused("x.pt", "block_size", 17, 16):
        building.check_sizes({"block_size": 17}, DECODER, "x.pt")
    building.check_sizes({"block_size": 17}, ENCODER, "x.pt")  # positions without a table

"""Rotary positions, against Hugging Face's models."""

import math

import pytest
import torch
import toy
from torch import nn

from plugins.modules.decoder import Decoder
from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding
from plugins.modules.positions import Spec, build

CPU = torch.device("cpu")
WIDTH, HEADS, PAD = 16, 2, 1


def make(name, causal=False, **options):
    torch.manual_seed(1)
    return build(name, Spec(WIDTH, HEADS, 64, causal=causal, padding_row=None if causal else PAD, **options))


def rotated(q_at, k_at, dtype=torch.float32):
    """Return the score of one query and one key at two positions."""
    scheme, end = make("rotary"), max(q_at, k_at) + 1
    q, k = torch.randn(2, 1, HEADS, 1, 8, generator=torch.Generator().manual_seed(2)).to(dtype)
    q = scheme.rotate(q, scheme.angles(slice(q_at, q_at + 1), end, CPU))
    k = scheme.rotate(k, scheme.angles(slice(k_at, k_at + 1), end, CPU))
    assert q.dtype == dtype
    return (q.double() * k.double()).sum(-1).flatten()


def test_rotary_turns_each_pair_by_its_angle():
    """D = 8: channels i and i + 4 by t, t/10, t/100, t/1000 (Su et al., equation 15, with halves as pairs)."""
    scheme = make("rotary")
    x = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]).view(1, 1, 1, 8)
    found = scheme.rotate(x, scheme.angles(slice(3, 4), 4, CPU)).flatten()
    angles = (3.0, 0.3, 0.03, 0.003)
    torch.testing.assert_close(found, torch.tensor([*map(math.cos, angles), *map(math.sin, angles)]))


@pytest.mark.parametrize("shift", [1, 1000, 100_000])
def test_rotary_scores_depend_only_on_the_distance(shift):
    torch.testing.assert_close(rotated(7, 3), rotated(7 + shift, 3 + shift), atol=2e-6, rtol=0)
    assert not torch.allclose(rotated(7, 3), rotated(8, 3), atol=1e-3)


def test_rotary_keeps_lengths():
    scheme, x = make("rotary"), torch.randn(2, HEADS, 9, 8)
    torch.testing.assert_close(scheme.rotate(x, scheme.angles(slice(0, 9), 9, CPU)).norm(dim=-1), x.norm(dim=-1))


def test_rotary_in_bfloat16_rounds_only_its_result():
    torch.testing.assert_close(rotated(50_000, 49_990, torch.bfloat16), rotated(50_000, 49_990), atol=0.05, rtol=0)


def test_rotary_at_positions_of_each_sequence():
    scheme, x = make("rotary"), torch.randn(2, HEADS, 3, 8)
    where = torch.tensor([[0, 1, 2], [40, 41, 42]])
    both = scheme.rotate(x, scheme.angles(where, 50, CPU))
    for row, start in enumerate((0, 40)):
        alone = scheme.rotate(x[row : row + 1], scheme.angles(slice(start, start + 3), 50, CPU))
        torch.testing.assert_close(both[row : row + 1], alone)


def test_rotary_needs_heads_of_an_even_width():
    with toy.refused("15 / 3", error=ValueError):
        build("rotary", Spec(15, 3, 8))


@pytest.mark.parametrize("length", [20, 4000])
def test_a_rotary_decoder_equals_gpt_neox(length):
    """The whole model of Hugging Face's GPT-NeoX with sequential residuals is this decoder."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPTNeoXConfig(
        vocab_size=11, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=32,
        max_position_embeddings=length, use_parallel_residual=False, hidden_act="gelu", layer_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
    )  # fmt: skip
    theirs = transformers.GPTNeoXModel(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = Decoder(11, 20, WIDTH, 32, 2, HEADS, positions="rotary").eval()
    state = {"wte.weight": theirs.embed_in.weight}
    names = {"ln_1": "input_layernorm", "ln_2": "post_attention_layernorm", "attn.c_proj": "attention.dense",
             "mlp.c_fc": "mlp.dense_h_to_4h", "mlp.c_proj": "mlp.dense_4h_to_h"}  # fmt: skip
    for i, layer in enumerate(theirs.layers):
        parts = layer.state_dict()
        for kind in ("weight", "bias"):
            state |= {f"h.{i}.{a}.{kind}": parts[f"{b}.{kind}"] for a, b in names.items()}
            fused = parts[f"attention.query_key_value.{kind}"].unflatten(0, (HEADS, 3, -1))  # by head, then q, k, v
            state[f"h.{i}.attn.c_attn.{kind}"] = fused.transpose(0, 1).flatten(0, 2)
    state |= {f"ln_f.{kind}": getattr(theirs.final_layer_norm, kind) for kind in ("weight", "bias")}
    ours.load_state_dict(state)
    tokens = torch.randint(11, (1, length))
    with torch.no_grad():
        # Hugging Face computes angles in float32, whose error grows with the position.
        torch.testing.assert_close(ours(tokens), theirs(tokens)[0], atol=1e-5 + 1e-7 * length, rtol=1e-4)


def test_a_rotary_encoder_equals_roformer():
    """The whole model of Hugging Face's RoFormer, which pairs neighboring channels."""
    transformers = pytest.importorskip("transformers")
    config = transformers.RoFormerConfig(
        vocab_size=11, embedding_size=WIDTH, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS,
        intermediate_size=32, max_position_embeddings=64, pad_token_id=PAD, layer_norm_eps=1e-5, hidden_act="gelu",
    )  # fmt: skip
    theirs = transformers.RoFormerModel(config).eval()
    for name, parameter in theirs.named_parameters():
        if "embed_positions" not in name:
            nn.init.normal_(parameter, std=0.3)
    layers = [EncoderLayer(WIDTH, 32, HEADS, nn.functional.gelu) for _ in range(2)]
    table = nn.Embedding(11, WIDTH)
    ours = SentenceEncoder(table, make("rotary"), TokenEmbedding(11), layers, padding_index=PAD).eval()
    embeddings = theirs.embeddings
    halves = torch.cat([torch.arange(0, 8, 2), torch.arange(1, 8, 2)])  # neighbors to halves, within a head
    order = torch.cat([halves, halves + 8])
    with torch.no_grad():
        table.weight.copy_(embeddings.word_embeddings.weight + embeddings.token_type_embeddings.weight[0])
        ours.layernorm_embedding.load_state_dict(embeddings.LayerNorm.state_dict())
        for a, b in zip(ours.layers, theirs.encoder.layer, strict=True):
            for mine, other in (
                (a.self_attn.q_proj, b.attention.self.query),
                (a.self_attn.k_proj, b.attention.self.key),
            ):
                mine.weight.copy_(other.weight[order])
                mine.bias.copy_(other.bias[order])
            a.self_attn.v_proj.load_state_dict(b.attention.self.value.state_dict())
            a.self_attn.out_proj.load_state_dict(b.attention.output.dense.state_dict())
            a.self_attn_layer_norm.load_state_dict(b.attention.output.LayerNorm.state_dict())
            a.fc1.load_state_dict(b.intermediate.dense.state_dict())
            a.fc2.load_state_dict(b.output.dense.state_dict())
            a.final_layer_norm.load_state_dict(b.output.LayerNorm.state_dict())
        tokens = torch.randint(2, 11, (3, 30))
        tokens[1, 20:] = PAD
        real = tokens != PAD
        expected = theirs(tokens, attention_mask=real.long())[0]
        torch.testing.assert_close(ours(tokens)[0][real], expected[real], atol=1e-5, rtol=1e-4)
        rows = torch.tensor([2, 30, 75])
        torch.testing.assert_close(ours(tokens, rows)[0], expected.flatten(0, 1)[rows], atol=1e-5, rtol=1e-4)

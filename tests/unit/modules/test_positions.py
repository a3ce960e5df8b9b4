"""Positional schemes: what each adds, rotates and excludes, at any length; rotary against Hugging Face's models."""

import copy
import math

import pytest
import torch
import toy
from torch import nn

from plugins.modules.attention import attention_weights
from plugins.modules.decoder import Decoder
from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding
from plugins.modules.offset_bias import SHORT, OffsetBias
from plugins.modules.placement import Placement
from plugins.modules.positions import DECODER_SCHEMES, SCHEMES, Positions, Spec, build

CPU = torch.device("cpu")
WIDTH, HEADS, PAD = 16, 2, 1


def make(name, causal=False, **options):
    torch.manual_seed(1)
    return build(name, Spec(WIDTH, HEADS, 64, causal=causal, padding_row=None if causal else PAD, **options))


def make_decoder(name, block=24, **options):
    torch.manual_seed(1)
    decoder = Decoder(11, block, WIDTH, 32, 3, HEADS, positions=name, **options)
    for parameter in decoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return decoder.eval()


# Every scheme


@pytest.mark.parametrize("name", SCHEMES)
def test_the_state_dict_contains_only_parameters(name):
    expected = {"learned": ["weight"]}.get(name, [])
    assert list(make(name).state_dict()) == expected


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "learned"])
@pytest.mark.parametrize("first, then", [(3, 9), (9, 3), (SHORT + 50, 5), (5, SHORT + 50)])
def test_what_was_built_for_one_length_does_not_show_at_another(name, first, then):
    used, fresh = make(name), make(name)
    results = []
    for scheme, lengths in ((used, (first, then)), (fresh, (then,))):
        for length in lengths:
            placement = Placement(scheme, slice(0, length), length, CPU)
            q = torch.ones(1, HEADS, length, WIDTH // HEADS)
            x = scheme.embed(torch.ones(1, length, WIDTH), torch.arange(length)[None], length)
            found = (x, placement.rotate(q, q)[0], placement.bias())
        results.append(found)
    for a, b in zip(*results, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("name", ["sinusoidal", "alibi", "alibi_symmetric", "rotary"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_casting_a_model_keeps_its_tables_in_float32(name, dtype):
    scheme = make(name)
    before = (scheme.angles(slice(0, 50), 50, CPU), scheme.bias(slice(0, 50), 50, CPU))
    scheme = scheme.to(dtype)
    after = (scheme.angles(slice(0, 50), 50, CPU), scheme.bias(slice(0, 50), 50, CPU))
    for a, b in zip(before, after, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("name", ["sinusoidal", "alibi", "alibi_symmetric", "rotary"])
def test_tables_follow_the_device(name):
    scheme, meta = make(name), torch.device("meta")
    for device in (CPU, meta, CPU):
        for length in (50, SHORT + 1):
            found = [scheme.angles(slice(0, length), length, device), scheme.bias(slice(0, length), length, device)]
            found.append(scheme.embed(torch.ones(1, length, WIDTH, device=device), slice(0, length), length))
            assert all(t.device == device for t in found if t is not None)


@pytest.mark.parametrize("name", DECODER_SCHEMES)
def test_tables_first_built_in_inference_mode_can_be_trained_with(name):
    decoder, tokens = make_decoder(name), torch.randint(11, (2, 9))
    with torch.inference_mode():
        decoder(tokens)
    decoder.train()(tokens).square().sum().backward()
    assert decoder.wte.weight.grad is not None


@pytest.mark.parametrize("name", DECODER_SCHEMES)
def test_a_used_model_can_be_copied(name):
    decoder, tokens = make_decoder(name), torch.randint(11, (2, 9))
    before = decoder(tokens)
    twin = copy.deepcopy(decoder)
    for parameter in decoder.parameters():
        parameter.data.zero_()
    assert torch.equal(twin(tokens), before)


@pytest.mark.parametrize("name", ["sinusoidal", "alibi", "rotary"])
def test_a_decoder_without_a_position_table_accepts_more_than_its_block(name):
    decoder, tokens = make_decoder(name), torch.randint(11, (1, 90))
    cache = decoder.new_cache(1)
    with torch.no_grad():
        parts = [decoder(part, cache) for part in tokens.split([30, 1, 50, 9], dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), decoder(tokens), atol=2e-5, rtol=0)


def test_a_learned_table_bounds_the_input():
    with toy.refused(25, 24, error=ValueError):
        make_decoder("learned")(torch.zeros(1, 25, dtype=torch.long))


def test_an_unknown_scheme_is_refused_by_name():
    with toy.refused("'absolute'", error=ValueError):
        make("absolute")


# A user-defined scheme


class NearestOnly(Positions):
    """Scores fall by 100 with each position: every token attends to itself."""

    def score(self, offset):
        return -100 * offset.abs()[None]


@pytest.mark.parametrize("causal", [True, False])
def test_a_new_scheme_is_a_class_and_a_line_in_the_table(monkeypatch, causal):
    monkeypatch.setitem(SCHEMES, "nearest", NearestOnly)
    placement = Placement(make("nearest", causal), slice(0, 5), 5, CPU)
    q = k = torch.randn(1, HEADS, 5, 8)
    torch.testing.assert_close(attention_weights(q, k, placement.bias()), torch.eye(5).expand(1, HEADS, -1, -1))


def test_a_new_scheme_serves_a_decoder_with_a_cache(monkeypatch):
    monkeypatch.setitem(SCHEMES, "nearest", NearestOnly)
    decoder, tokens = make_decoder("nearest"), torch.randint(11, (2, 12))
    cache = decoder.new_cache(2)
    with torch.no_grad():
        parts = [decoder(part, cache) for part in tokens.split([5, 1, 6], dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), decoder(tokens), atol=1e-5, rtol=0)


# Learned and sinusoidal


def test_padding_has_its_own_row_and_is_not_counted():
    table = make("learned")
    with torch.no_grad():
        table.weight.copy_(torch.arange(66.0)[:, None].expand(-1, WIDTH))
    where = torch.tensor([[-1, -1, 0, 1], [0, 1, 2, -1]])
    rows = table.embed(torch.zeros(2, 4, WIDTH), where, 4)[..., 0]
    assert rows.tolist() == [[1, 1, 2, 3], [2, 3, 4, 1]]  # PAD + 1 is the first position's


def test_the_row_of_padding_gets_no_gradient():
    table = make("learned")
    table.embed(torch.zeros(1, 3, WIDTH), torch.tensor([[0, 1, -1]]), 3).sum().backward()
    assert table.weight.grad[:5, 0].tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize("learned", [True, False])
def test_an_encoders_tables_are_fairseqs(learned):
    from fairseq.modules import PositionalEmbedding

    theirs = PositionalEmbedding(64, WIDTH, PAD, learned)
    ours = make("learned" if learned else "sinusoidal")
    if learned:
        ours.load_state_dict(theirs.state_dict())
    tokens = torch.tensor([[5, 6, 7, PAD], [PAD, 8, 9, 5]])
    real = tokens != PAD
    found = ours.embed(torch.zeros(2, 4, WIDTH), real.cumsum(1) * real - 1, 4)
    assert torch.equal(found, theirs(tokens))


def test_a_new_learned_table_is_drawn_as_fairseqs():
    from fairseq.modules import PositionalEmbedding

    torch.manual_seed(1)
    theirs = PositionalEmbedding(64, WIDTH, PAD, learned=True)
    assert torch.equal(make("learned").weight, theirs.weight)


def test_the_table_that_old_fairseq_checkpoints_contain_is_ignored():
    make("sinusoidal").load_state_dict({"_float_tensor": torch.zeros(1), "weights": torch.zeros(3, 4)})


def test_the_decoder_multiplies_embeddings_by_the_root_of_the_width():
    x = make("sinusoidal", causal=True).embed(torch.ones(1, 1, WIDTH), slice(0, 1), 1)
    assert x.tolist() == [[[4.0] * 8 + [5.0] * 8]]  # sin(0) and cos(0) added to sqrt(16)


# Biases by offset


def doubled(offset):
    return torch.stack([offset, 2 * offset])


@pytest.mark.parametrize("keys", [7, SHORT, SHORT + 9])
def test_any_queries_get_their_rows(keys):
    bias = OffsetBias(doubled)
    i, j = torch.tensor([0, 3, keys - 1]), torch.arange(keys)
    expected = doubled((j - i[:, None]).float().flatten()).view(2, 3, keys)
    for n, place in enumerate(i.tolist()):
        row = bias.rows(slice(place, place + 1), keys, CPU)
        assert row.shape == (1, 2, 1, keys)
        assert torch.equal(row[0, :, 0], expected[:, n])
    each = bias.rows(torch.stack([i, i.flip(0)]), keys, CPU)
    assert torch.equal(each, torch.stack([expected, expected.flip(1)]))
    assert torch.equal(bias.rows(slice(2, 5), keys, CPU)[0, :, 1], expected[:, 1])


def test_biases_are_not_built_anew_for_each_token():
    built = []
    bias = OffsetBias(lambda offset: built.append(len(offset)) or doubled(offset))
    for keys in range(1, 101):
        bias.rows(slice(keys - 1, keys), keys, CPU)
    assert len(built) <= 8


def test_long_biases_are_not_kept_as_matrices():
    bias = OffsetBias(doubled)
    bias.rows(slice(0, 2), 40_000, CPU)
    assert bias._vector.value.numel() == 2 * (2 * 65_536 - 1) and bias._matrix.value is None


# Rotary


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

"""The decoder: causality, its cache, its initialization."""

import math

import pytest
import torch
import torch.nn.functional as F
import toy

from plugins.modules.decoder import Decoder, initialize
from plugins.modules.placement import MOST_SCORES, Placement
from plugins.modules.positions import DECODER_SCHEMES as POSITIONS
from plugins.modules.positions import Spec, build, sinusoids
from plugins.modules.soft_prompt import SoftPrompt

WORDS, BLOCK = 11, 24
CPU = torch.device("cpu")


def make(positions="learned", **options):
    torch.manual_seed(1)
    decoder = Decoder(WORDS, BLOCK, 16, 32, 3, 4, positions=positions, **options)
    for parameter in decoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return decoder.eval()


def draw(batch=2, length=BLOCK):
    return torch.randint(WORDS, (batch, length))


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("residual", [True, False])
def test_no_position_sees_a_later_one_bit_for_bit(positions, residual):
    decoder, tokens = make(positions, residual=residual), draw()
    changed = tokens.clone()
    changed[:, 13] = (changed[:, 13] + 1) % WORDS
    with torch.no_grad():
        before, after = decoder(tokens), decoder(changed)
    assert torch.equal(before[:, :13], after[:, :13])
    assert not torch.equal(before[:, 13], after[:, 13])


@pytest.mark.parametrize("positions", POSITIONS)
def test_training_with_dropout_of_attention_weights_sees_no_later_position_either(positions):
    decoder, tokens = make(positions, attention_dropout=0.5).train(), draw(1)
    changed = tokens.clone()
    changed[:, 13] = (changed[:, 13] + 1) % WORDS
    outputs = []
    for text in (tokens, changed):
        torch.manual_seed(5)
        outputs.append(decoder(text).detach())
    assert torch.equal(outputs[0][:, :13], outputs[1][:, :13])


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("chunks", [[BLOCK], [7, 1, 1, 9, 6], [1] * BLOCK])
def test_any_chunks_through_a_cache_give_the_features_of_one_pass(positions, chunks):
    decoder, tokens = make(positions), draw()
    cache = decoder.new_cache(2)
    with torch.no_grad():
        parts = [decoder(part, cache) for part in tokens.split(chunks, dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), decoder(tokens), atol=1e-5, rtol=0)
    assert cache.length == BLOCK


def test_a_reset_cache_equals_a_new_one():
    decoder, tokens = make(), draw()
    cache = decoder.new_cache(2)
    with torch.no_grad():
        decoder(draw(), cache)
        cache.reset()
        torch.testing.assert_close(decoder(tokens, cache), decoder(tokens), atol=1e-5, rtol=0)


def test_more_tokens_than_the_block_are_an_error_that_names_both():
    decoder = make()
    cache = decoder.new_cache(1)
    decoder(draw(1, 20), cache)
    with toy.refused(25, 24, error=ValueError):
        decoder(draw(1, 5), cache)


def test_heads_must_divide_the_width():
    with toy.refused(5, 16, error=ValueError):
        Decoder(WORDS, BLOCK, 16, 32, 1, 5)


def mask(queries, keys, positions="learned", heads=2, **options):
    """Return the bias of the last queries of a causal model."""
    scheme = build(positions, Spec(8 * heads, heads, 16, causal=True))
    return scheme.bias(slice(keys - queries, keys), keys, CPU, **options)


def test_mask_of_a_chunk_is_the_last_rows_of_the_whole_mask():
    assert mask(4, 4) is None, "the kernel's own causal mask does the same"
    assert mask(1, 4) is None, "one query sees all"
    inf = -math.inf
    # fmt: off
    expected = torch.tensor([[[[0, 0, 0, inf],
                               [0, 0, 0, 0]]]])
    # fmt: on
    assert torch.equal(mask(2, 4), expected)
    assert torch.equal(mask(4, 4, explicit=True)[:, :, 2:], expected)


def test_alibi_mask_of_two_heads():
    inf = -math.inf
    # fmt: off
    expected = torch.tensor([[[[0, inf, inf], [-1 / 16, 0, inf], [-2 / 16, -1 / 16, 0]],
                              [[0, inf, inf], [-1 / 256, 0, inf], [-2 / 256, -1 / 256, 0]]]])
    # fmt: on
    assert torch.equal(mask(3, 3, "alibi"), expected)


def test_sinusoids_are_sines_then_cosines_of_falling_rate():
    table = sinusoids(3, 4)
    expected = [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    torch.testing.assert_close(table[2], torch.tensor(expected))


def test_without_residual_a_block_forgets_its_input():
    decoder = make(residual=False)
    for block in decoder.h:
        torch.nn.init.zeros_(block.mlp.c_proj.weight)
        torch.nn.init.zeros_(block.mlp.c_proj.bias)
    features = decoder(draw())
    assert torch.equal(features, features[:1, :1].expand_as(features))


def test_the_option_without_bias_removes_all_biases():
    assert not [name for name, _ in make(bias=False).named_parameters() if name.endswith("bias")]


def test_gpt2_initialization_divides_residual_projections_by_the_root_of_twice_the_layers():
    torch.manual_seed(0)
    decoder = Decoder(500, 64, 128, 512, 8, 4)
    initialize(decoder, "gpt2")
    assert decoder.wte.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert decoder.h[3].mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert decoder.h[3].mlp.c_proj.weight.std().item() == pytest.approx(0.005, rel=0.03)
    assert decoder.h[3].attn.c_proj.weight.std().item() == pytest.approx(0.005, rel=0.03)
    assert decoder.h[3].attn.c_attn.bias.abs().max() == 0


def test_xavier_initialization_is_uniform_within_its_bound():
    torch.manual_seed(0)
    decoder = Decoder(500, 64, 128, 512, 2, 4)
    initialize(decoder, "xavier")
    weight, bound = decoder.h[0].mlp.c_fc.weight, math.sqrt(6 / 640)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert decoder.wte.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert torch.equal(decoder.ln_f.weight, torch.ones(128))


def test_the_attention_input_projection_is_called_so_that_it_can_be_replaced():
    decoder, tokens = make(), draw()
    before = decoder(tokens)
    inner = decoder.h[1].attn.c_attn
    decoder.h[1].attn.c_attn = torch.nn.Sequential(inner, torch.nn.Tanh())
    assert not torch.equal(decoder(tokens), before)


def test_agrees_with_attention_written_out():
    decoder, tokens = make(), draw(1, 9)
    attention = decoder.h[0].attn
    x = decoder.embed(tokens, slice(0, 9), 9)
    q, k, v = (t.view(1, 9, 4, 4).transpose(1, 2) for t in attention.c_attn(x).chunk(3, dim=-1))
    scores = (q @ k.transpose(-1, -2) / 2).masked_fill(torch.ones(9, 9).triu(1).bool(), -math.inf)
    expected = attention.c_proj(F.softmax(scores, -1).matmul(v).transpose(1, 2).reshape(1, 9, 16))
    torch.testing.assert_close(
        attention(x, Placement(decoder.positions, slice(0, 9), 9, CPU), 0, None), expected, atol=1e-6, rtol=0
    )


# Dropout


def test_embedding_dropout_acts_only_after_the_embedding():
    decoder = make(embedding_dropout=1.0).train()
    assert torch.equal(decoder.embed(draw(), slice(0, BLOCK), BLOCK), torch.zeros(2, BLOCK, 16))
    block, x = decoder.h[0], torch.randn(2, BLOCK, 16)
    placement = Placement(decoder.positions, slice(0, BLOCK), BLOCK, CPU)
    trained = block(x, placement, 0, None)
    assert torch.equal(trained, block.eval()(x, placement, 0, None))


def test_dropout_acts_after_attention_and_after_the_feed_forward_net():
    decoder, tokens = make(dropout=1.0).train(), draw()
    assert torch.equal(decoder(tokens), decoder.ln_f(decoder.embed(tokens, slice(0, BLOCK), BLOCK)))


def test_attention_dropout_acts_only_on_attention():
    decoder, tokens = make(attention_dropout=1.0).train(), draw()
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % WORDS
    before, after = decoder(tokens), decoder(changed)
    assert torch.equal(before[:, 1:], after[:, 1:])
    assert not torch.allclose(before[:, 0], after[:, 0])


@pytest.mark.parametrize("place", ["dropout", "embedding_dropout", "attention_dropout"])
def test_each_dropout_is_off_in_evaluation(place):
    tokens = draw()
    assert torch.equal(make(**{place: 1.0})(tokens), make()(tokens))


# Long inputs and windows


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("dropped", [0.0, 1.0])
def test_blocks_of_queries_give_the_features_of_all_at_once(monkeypatch, positions, dropped):
    tokens, found = draw(), []
    for most in (1 << 24, 5 * 4 * BLOCK):
        monkeypatch.setitem(MOST_SCORES, "cpu", most)
        decoder = make(positions, attention_dropout=dropped).train()
        decoder(tokens).square().sum().backward()
        found.append((decoder(tokens).detach(), decoder.wte.weight.grad))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def test_a_window_excludes_tokens_further_back():
    inf = -math.inf
    # fmt: off
    expected = torch.tensor([[[[0, inf, inf, inf],
                               [0, 0, inf, inf],
                               [inf, 0, 0, inf],
                               [inf, inf, 0, 0]]]])
    # fmt: on
    assert torch.equal(mask(4, 4, window=2), expected)
    assert mask(4, 4, window=4) is None


@pytest.mark.parametrize("positions", ["alibi", "rotary"])
@pytest.mark.parametrize("window", [1, 5, 24, 200])
@pytest.mark.parametrize("chunks", [[1] * 90, [40, 1, 1, 30, 1, 17], [90]])
def test_a_cache_that_slides_equals_a_windowed_mask_over_the_whole_text(positions, window, chunks):
    decoder, tokens = make(positions), draw(2, 90)
    cache = decoder.new_cache(2, window)
    with torch.no_grad():
        parts = [decoder(part, cache) for part in tokens.split(chunks, dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), decoder(tokens, window=window), atol=2e-5, rtol=0)
    assert cache.length == 90 and cache.first == max(0, 91 - window)


@pytest.mark.parametrize("positions", ["alibi", "rotary"])
def test_a_window_as_long_as_the_text_changes_nothing(positions):
    decoder, tokens = make(positions), draw(2, 20)
    torch.testing.assert_close(decoder(tokens, window=20), decoder(tokens))


def test_a_sliding_cache_does_not_grow():
    decoder = make("rotary")
    cache = decoder.new_cache(1, window=24)
    with torch.no_grad():
        for token in draw(1, 500).split(1, dim=1):
            decoder(token, cache)
    assert cache.keys[0].size(2) < 24 + 200 and cache.first == 500 - 23


def test_rows_of_a_sliding_cache_can_be_taken():
    decoder, tokens = make("rotary"), draw(2, 40)
    cache = decoder.new_cache(2, window=10)
    with torch.no_grad():
        decoder(tokens[:, :30], cache)
        cache.take(torch.tensor([1]))
        found = decoder(tokens[1:, 30:], cache)
        torch.testing.assert_close(found, decoder(tokens[1:], window=10)[:, 30:], atol=2e-5, rtol=0)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positions_that_are_added_to_embeddings_cannot_slide(positions):
    with toy.refused("window", error=ValueError):
        make(positions).new_cache(1, window=10)


def test_an_unknown_initialization_is_named():
    with toy.refused("'he'", error=ValueError):
        initialize(make(), "he")


@pytest.mark.parametrize("scheme", ["gpt2", "xavier"])
def test_an_output_that_shares_the_table_is_drawn_once_as_a_table(scheme):
    torch.manual_seed(0)
    decoder = Decoder(500, 8, 128, 128, 1, 4)
    model = torch.nn.ModuleDict({"decoder": decoder, "head": torch.nn.Linear(128, 500)})
    model["head"].weight = decoder.wte.weight
    initialize(model, scheme)
    assert decoder.wte.weight.std().item() == pytest.approx(0.02, rel=0.03) and not model["head"].bias.any()


def test_a_prompt_takes_the_first_positions_of_the_block():
    decoder = make()
    assert decoder.max_tokens == BLOCK
    decoder.prompt = SoftPrompt(torch.zeros(4, 16))
    assert decoder.max_tokens == BLOCK - 4
    assert decoder(draw(1, BLOCK - 4)).shape == (1, BLOCK - 4, 16)
    with toy.refused(BLOCK + 1, "4 vectors of a prompt", BLOCK, error=ValueError):
        decoder(draw(1, BLOCK - 3))
    assert torch.equal(decoder.look_up(torch.tensor([3, 1])), decoder.wte.weight[[3, 1]])


def test_the_window_of_a_call_precedes_that_of_the_cache_and_of_the_decoder():
    decoder, tokens = make("alibi"), draw(1, 12)
    with torch.no_grad():
        two, three = decoder(tokens, window=2), decoder(tokens, window=3)
        decoder.window = 2
        torch.testing.assert_close(decoder(tokens), two)
        torch.testing.assert_close(decoder(tokens, window=3), three)
        torch.testing.assert_close(decoder(tokens, decoder.new_cache(1, 3)), three, atol=1e-5, rtol=0)
        assert not torch.allclose(two, three)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_the_epsilon_of_layer_norms_and_the_number_of_layers_are_passed_on(positions):
    decoder = make(positions, norm_eps=0.5)
    norms = [module for module in decoder.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 7 and {norm.eps for norm in norms} == {0.5}
    assert len(decoder.h) == 3 and decoder.h[0].mlp.c_fc.weight.shape == (32, 16)


def test_what_follows_a_layer_sees_every_layer_and_no_prompt():
    decoder, seen = make(), []

    def after(layer, x):
        seen.append((layer, x.shape))
        return x + 1

    tokens = draw(2, 5)
    changed = decoder(tokens, after_layer=after)
    assert seen == [(layer, (2, 5, 16)) for layer in range(3)] and not torch.allclose(changed, decoder(tokens))
    decoder.prompt = SoftPrompt(torch.zeros(4, 16))
    seen.clear()
    decoder(tokens, after_layer=after)
    assert seen == [(layer, (2, 5, 16)) for layer in range(3)]


@pytest.mark.parametrize("residual", [True, False])
def test_a_block_is_torchs_pre_norm_layer(residual):
    """torch.nn.TransformerEncoderLayer with a causal mask; without residuals its halves follow each other."""
    decoder, x = make(residual=residual), torch.randn(2, 9, 16)
    block = decoder.h[1]
    theirs = torch.nn.TransformerEncoderLayer(16, 4, 32, 0.0, F.gelu, batch_first=True, norm_first=True).eval()
    names = {"self_attn.in_proj_": "attn.c_attn.", "self_attn.out_proj.": "attn.c_proj.", "linear1.": "mlp.c_fc.",
             "linear2.": "mlp.c_proj.", "norm1.": "ln_1.", "norm2.": "ln_2."}  # fmt: skip
    state = block.state_dict()
    theirs.load_state_dict({a + part: state[b + part] for a, b in names.items() for part in ("weight", "bias")})
    causal = torch.ones(9, 9).triu(1).bool()
    attended = theirs.self_attn(*[theirs.norm1(x)] * 3, attn_mask=causal, need_weights=False)[0]
    expected = theirs(x, src_mask=causal)
    if not residual:
        expected = theirs.linear2(F.gelu(theirs.linear1(theirs.norm2(attended))))
    found = block(x, Placement(decoder.positions, slice(0, 9), 9, CPU), 1, None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)

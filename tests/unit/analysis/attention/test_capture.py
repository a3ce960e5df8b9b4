"""Captured attention: the kernel's own weights, of every layer, head and row, without changing the model."""

from types import SimpleNamespace

import pytest
import torch
import toy
from torch import nn

from plugins import checkpoints, hub
from plugins.analysis.attention import capture as attention
from plugins.analysis.attention.capture import attention_of, capture, encode
from plugins.analysis.attention.head_scores import score_heads
from plugins.analysis.report import contents
from plugins.data.text.causal_tokenizers import ByteLevelBPE, Characters, SentencePieceVocabulary
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.data.text.tokenizers import SentencePieceTokenizer
from plugins.models.causal_lm import CausalLanguageModel
from plugins.modules.attention import SelfAttention
from plugins.modules.decoder import CausalSelfAttention
from plugins.modules.soft_prompt import SoftPrompt

STYLES = ["drama", "novel"]
TEXT = "abc abc\nhagbed"
CHAR_LMS = {
    "learned": {},
    "alibi": {"positions": "alibi"},
    "rotary": {"positions": "rotary"},
    "sinusoidal, no residual": {"positions": "sinusoidal", "residual": False},
    "styles": {"styles": STYLES},
    "published styles": {"styles": STYLES, "style_inference": "published"},
}


@pytest.fixture(scope="module", params=["baseline", "zero_clap"])
def masked_lm(request, toy_data, tmp_path_factory):
    return hub.load(toy.save_masked_lm(tmp_path_factory.mktemp("lm"), toy_data, **toy.VARIANTS[request.param]))


def through(layer, weights, x, cached=None):
    """Return a layer's output from attention weights: their product with the values, projected."""
    if isinstance(layer, CausalSelfAttention):
        v = layer.c_attn(x).unflatten(-1, (3, layer.num_heads, -1))[:, :, 2].transpose(1, 2)
        v, project = v if cached is None else cached[:, :, : weights.size(-1)], layer.c_proj
    else:
        v, project = layer.v_proj(x).unflatten(-1, (layer.num_heads, -1)).transpose(1, 2), layer.out_proj
    return project((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))


def calls(model):
    """Record (layer, its input, its output) of every call of an attention layer in the list that is returned."""
    found = []
    for part in model.modules():
        if isinstance(part, CausalSelfAttention | SelfAttention):
            part.register_forward_hook(lambda layer, given, out: found.append((layer, given[0], out)))
    return found


def assert_same_as_the_kernel(model, run, dtype=torch.float32):
    """Bounds follow the arithmetic: kernels round differently, by a few units of the largest output's precision."""
    seen, units = calls(model), 100 if dtype == torch.float32 else 4
    with torch.no_grad(), capture(model) as attention:
        run()
        assert len(attention) == len(seen) > 0
        for weights, (layer, x, out) in zip(attention, seen, strict=True):
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), atol=1e-5, rtol=0)
            atol = units * torch.finfo(dtype).eps * out.abs().max().item()
            torch.testing.assert_close(through(layer, weights, x), out, atol=atol, rtol=0)


@pytest.mark.parametrize("options", CHAR_LMS.values(), ids=CHAR_LMS)
def test_a_char_lms_weights_times_values_are_what_the_kernel_returned(make_char_lm, options):
    lm = make_char_lm(**options)
    assert_same_as_the_kernel(lm.model, lambda: lm.model(lm.encode(TEXT).expand(3, -1)))


@pytest.mark.parametrize("positions", ["learned", "alibi", "alibi_symmetric", "rotary"])
def test_captured_weights_of_a_masked_lm_exclude_padding(toy_data, positions):
    task = toy.make_task(toy_data)
    model = toy.randomize(toy.make_model(task, positions=positions, max_positions=32))
    tokens = torch.randint(5, 40, (3, 9))
    tokens[1, 5:] = tokens[2, 8:] = task.source_dictionary.pad()
    assert_same_as_the_kernel(model, lambda: model(tokens))
    with capture(model) as attention:
        model(tokens)
    assert all((layer[1, ..., 5:] == 0).all() for layer in attention)


def test_all_rows_are_captured_if_only_some_of_the_last_layer_are_requested(toy_data):
    model = toy.randomize(toy.make_model(toy.make_task(toy_data), **toy.VARIANTS["alibi"]))
    tokens, masked = torch.randint(5, 40, (2, 9)), torch.zeros(2, 9, dtype=torch.bool)
    masked[0, 3] = masked[1, 7] = True
    with capture(model) as some:
        model(tokens, masked_tokens=masked)
    with capture(model) as every:
        model(tokens)
    assert [weights.shape for weights in some] == [(2, 4, 9, 9)] * 2
    for a, b in zip(some, every, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("positions", ["learned", "alibi", "rotary"])
def test_with_a_cache_each_chunk_gets_its_queries_on_all_keys(make_char_lm, positions):
    lm = make_char_lm(positions=positions)
    tokens = lm.encode(TEXT)[None]
    with torch.no_grad(), capture(lm.model) as attention:
        lm.model(tokens)
        whole = list(attention)
        cache, done, seen = lm.model.new_cache(1), 0, calls(lm.model)
        for size in (4, 1, 6, 3):
            seen.clear()
            lm.model(tokens[:, done : done + size], cache=cache)
            done += size
            assert [weights.shape for weights in attention] == [(1, 2, size, done)] * 2
            for index, (weights, (layer, x, out)) in enumerate(zip(attention, seen, strict=True)):
                torch.testing.assert_close(weights, whole[index][:, :, done - size : done, :done], atol=1e-5, rtol=0)
                torch.testing.assert_close(through(layer, weights, x, cache.values[index]), out, atol=1e-5, rtol=0)


def test_in_bfloat16_weights_are_float32_and_agree_to_its_precision(make_char_lm):
    lm = make_char_lm(positions="alibi")
    lm.model.bfloat16()
    assert_same_as_the_kernel(lm.model, lambda: lm.model(lm.encode(TEXT)[None]), torch.bfloat16)


def test_under_autocast_too(make_char_lm):
    lm = make_char_lm()
    seen = calls(lm.model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), capture(lm.model) as attention:
        lm.model(lm.encode(TEXT)[None])
        for weights, (layer, x, out) in zip(attention, seen, strict=True):
            error = (through(layer, weights, x) - out).abs()
            v = layer.c_attn(x).chunk(3, dim=-1)[2].unflatten(-1, (2, -1)).transpose(1, 2).abs().float()
            mixed = (weights @ v).transpose(1, 2).flatten(2)  # the sum of absolute values
            # Weights, their product with the values, and the output are each rounded to 8 bits, in both computations.
            assert (error <= 6 * 2**-9 * (mixed @ layer.c_proj.weight.abs().t())).all()


def test_char_lm_heads_do_not_attend_to_later_tokens_and_masked_lm_heads_may(make_char_lm, masked_lm):
    _, causal = attention_of(make_char_lm(), TEXT)
    assert all((layer.triu(1) == 0).all() and (layer.tril() >= 0).all() for layer in causal)
    _, both = attention_of(masked_lm, "the river follows a garden .")
    assert all((layer > 0).all() for layer in both)


def test_weights_are_those_before_dropout(make_char_lm):
    lm = make_char_lm(attention_dropout=0.9)
    _, expected = attention_of(lm, TEXT)
    with torch.no_grad(), capture(lm.model.train()) as attention:
        lm.model(lm.encode(TEXT)[None])
    torch.testing.assert_close(attention[0], expected[0])


# No trace


def hooks(model):
    return [part for part in model.modules() if getattr(part, "record", None) is not None]


def test_hooks_are_gone_after_the_block_and_after_an_error_in_it(make_char_lm):
    lm = make_char_lm()
    with capture(lm.model):
        assert len(hooks(lm.model)) == 2
    assert not hooks(lm.model)
    with toy.refused(99, error=ValueError), capture(lm.model):
        lm.model(torch.zeros(1, 99, dtype=torch.long))
    assert not hooks(lm.model)


def test_the_kernel_runs_and_returns_the_same_bits_while_captured(make_char_lm, monkeypatch):
    lm, kernel, calls = make_char_lm(), nn.functional.scaled_dot_product_attention, []
    tokens = lm.encode(TEXT)[None]
    alone = lm.model(tokens)[0]
    monkeypatch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(k) or kernel(*a, **k)
    )
    with capture(lm.model):
        assert torch.equal(lm.model(tokens)[0], alone)
    assert calls == [{"dropout_p": 0.0, "is_causal": True}] * 2


def test_a_forward_pass_replaces_earlier_captures_but_not_copies(make_char_lm):
    lm = make_char_lm()
    with torch.no_grad(), capture(lm.model) as attention:
        lm.model(lm.encode("abcd")[None])
        kept = list(attention)
        stop = lm.model.decoder.transformer.h[1].register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lm.model(lm.encode("ab")[None])
        stop.remove()
        lm.model(lm.encode("abc")[None])
    assert [layer.shape[-1] for layer in attention] == [3, 3] and [layer.shape[-1] for layer in kept] == [4, 4]


def test_captured_weights_are_detached_and_gradients_still_flow(make_char_lm):
    lm = make_char_lm()
    with capture(lm.model) as attention:
        lm.model(lm.encode("abcd")[None])[0].sum().backward()
    assert not attention[0].requires_grad
    assert lm.model.decoder.transformer.h[0].attn.c_attn.weight.grad is not None


def test_a_compiled_layer_is_captured_as_it_is_written(make_char_lm):
    lm = make_char_lm()
    expected = attention_of(lm, TEXT)[1]
    for block in lm.model.decoder.transformer.h:
        block.compile()
    torch.testing.assert_close(attention_of(lm, TEXT)[1], expected)


def test_a_part_of_a_model_can_be_captured_and_one_without_attention_cannot(make_char_lm):
    lm = make_char_lm()
    with capture(lm.model.decoder.transformer.h[1]) as attention:
        lm.model(lm.encode("abcd")[None])
    assert len(attention) == 1
    with toy.refused("Linear"), capture(nn.Linear(2, 2)):
        pass


# A text's


def test_a_char_lms_form_is_bertvizs(make_char_lm):
    """Its head_view wants a list of torch tensors (1, heads, T, T), which it stacks, and T strings."""
    tokens, attention = attention_of(make_char_lm(), TEXT)
    assert tokens == list(TEXT)
    assert [(layer.shape, layer.dtype) for layer in attention] == [((1, 2, 14, 14), torch.float32)] * 2
    assert torch.stack([layer.squeeze(0) for layer in attention]).shape == (2, 2, 14, 14)
    attention[0][..., 0] = 0  # no inference tensors: they are the caller's own


def test_a_masked_lms_tokens_are_words_and_special_tokens(masked_lm):
    tokens, attention = attention_of(masked_lm, "the river <mask> a garden .")
    assert tokens[0] == "<s>" and tokens[-1] == "</s>" and "<mask>" in tokens
    assert "".join(tokens[1:-1]) == " the river<mask> a garden ."
    assert [layer.shape for layer in attention] == [(1, 4, len(tokens), len(tokens))] * 2


def test_bytes_are_shown_as_ascii_or_hexadecimal(make_char_lm):
    tokens, _ = attention_of(make_char_lm(unit="byte"), "aé\n")
    assert tokens == ["a", "c3", "a9", "\n"]


def test_gpt2s_numbered_subwords_are_shown_as_text():
    class Bpe:
        def decode(self, symbol):
            return {"262": " the", "75": "l"}[symbol]

    from fairseq.data import Dictionary

    dictionary = Dictionary()
    ids = torch.tensor([dictionary.bos(), dictionary.add_symbol("262"), dictionary.add_symbol("75")])
    lm = SimpleNamespace(dictionary=dictionary, bpe=Bpe())
    assert hub.RobertaInterface.tokens(lm, ids) == ["<s>", " the", "l"]


def test_the_model_stays_in_its_mode(make_char_lm):
    lm = make_char_lm()
    lm.model.train()
    attention_of(lm, "ab")
    assert lm.model.training


@pytest.mark.parametrize("text, named", [("", []), ("a" * 17, [17, 16]), ("é", ["é"])])
def test_text_that_cannot_be_encoded_is_a_one_line_error(make_char_lm, text, named):
    with toy.refused(*named):
        encode(make_char_lm(), text)


def test_a_text_too_long_for_learned_positions_is_one_line(toy_data, tmp_path):
    lm = hub.load(toy.save_masked_lm(tmp_path, toy_data, positions="learned", max_positions=32))
    with toy.refused(32):
        attention_of(lm, "the river follows a garden . " * 20)


def test_more_weights_than_fit_in_memory_are_a_one_line_error(make_char_lm, monkeypatch):
    monkeypatch.setattr(attention, "MOST_WEIGHTS", 200)
    lm = make_char_lm()
    heads = len(lm.model.decoder.transformer.h) * lm.model.cfg.decoder_attention_heads
    with toy.refused(16, heads):
        attention_of(lm, "ab" * 8)


def causal_lm(tokenizer):
    dictionary, size = TokenDictionary(tokenizer), {"decoder_layers": 2, "decoder_embed_dim": 16, "block_size": 24}
    model = checkpoints.new_model(CausalLanguageModel, size | {"decoder_attention_heads": 2}, dictionary)
    return hub.CausalLM(toy.randomize(model, scale=0.3), dictionary)


def test_a_causal_lms_subwords_are_shown_as_text_and_parts_of_characters_by_their_names():
    symbols = ["a", "b", "Ġ", "Ã", "©", "Ġa", "<|endoftext|>"]
    lm = causal_lm(ByteLevelBPE({symbol: i for i, symbol in enumerate(symbols)}, [("Ġ", "a")]))
    tokens, layers = attention_of(lm, "ab aé")
    assert tokens == ["a", "b", " a", "Ã", "©"]
    assert [weights.shape for weights in layers] == [(1, 2, 5, 5)] * 2


def test_the_vectors_of_a_tuned_prompt_are_numbered_tokens():
    lm = causal_lm(Characters("abc"))
    lm.model.decoder.transformer.prompt = SoftPrompt(torch.randn(3, 16))
    tokens, layers = attention_of(lm, "abca")
    assert tokens == ["[1]", "[2]", "[3]", "a", "b", "c", "a"]
    assert [weights.shape for weights in layers] == [(1, 2, 7, 7)] * 2
    with toy.refused("prompt"):
        score_heads(lm, ["abca"])


@pytest.mark.parametrize("lossless", [True, False])
def test_sentencepieces_words_begin_with_one_space(toy_data, lossless):
    lines, model = toy.sentences(50), toy_data / "sentencepiece.bpe.model"
    pieces = SentencePieceTokenizer.train_lossless(lines, 300) if lossless else SentencePieceTokenizer.from_file(model)
    tokens, _ = attention_of(causal_lm(SentencePieceVocabulary(pieces)), "the river a")
    assert "".join(tokens).strip() == "the river a"


def test_the_report_of_a_tuned_prompt_has_no_patterns():
    lm = causal_lm(Characters("abc"))
    lm.model.decoder.transformer.prompt = SoftPrompt(torch.randn(3, 16))
    report = contents.gather(lm, {"model": {}}, "t", "abcabc", length=0)
    assert report["patterns"] is None and report["attention"]["tokens"][:3] == ["[1]", "[2]", "[3]"]


def test_a_longer_text_is_truncated_but_keeps_the_end_of_a_masked_lms_input(make_char_lm, masked_lm):
    lm = make_char_lm()
    assert encode(lm, "abcdefgh", 3).tolist() == lm.encode("abc").tolist()
    assert encode(lm, "abc", 3).tolist() == lm.encode("abc").tolist()
    whole, cut = encode(masked_lm, "the river watches a garden"), encode(masked_lm, "the river watches a garden", 4)
    assert cut.tolist() == [*whole[:3].tolist(), whole[-1].item()]

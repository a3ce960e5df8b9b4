"""``plugins.hub.CharLM``: sampling, scoring, styles."""

import math

import pytest
import torch
import toy

from plugins import hub
from plugins.errors import UserError

STYLES = ["drama", "novel", "reviews"]


@pytest.fixture
def lm(make_char_lm):
    return make_char_lm()


@pytest.fixture
def styled(make_char_lm):
    return make_char_lm(styles=STYLES)


save = toy.save_char_lm


# Sampling


EVERY = {"style_layers": "every"}


@pytest.mark.parametrize(
    "options",
    [{}, EVERY, {"positions": "alibi"}, EVERY | {"style_inference": "ema"}, EVERY | {"style_inference": "prefix"}],
    ids=["plain", "running_mean", "alibi", "ema", "prefix"],
)
@pytest.mark.parametrize("refresh", [1, 5, 16])
def test_the_text_is_the_same_without_the_cache(make_char_lm, options, refresh):
    lm = make_char_lm(**options)
    arguments = {"prompt": "abc", "length": 60, "temperature": 1.0, "refresh": refresh, "n": 3}
    assert lm.sample(**arguments) == lm.sample(**arguments, cached=False)


def test_a_sample_has_the_requested_number_of_characters_without_the_prompt(lm):
    assert len(lm.sample("abc", 40)) == 40
    assert lm.sample("abc", 0) == "" and lm.sample("abc", 0, n=2) == ["", ""]


def test_the_seed_decides(lm):
    assert lm.sample("a", 50, seed=1) == lm.sample("a", 50, seed=1) != lm.sample("a", 50, seed=2)
    assert lm.sample("a", 50, seed=None) != lm.sample("a", 50, seed=None)


def test_sampling_does_not_change_the_global_random_state(lm):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    lm.sample("a", 5)
    assert torch.rand(1) == expected


def test_samples_drawn_side_by_side_differ(lm):
    texts = lm.sample("a", 50, n=4, temperature=1.0)
    assert len(set(texts)) == 4 and {len(text) for text in texts} == {50}


def test_streamed_text_equals_sampled_text(lm):
    pieces = list(lm.stream("ab", 30, 1.0))
    assert "".join(pieces) == lm.sample("ab", 30, 1.0) and {len(piece) for piece in pieces} == {1}


def test_temperature_zero_is_greedy(lm):
    text = lm.sample("abc", 10, temperature=0, refresh=1)
    best = lm.logits("abc" + text).argmax(-1)[2:-1]
    assert text == "".join(lm.characters[i] for i in best)
    assert text == lm.sample("abc", 10, temperature=0, seed=9, top_k=None) == lm.sample("abc", 10, top_k=1)


def test_only_the_last_block_of_the_prompt_counts(lm):
    assert lm.sample("h" * 30 + "abcdefgh" * 2, 20) == lm.sample("abcdefgh" * 2, 20)


def test_an_empty_prompt_becomes_a_line_break_or_else_the_first_character(make_char_lm):
    assert make_char_lm().sample("", 20) == make_char_lm().sample("\n", 20)
    assert make_char_lm("xyz").sample("", 20) == make_char_lm("xyz").sample("x", 20)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"prompt": "abz"}, "'z' (U+007A) at character 3"),
        ({"length": -1}, "length=-1"),
        ({"temperature": -0.5}, "temperature=-0.5"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 0}, "top_p=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"n": 0}, "n=0"),
        ({"refresh": 0}, "refresh=0"),
        ({"refresh": 17}, "refresh=17"),
        ({"style": "drama"}, "--arch"),
        ({"prompt": None}, "NoneType"),
        ({"prompt": b"ab"}, "bytes"),
        ({"length": 2.5}, "length=2.5"),
        ({"temperature": "hot"}, "temperature='hot'"),
        ({"top_k": 2.5}, "top_k=2.5"),
        ({"top_p": "x"}, "top_p='x'"),
        ({"n": 2.0}, "n=2.0"),
        ({"seed": "x"}, "seed='x'"),
        ({"seed": 2**64}, "seed=18446744073709551616"),
        ({"refresh": 2.5}, "refresh=2.5"),
    ],
)
def test_invalid_arguments_are_a_one_line_error(lm, options, named):
    with toy.refused(named):
        lm.sample(**{"prompt": "a", **options})


def test_a_stream_refuses_before_it_is_read(lm):
    with toy.refused("length=-1"):
        lm.stream("a", -1)


# Bytes


def test_streamed_bytes_never_break_a_character(make_char_lm):
    lm = make_char_lm(unit="byte")
    data = "aé€😀b".encode()
    assert list(lm.decoded(iter(data))) == ["a", "é", "€", "😀", "b"]
    assert list(lm.decoded(iter(data[:2]))) == ["a", "\ufffd"]


def test_a_byte_model_takes_any_text(make_char_lm):
    lm = make_char_lm(unit="byte")
    assert len(lm.characters) == 256
    assert lm.logits("é").shape == (2, 256)
    assert "".join(lm.stream("é", 40, 1.0)) == lm.sample("é", 40, 1.0)


# Scoring


def test_columns_of_logits_are_the_characters(lm):
    logits = lm.logits("abca")
    assert logits.shape == (4, 10) and lm.characters == list("\n abcdefgh")
    tokens = torch.tensor([[2, 3, 4, 2]])
    with torch.inference_mode():
        assert torch.equal(logits, lm.model(tokens)[0][0])


def test_logits_do_not_depend_on_later_tokens(styled):
    assert torch.equal(styled.logits("abcdefgh")[:5], styled.logits("abcdeaaa")[:5])


def test_logits_of_a_long_text_are_those_of_its_blocks(lm):
    text = "abcdefgh" * 5
    parts = [lm.logits(part) for part in (text[:16], text[16:32], text[32:])]
    torch.testing.assert_close(lm.logits(text), torch.cat(parts), rtol=0, atol=1e-5)


def by_hand(lm, text, context):
    """The mean of -ln p, where ``context(t)`` is the first character that character t sees."""
    total = 0.0
    for t in range(1, len(text)):
        probabilities = lm.logits(text[context(t) : t])[-1].double().softmax(-1)
        total -= math.log(probabilities[lm.characters.index(text[t])])
    return total / (len(text) - 1)


@pytest.mark.parametrize("length", [2, 16, 17, 18, 33, 50])
@pytest.mark.parametrize("batch", [16, 8192])
def test_loss_counts_every_character_once_in_blocks(lm, monkeypatch, length, batch):
    monkeypatch.setattr(hub.language_model, "SCORED_AT_ONCE", batch)
    text = ("abcdefgh gfedcba\n" * 4)[:length]
    assert lm.loss(text) == pytest.approx(by_hand(lm, text, lambda t: (t - 1) // 16 * 16), abs=1e-5)


@pytest.mark.parametrize("length", [5, 17, 40])
def test_refresh_one_gives_every_character_a_whole_block(styled, length):
    text = ("abcdefgh gfedcba\n" * 4)[:length]
    assert styled.loss(text, refresh=1) == pytest.approx(by_hand(styled, text, lambda t: max(0, t - 16)), abs=1e-5)


@pytest.mark.parametrize("refresh", [1, 5, 16])
def test_loss_is_that_of_the_contexts_that_sampling_uses(lm, refresh):
    """Force a text through the sampler, and compare the probabilities it would have drawn from."""
    from plugins.modules.sampling import generate

    text = ("abcdefgh gfedcba\n" * 4)[:45]
    tokens = lm.dictionary.encode(text)
    forced, seen = iter(tokens[1:]), []

    def choose(logits):
        seen.append(logits.double().log_softmax(-1)[0, (token := next(forced))])
        return token.view(1, 1)

    steps = generate(lambda x: lm.model(x)[0][:, -1], choose, tokens[None, :1], 44, lm.block_size, refresh)
    assert len(list(steps)) == 44
    assert lm.loss(text, refresh=refresh) == pytest.approx(-torch.stack(seen).mean().item(), abs=1e-5)


@pytest.mark.parametrize(
    "call, text, named",
    [
        ("logits", "", "''"),
        ("loss", "", "''"),
        ("loss", "a", "'a'"),
        ("logits", "z", "'z'"),
        ("loss", "az", "character 2"),
    ],
)
def test_texts_that_cannot_be_scored(lm, call, text, named):
    with toy.refused(named):
        getattr(lm, call)(text)


# Styles


def test_styles_have_the_names_of_the_corpus_or_numbers(make_char_lm, lm, styled):
    assert styled.styles == STYLES and lm.styles == []
    assert make_char_lm(style_layers="every", num_styles=2).styles == ["0", "1"]


def test_a_style_can_be_forced(styled):
    texts = {style: styled.sample("ab", 40, style=style) for style in (None, "none", *STYLES)}
    assert len(set(texts.values())) == 5
    assert texts["none"] == styled.sample("ab", 40, style=False)


def test_the_number_of_samples_is_checked_before_styles_are_made_for_each(styled):
    with toy.refused("n=2.0"):
        styled.sample("a", 1, n=2.0, style="drama")


def test_a_mixture_is_divided_by_its_sum(styled):
    mixed = styled.style_weights({"drama": 7, "reviews": 3}, 2)
    torch.testing.assert_close(mixed, torch.tensor([[0.7, 0.0, 0.3]] * 2))
    assert styled.sample("a", 30, style={"novel": 5}) == styled.sample("a", 30, style="novel")


def test_style_none_does_not_modulate(styled):
    with torch.no_grad():
        expected = styled.logits("abc", style="none")
        styled.model.decoder.style.modulation.weight.zero_()
    torch.testing.assert_close(styled.logits("abc"), expected)


def test_forced_styles_change_scores_too(styled):
    assert len({styled.loss("abcdefgh", style=style) for style in STYLES}) == 3


@pytest.mark.parametrize(
    "style, named",
    [
        ("poem", ["'poem'", "drama", "novel", "reviews"]),
        ({"drama": 1, "poem": 1}, ["'poem'"]),
        ({"drama": -1, "novel": 2}, ["-1"]),
        ({"drama": "x"}, ["'x'"]),
        (["drama", "novel"], ["style=['drama', 'novel']"]),
        ({"drama": 0}, [{"drama": 0}]),
        ({}, [{}]),
    ],
)
def test_styles_that_make_no_sense(styled, style, named):
    with toy.refused(*named):
        styled.sample("a", 1, style=style)


def test_style_probabilities_by_name(styled):
    probabilities = styled.classify_style("abcd")
    assert list(probabilities) == STYLES and sum(probabilities.values()) == pytest.approx(1)
    with torch.inference_mode():
        expected = styled.model(styled.dictionary.encode("abcd")[None])[1]["style_logits"][0, -1].softmax(-1)
    assert list(probabilities.values()) == pytest.approx(expected.tolist())


def test_the_style_of_a_long_text_is_the_mean_over_its_blocks(styled):
    blocks = [list(styled.classify_style(text).values()) for text in ("abcdefgh" * 2, "hhgg")]
    expected = [(16 * a + 4 * b) / 20 for a, b in zip(*blocks, strict=True)]
    assert list(styled.classify_style("abcdefgh" * 2 + "hhgg").values()) == pytest.approx(expected)


def test_a_model_that_infers_no_style_is_a_named_error(make_char_lm, lm):
    with toy.refused("--arch"):
        lm.classify_style("abc")
    with toy.refused("--style-inference given"):
        make_char_lm(styles=STYLES, style_inference="given").classify_style("abc")


# The published form


def test_the_published_form_is_scored_from_prefixes_only(make_char_lm):
    lm = make_char_lm(styles=STYLES, style_inference="published")
    text = "abcdefgh" * 3
    whole = lm.logits(text)[:5]
    bound = 100 * torch.finfo(whole.dtype).eps * whole.abs().max().item()  # kernels of other shapes round differently
    torch.testing.assert_close(whole, lm.logits(text[:5]), atol=bound, rtol=0)
    assert lm.loss(text) == pytest.approx(by_hand(lm, text, lambda t: (t - 1) // 16 * 16), abs=1e-5)


def test_the_published_form_is_sampled_without_a_cache(make_char_lm):
    lm = make_char_lm(styles=STYLES, style_inference="published")
    assert lm.sample("ab", 30) == lm.sample("ab", 30, cached=False)


@pytest.mark.parametrize("positions", ["alibi", "rotary"])
def test_a_sliding_cache_samples_the_same_tokens_as_a_windowed_mask(make_char_lm, positions):
    lm = make_char_lm(positions=positions)
    text, tokens = lm.sample("abc", 60, temperature=0, slide=True), lm.encode("abc").tolist()
    lm.model.decoder.transformer.window = lm.block_size
    with torch.no_grad():
        for _ in range(60):
            tokens.append(lm.model(torch.tensor([tokens]))[0][0, -1].argmax().item())
    assert text == lm.dictionary.decode(tokens[3:])


@pytest.mark.parametrize("options, named", [({"positions": "learned"}, "--positions learned"), ({}, "cached=False")])
def test_a_cache_that_cannot_slide_is_refused(make_char_lm, options, named):
    lm = make_char_lm(**{"positions": "alibi", **options})
    with toy.refused(named):
        lm.sample("abc", 5, slide=True, cached=bool(options))


# Files


def test_a_checkpoint_is_all_that_is_needed(styled, tmp_path):
    path = save(styled, tmp_path / "checkpoint_last.pt")
    for lm in (call(p) for call in (hub.CharLM.from_pretrained, hub.load) for p in (path, tmp_path)):
        assert lm.styles == STYLES and lm.characters == styled.characters and lm.block_size == 16
        assert torch.equal(lm.logits("abc"), styled.logits("abc"))
        assert not lm.model.training


def test_the_best_checkpoint_of_a_folder_is_taken(make_char_lm, tmp_path):
    save(make_char_lm(seed=1), tmp_path / "checkpoint_last.pt")
    best = make_char_lm(seed=2)
    save(best, tmp_path / "checkpoint_best.pt")
    assert torch.equal(hub.load(tmp_path).logits("abc"), best.logits("abc"))


def test_a_byte_model_is_exported_and_imported(make_char_lm, tmp_path):
    lm = make_char_lm(unit="byte")
    loaded = hub.CharLM.from_pretrained(save(lm, tmp_path / "a.pt"))
    assert loaded.sample("é", 20) == lm.sample("é", 20)


def test_files_that_are_not_checkpoints(lm, tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    with toy.refused("none.pt"):
        hub.CharLM.from_pretrained(tmp_path / "none.pt")
    with toy.refused(tmp_path, "checkpoint_best.pt", "checkpoint_last.pt"):
        hub.CharLM.from_pretrained(tmp_path)
    with toy.refused("text.pt"):
        hub.CharLM.from_pretrained(tmp_path / "text.pt")
    with toy.refused("other.pt"):
        hub.CharLM.from_pretrained(save(lm, tmp_path / "other.pt", task_state={}))
    with toy.refused("nanogpt.pt", "CharLM.from_nanogpt"):
        hub.CharLM.from_pretrained(save(lm, tmp_path / "nanogpt.pt", model_args={}))


def test_weights_that_do_not_fit_name_the_file(lm, tmp_path):
    weights = lm.model.state_dict()
    del weights["decoder.transformer.ln_f.weight"]
    with toy.refused("a.pt"):
        hub.load(save(lm, tmp_path / "a.pt", model=weights))


@pytest.mark.parametrize("styles", [(), STYLES], ids=["plain", "styles"])
def test_in_half_precision_probabilities_are_rounded(make_char_lm, styles):
    lm = make_char_lm(styles=styles)
    exact = lm.logits("abcdabcd").softmax(-1)
    rounded = lm.to(dtype=torch.bfloat16).logits("abcdabcd").float().softmax(-1)
    assert 0 < (rounded - exact).abs().max() < 0.1
    assert len(lm.sample("abc", 40)) == 40


@pytest.mark.parametrize("styles", [(), STYLES], ids=["plain", "styles"])
def test_eight_bits_a_weight_change_probabilities_little(make_char_lm, styles):
    lm = make_char_lm(styles=styles)
    exact = lm.logits("abcdabcd").softmax(-1)
    assert 0 < (lm.to(dtype=torch.int8).logits("abcdabcd").softmax(-1) - exact).abs().max() < 0.1
    assert len(lm.sample("abc", 40)) == 40


def test_moving_to_a_device_returns_the_model(lm):
    assert lm.to("cpu") is lm and lm.device == torch.device("cpu")


# Arguments


@pytest.mark.parametrize("call, named", [
    (lambda lm: lm.sample([0.5]), "list"), (lambda lm: lm.sample([0, 99]), "99"), (lambda lm: lm.sample([-1]), "-1"),
    (lambda lm: lm.sample(None), "NoneType"), (lambda lm: lm.sample(c for c in "ab"), "generator"),
    (lambda lm: lm.sample("a", True), "True"), (lambda lm: lm.sample("a", 3, top_k=0), "top_k=0"),
    (lambda lm: lm.sample("a", 3, temperature=float("nan")), "nan"), (lambda lm: lm.stream("a", 3, n=2), "n=2"),
    (lambda lm: lm.loss(["ab", "ba"]), "list"), (lambda lm: lm.logits([[0, 1]]), "list"),
    (lambda lm: lm.to(dtype="half"), "half"), (lambda lm: lm.to(dtype=torch.int16), "int16"),
    (lambda lm: lm.to("nowhere"), "nowhere"), (lambda lm: lm.sample("a", 3, style=["drama"]), "drama"),
])  # fmt: skip
def test_arguments_are_checked(styled, call, named):
    with pytest.raises(UserError) as error:
        call(styled)
    assert named in str(error.value) and "\n" not in str(error.value)


def test_tokens_may_be_a_list_an_array_or_a_tensor(make_char_lm):
    lm = make_char_lm()
    ids = lm.encode("abca")
    assert lm.loss("abca") == lm.loss(ids) == lm.loss(ids.tolist()) == lm.loss(ids.numpy())


@pytest.mark.parametrize("style", [None, False, "none"])
def test_a_model_without_styles_takes_no_style(lm, style):
    assert lm.sample("a", 10, style=style) == lm.sample("a", 10)
    with toy.refused("--arch"):
        lm.sample("a", 10, style=True)

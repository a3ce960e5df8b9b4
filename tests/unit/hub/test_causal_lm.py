"""``hub.CausalLM``: generates, samples and scores; a checkpoint and its folder are all that it needs."""

import math

import pytest
import torch
import toy

from plugins import checkpoints, hub
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.sources import CorpusSpec
from plugins.data.text.token_corpus import learn
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.models.causal_lm import CausalLanguageModel

TINY = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 24}


@pytest.fixture
def lm():
    dictionary = TokenDictionary(Characters("\n abcdefgh"))
    torch.manual_seed(0)
    return hub.CausalLM(
        toy.randomize(checkpoints.new_model(CausalLanguageModel, TINY, dictionary), scale=0.3), dictionary
    )


def test_logits_have_a_row_a_token_and_the_loss_is_theirs(lm):
    logits = lm.logits("abba cab")
    assert logits.shape == (8, len(lm.dictionary))
    expected = torch.nn.functional.cross_entropy(logits[:-1], lm.encode("abba cab")[1:]).item()
    assert lm.loss("abba cab") == pytest.approx(expected, abs=1e-5)


def test_tokens_are_accepted_instead_of_text(lm):
    tokens = [lm.dictionary.eos(), *lm.encode("abba")]
    assert torch.equal(lm.logits(tokens)[1:], lm.logits(torch.tensor(tokens))[1:])
    assert lm.loss(lm.encode("abba")) == lm.loss("abba")


def test_a_long_text_is_scored_in_windows_of_any_number_at_once(lm, monkeypatch):
    text = "abcd efgh " * 9
    whole = lm.loss(text)
    monkeypatch.setattr(hub.language_model, "LOGITS_AT_ONCE", 1)
    assert lm.loss(text) == pytest.approx(whole, abs=1e-6)


def test_generation_takes_the_likeliest_token_until_the_end(lm):
    tokens, text = lm.encode("ab"), ""
    while len(text) < 12:
        best = lm.logits(tokens)[-1].argmax()
        if best == lm.dictionary.eos():
            break
        text += lm.decode([best])
        tokens = torch.cat([tokens, best[None]])
    assert lm.generate("ab", max_length=12) == text


def test_prompts_of_different_lengths_are_continued_as_if_alone(lm):
    prompts = ["ab", "", "abba cab", "h"]
    assert lm.generate(prompts, max_length=9) == [lm.generate(prompt, max_length=9) for prompt in prompts]
    assert lm.generate([]) == []


def test_the_same_seed_draws_the_same(lm):
    drawn = [lm.generate("ab", max_length=12, temperature=1.0, seed=seed) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


def test_a_sample_has_the_requested_length_and_may_exceed_the_block(lm):
    assert len(list(lm.steps("ab", 60, seed=1))) == 60
    assert lm.sample("", 5, n=2, seed=1) == lm.sample("", 5, n=2, seed=1)


def test_a_stream_is_the_sample_in_pieces(lm):
    pieces = list(lm.stream("ab", 30, seed=3))
    assert len(pieces) > 5
    assert "".join(pieces) == lm.sample("ab", 30, seed=3)


def test_a_piece_consists_of_whole_characters_and_its_blank(tmp_path):
    text = "the river watches a garden\n" * 30
    (tmp_path / "text.txt").write_text(text)
    dictionary = learn("sentencepiece", 330, CorpusSpec((str(tmp_path / "text.txt"),)), str(tmp_path / "cache"))
    lm = hub.CausalLM(checkpoints.new_model(CausalLanguageModel, TINY, dictionary), dictionary)
    written = "the river ½ 🙂 a"  # of which two characters are bytes
    pieces = list(lm.decoded(dictionary.encode(written).tolist()))
    assert "".join(pieces) == written
    assert "🙂" in "".join(piece for piece in pieces if "\ufffd" not in piece)
    assert len(pieces) > 4


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda lm: lm.generate("ab", max_length=23), ["2 tokens", "max_length=23", 24]),
        (lambda lm: lm.generate("ab", max_length=5, min_length=6), [6, 5]),
        (lambda lm: lm.generate("ab", temperature=-1.0), ["generate", "temperature", "-1.0"]),
        (lambda lm: lm.generate("ab", warmth=1), ["generate", "'warmth'"]),
        (lambda lm: lm.generate("xyz"), ["'x' (U+0078)", "character 1"]),
        (lambda lm: lm.loss("a"), ["'a'", 2]),
        (lambda lm: lm.sample("a", temperature=-1), ["temperature=-1"]),
        (lambda lm: lm.sample("a", n=0), ["n=0"]),
        (lambda lm: lm.sample("a", top_p=0.0), ["top_p=0.0"]),
        (lambda lm: lm.sample("a", top_p=1.5), ["top_p=1.5"]),
        (lambda lm: lm.sample("a", length=-1), ["length=-1"]),
        (lambda lm: lm.sample("a", seed=2**64), ["seed=18446744073709551616"]),
        (lambda lm: lm.sample("a", seed=-(2**63) - 1), ["seed=-9223372036854775809"]),
        (lambda lm: lm.sample("a", refresh=25), ["refresh=25", 24]),
        (lambda lm: lm.stream("a", n=2), ["n=2"]),
    ],
)
def test_invalid_arguments_are_a_one_line_error(lm, call, named):
    with toy.refused(*named):
        call(lm)


def test_a_checkpoint_and_its_folder_give_the_model_back(lm, tmp_path):
    lm.dictionary.add_symbol("<|summary|>")
    model = checkpoints.new_model(CausalLanguageModel, TINY, lm.dictionary)
    model.load_state_dict(lm.model.state_dict())
    checkpoints.write_causal_lm(tmp_path / "run" / "checkpoint_best.pt", model)
    again = hub.load(tmp_path / "run")
    assert again.dictionary.symbols == lm.dictionary.symbols
    assert torch.equal(again.logits("abba"), hub.CausalLM(model, lm.dictionary).logits("abba"))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "characters.json").unlink(), "characters.json"),
        (lambda folder: (folder / "characters.json").write_text('["a", "b"]'), "11 rows"),
        (lambda folder: (folder / "characters.json").write_text('["\\n", " ", "a", "b", "c", "d", "e", "f", "g", "i"]'),
         "model.pt"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_is_not_the_checkpoints_is_refused(lm, tmp_path, spoil, named):
    checkpoints.write_causal_lm(tmp_path / "model.pt", lm.model)
    (tmp_path / "added_tokens.json").unlink()  # which names the index of the end
    spoil(tmp_path)
    with toy.refused(named):
        hub.CausalLM.from_pretrained(tmp_path / "model.pt")


def test_perplexity_of_an_untrained_model_is_about_its_vocabulary():
    dictionary = TokenDictionary(Characters("\n abcdefgh"))
    torch.manual_seed(0)
    fresh = hub.CausalLM(checkpoints.new_model(CausalLanguageModel, TINY, dictionary), dictionary)
    assert fresh.loss("abcd efgh" * 5) == pytest.approx(math.log(11), rel=0.05)


@pytest.mark.parametrize("options, named", [
    ({"prompts": None}, "prompts=None"), ({"prompts": [1, 2]}, "prompts: 1"), ({"max_length": 0}, "max_length=0"),
    ({"max_length": "3"}, "max_length='3'"), ({"min_length": -1}, "min_length=-1"), ({"min_length": 2.5}, "2.5"),
    ({"no_repeat_ngram": None}, "no_repeat_ngram=None"), ({"beam": 0}, "beam"), ({"temperature": "x"}, "generate"),
    ({"nothing": 1}, "nothing"), ({"prompts": [[0.5]]}, "list"), ({"prompts": [[10**6]]}, "1000000"),
])  # fmt: skip
def test_arguments_of_generate_are_checked(lm, options, named):
    with pytest.raises(UserError) as error:
        lm.generate(**{"prompts": "ab", **options})
    assert named in str(error.value) and "\n" not in str(error.value)


def test_prompts_may_come_from_a_generator(lm):
    assert lm.generate((text for text in ("a", "b")), max_length=3) == lm.generate(["a", "b"], max_length=3)
    assert lm.generate([]) == []

"""Summaries from the interface that the script uses, and the search behind them against transformers' own."""

import pytest
import torch
import toy
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from plugins.checkpoints import new_model, write_causal_lm
from plugins.data.text.causal_tokenizers import ByteLevelBPE, Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.hub import CausalLM, gpt2
from plugins.hub.summarizer import Lead, Summarizer, forbidden_forms
from plugins.models.causal_lm import CausalLanguageModel
from plugins.modules.constraints import Constraints
from plugins.modules.generation import Search, generate

SIZE = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 40}
DOCUMENTS = ["abcdeab", "c" * 60, "ddeea", "b", "edcba" * 3]


def make(added=("<|sep|>",), scale=0.3):
    dictionary = TokenDictionary(Characters(sorted("\n :abcde")), added)
    torch.manual_seed(2)
    return toy.randomize(new_model(CausalLanguageModel, SIZE, dictionary), scale=scale)


@pytest.fixture(scope="module")
def lm():
    model = make()
    return CausalLM(model, model.decoder.dictionary)


def test_summaries_come_in_order_and_do_not_depend_on_the_batch(lm):
    summarizer = Summarizer(lm, "<|sep|>")
    options = {"max_length": 8, "temperature": 1.0, "names": ["v", "w", "x", "y", "z"]}
    together = list(summarizer.summaries(DOCUMENTS, batch_size=2, **options))
    assert together == list(summarizer.summaries(DOCUMENTS, batch_size=5, **options))
    assert together == list(summarizer.summaries(iter(DOCUMENTS), batch_size=1, **options))
    assert len(set(together)) > 1


def test_a_summary_continues_the_document_and_the_separator(lm):
    (found,) = Summarizer(lm, "a:").summaries(["abcd"], max_length=8)
    assert found == lm.generate("abcd\na:", max_length=8).strip()


def test_long_documents_are_cut_so_that_the_summary_fits(lm):
    summarizer = Summarizer(lm, "<|sep|>")
    (found,) = summarizer.summaries(["c" * 60], max_length=10)
    assert [found] == list(summarizer.summaries(["c" * 29], max_length=10))
    (short,) = summarizer.summaries(["abcdeab"], max_length=10, document_tokens=3)
    assert [short] == list(summarizer.summaries(["abc"], max_length=10))


def test_words_are_forced_and_forbidden(lm):
    summarizer = Summarizer(lm, "<|sep|>")
    for search in ({}, {"temperature": 1.5}, {"beam": 3}):
        texts = list(summarizer.summaries(DOCUMENTS, max_length=12, force=["dad", "eb"], forbid=["c"], **search))
        assert all("dad" in text and "eb" in text and "c" not in text for text in texts)


SEARCHES = ({}, {"temperature": 1.5}, {"temperature": 1.0, "top_k": 2}, {"beam": 3})


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_a_forbidden_text_does_not_appear_whatever_pieces_spell_it(search):
    """A vocabulary with overlapping pieces: "abc" is a+b+c, ab+c, a+bc, " a"+bc, and inside of longer words."""
    symbols = ["a", "b", "c", "d", "Ġ", "ab", "bc", "Ġa", "cd", "Ġab", "<|endoftext|>"]
    merges = [("a", "b"), ("b", "c"), ("Ġ", "a"), ("c", "d"), ("Ġ", "ab")]
    dictionary = TokenDictionary(ByteLevelBPE({s: i for i, s in enumerate(symbols)}, merges))
    found = {True: "", False: ""}
    for seed in range(4):
        torch.manual_seed(seed)
        model = toy.randomize(new_model(CausalLanguageModel, SIZE, dictionary), seed, scale=0.3)
        summarizer = Summarizer(CausalLM(model, dictionary), "")
        for forbid in (False, True):
            options = {"forbid": ["abc", "da"]} if forbid else {}
            texts = summarizer.summaries(["a", "b c", "dab"], max_length=25, min_length=20, **options, **search)
            found[forbid] += "|".join(texts) + "|"
    assert "abc" in found[False] or "da" in found[False]
    assert "abc" not in found[True] and "da" not in found[True] and "Abc" not in found[True]


def test_a_character_of_several_bytes_is_forbidden_in_every_normal_form():
    summarizer = Summarizer(lm_of_bytes(), "")
    e_acute = [0xC3, 0xA9]
    (forms,) = [forbidden_forms([], ["e\u0301"])]
    assert summarizer.spelling(forms)(e_acute) and not summarizer.spelling(forms)([0xC3])


@pytest.mark.parametrize("hidden", ["a\u00adb", "a\u200bb", "a\ufeffb"])
def test_invisible_characters_do_not_hide_a_forbidden_text(hidden):
    completes = Summarizer(lm_of_bytes(), "").spelling(["ab"])
    assert completes(list(hidden.encode())) and not completes(list(hidden[:-1].encode()))
    assert Summarizer(lm_of_bytes(), "").spelling(["\u200b"])(list("a\u200b".encode()))
    assert completes(list(("c" + hidden[:-1] + 30 * "\u200b\ufe0f" + "b").encode()))
    with toy.refused("--force", "--forbid ab"):
        forbidden_forms([hidden], ["ab"])


def lm_of_bytes():
    symbols = sorted(bytes_to_unicode().items())
    dictionary = TokenDictionary(ByteLevelBPE({char: byte for byte, char in symbols} | {"<|endoftext|>": 256}, []))
    return CausalLM(new_model(CausalLanguageModel, SIZE, dictionary), dictionary)


@pytest.mark.parametrize("force, forbid", [("abc", "abc"), ("abcd", "bc"), ("Abc", "abc")])
def test_forcing_and_forbidding_the_same_text_is_an_error(lm, force, forbid):
    with toy.refused(f"--force {force}", "--forbid"):
        Summarizer(lm, "<|sep|>").summaries(DOCUMENTS, force=[force], forbid=[forbid], max_length=12)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"max_length": 40}, ["40 tokens"]),
        ({"max_length": 5, "min_length": 6}, [6, 5]),
        ({"beam": 2, "temperature": 1.0}, ["beam", "temperature"]),
        ({"force": ["abc"] * 9, "max_length": 20}, [27, 20]),
        ({"force": ["x"]}, ["'x'"]),
        ({"batch_size": 0}, ["batch_size 0"]),
        ({"document_tokens": 0}, ["document_tokens 0"]),
        ({"document_tokens": -3}, ["document_tokens -3"]),
    ],
)
def test_invalid_arguments_are_refused(lm, options, named):
    with toy.refused(*named):
        Summarizer(lm, "<|sep|>").summaries(DOCUMENTS, **{"max_length": 8, **options})


def test_the_separator_must_be_known(lm, tmp_path):
    with toy.refused("--separator <|other|>"):
        Summarizer(CausalLM(make(), make().decoder.dictionary), "<|other|>")
    path = str(tmp_path / "model.pt")
    write_causal_lm(path, make())
    with toy.refused("model.pt", "--task summarization", "--separator"):
        Summarizer.from_pretrained(path)
    assert Summarizer.from_pretrained(path, "<|sep|>").layout.separator == (len(make().decoder.dictionary) - 2,)


def test_a_document_without_a_token_needs_a_separator(lm):
    with toy.refused("document 1"):
        list(Summarizer(lm, "").summaries(["abcde", ""], max_length=5))
    assert len(list(Summarizer(lm, "<|sep|>").summaries(["abcde", ""], max_length=5))) == 2


def test_first_sentences():
    documents = ["One. Two. Three.", "A line\nand more."]
    assert list(Lead(2).summaries(documents)) == ["One.\nTwo.", "A line\nand more."]
    assert list(Lead(1).summaries(documents)) == ["One.", "A line"]


@pytest.fixture(scope="module")
def both():
    """A model and its twin in transformers."""
    transformers = pytest.importorskip("transformers")
    model = make(scale=0.4).eval()
    words, end = len(model.decoder.dictionary), model.decoder.dictionary.eos()
    config = transformers.GPT2Config(
        vocab_size=words, n_layer=2, n_head=2, n_embd=16, n_positions=40, bos_token_id=end, eos_token_id=end
    )
    twin = transformers.GPT2LMHeadModel(config).eval()
    twin.load_state_dict(gpt2.tensors_of(model), strict=False)
    tokens = torch.arange(words)[None]
    with torch.no_grad():
        torch.testing.assert_close(twin(tokens).logits, model(tokens)[0], atol=1e-4, rtol=0)
    return model, twin, end


@pytest.mark.slow
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (Search(), {}),
        (Search(beam=4), {"num_beams": 4, "early_stopping": "never"}),
        (Search(beam=4, length_penalty=0.0), {"num_beams": 4, "length_penalty": 0.0, "early_stopping": "never"}),
        (Search(beam=3, length_penalty=2.0), {"num_beams": 3, "length_penalty": 2.0, "early_stopping": "never"}),
    ],
    ids=["greedy", "beam", "beam, by sum", "beam, for long texts"],
)
def test_transformers_finds_the_same_texts(both, ours, theirs):
    model, twin, end = both
    draws = torch.Generator().manual_seed(3)
    prompts = [torch.randint(end, (length,), generator=draws) for length in range(1, 13)]
    found = generate(model, prompts, Constraints(end, 12, min_length=2, forbidden=((3,),)), ours)
    for prompt, text in zip(prompts, found, strict=True):
        rules = {"max_new_tokens": 12, "min_new_tokens": 2, "bad_words_ids": [[3]], "pad_token_id": end}
        expected = twin.generate(prompt[None], do_sample=False, **rules, **theirs)[0, len(prompt) :].tolist()
        expected = expected[: expected.index(end)] if end in expected else expected
        assert text == expected
    assert len({len(text) for text in found}) > 1, "some texts end, some do not"

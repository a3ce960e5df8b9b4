"""Text to arrays of tokens: reading returns the encoded text, wherever it was split for encoding."""

import gzip
import json
import os
import time

import numpy as np
import pytest
import toy

from plugins.data.text import token_corpus
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.sources import CorpusSpec
from plugins.data.text.token_corpus import TokenCorpus, cut, learn
from plugins.data.text.token_dictionary import TokenDictionary

TEXT = "\n".join(toy.sentences(30)) + "\n"


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def characters():
    return TokenDictionary(Characters(sorted(set(TEXT))))


def tokens(corpus, split):
    return np.asarray(corpus.split(split, 1).ids).tolist()


def test_a_file_is_a_document_that_is_cut_at_a_character(text, characters, cache):
    corpus = TokenCorpus(CorpusSpec((text,), valid_fraction=0.2), characters, cache)
    end = int(len(TEXT) * 0.8)
    eos = characters.eos()
    assert tokens(corpus, "train") == [eos, *characters.encode(TEXT[:end]).tolist()]
    assert tokens(corpus, "valid") == [eos, *characters.encode(TEXT[end:]).tolist()]


def test_records_are_documents_and_windows_span_several(tmp_path, characters, cache):
    lines = TEXT.splitlines()[:10]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    corpus = TokenCorpus(CorpusSpec((str(path),), valid_fraction=0.0), characters, cache)
    expected = [token for line in lines for token in (characters.eos(), *characters.encode(line).tolist())]
    assert tokens(corpus, "train") == expected
    assert corpus.split("train", 1).starts.tolist() == [0]


def test_several_files_follow_each_other(tmp_path, characters, cache):
    (tmp_path / "a.txt").write_text("a the")
    (tmp_path / "b.txt").write_text("near")
    corpus = TokenCorpus(CorpusSpec((str(tmp_path),), valid_fraction=0.0), characters, cache)
    assert characters.decode(tokens(corpus, "train")) == "<|endoftext|>a the<|endoftext|>near"


@pytest.mark.parametrize("size", [1, 7, 50])
def test_pieces_encode_to_what_the_whole_encodes_to(text, cache, size, monkeypatch):
    dictionary = learn("sentencepiece", 400, CorpusSpec((text,)), cache)
    whole = dictionary.encode(TEXT).tolist()
    chunks = [TEXT[i : i + 11] for i in range(0, len(TEXT), 11)]
    parts = list(cut(chunks, size))
    assert len(parts) > 20 or size == 50
    assert "".join(parts) == TEXT
    assert [token for part in parts for token in dictionary.tokenizer.encode(part)] == whole


def test_a_text_without_blanks_stays_whole():
    assert list(cut(["abc", "def"], 2)) == ["abcdef"]


def test_the_time_to_cut_a_text_without_blanks_is_linear():
    def seconds(count):
        start = time.process_time()
        assert len(list(cut(["x" * 1000] * count, 100))) == 1
        return time.process_time() - start

    assert min(seconds(10_000) for _ in range(3)) < 45 * min(seconds(1000) for _ in range(3))  # 100, were it quadratic


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_boundaries_across_chunks_are_found(chunk):
    text = "ab cd  ef gh"
    parts = list(cut([text[i : i + chunk] for i in range(0, len(text), chunk)], 1))
    assert parts == ["ab", " cd  ef", " gh"]


def test_opening_again_does_not_read_the_file(text, characters, cache, monkeypatch):
    spec = CorpusSpec((text,))
    first = tokens(TokenCorpus(spec, characters, cache), "train")
    monkeypatch.setattr(token_corpus, "encode", None)
    assert tokens(TokenCorpus(spec, characters, cache), "train") == first


def test_another_vocabulary_is_another_array(text, characters, cache):
    TokenCorpus(CorpusSpec((text,)), characters, cache)
    characters.add_symbol("<|summary|>")
    TokenCorpus(CorpusSpec((text,)), characters, cache)
    assert len(os.listdir(cache)) == 2


@pytest.mark.parametrize("kind", ["char", "sentencepiece"])
def test_a_learned_vocabulary_decodes_its_text_and_is_saved(text, cache, kind):
    dictionary = learn(kind, 400, CorpusSpec((text,)), cache)
    assert dictionary.decode(dictionary.encode(TEXT)) == TEXT
    assert dictionary.eos() == len(dictionary) - 1
    before = sorted(os.listdir(cache))
    assert learn(kind, 400, CorpusSpec((text,)), cache).symbols == dictionary.symbols
    assert sorted(os.listdir(cache)) == before


def test_a_sentencepiece_vocabulary_is_lossless(text, cache):
    dictionary = learn("sentencepiece", 400, CorpusSpec((text,)), cache)
    for other in ("  two  blanks ", "\n\n\tx\n", "שלום 🙂 \u00a0½", "", " "):
        assert dictionary.decode(dictionary.encode(other)) == other


def test_a_character_without_a_symbol_is_named_with_its_file(text, cache):
    with toy.refused(text):
        TokenCorpus(CorpusSpec((text,)), TokenDictionary(Characters("\n abcd")), cache)
    assert os.listdir(cache) == []


def test_too_little_text_for_a_window_is_named(text, characters, cache):
    corpus = TokenCorpus(CorpusSpec((text,), valid_fraction=0.01), characters, cache)
    with toy.refused(1001):
        corpus.split("valid", 1000)


def test_lines_that_a_model_is_trained_on_do_not_depend_on_the_pieces(monkeypatch):
    lines = ["one", "", "two three", "four"]
    for size in (1, 2, 5, 100):
        text = "\n".join(lines)
        assert list(token_corpus.sampled_lines(text[i : i + size] for i in range(0, len(text), size))) == lines
    monkeypatch.setattr(token_corpus, "SAMPLE_BYTES", 4)
    assert list(token_corpus.sampled_lines(["abc", "def", "g\nh"])) == ["abcdef", "g", "h"]


@pytest.mark.parametrize("kind", ["char", "sentencepiece"])
def test_a_vocabulary_does_not_depend_on_compression(tmp_path, text, cache, kind):
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress(TEXT.encode()))
    plain, other = (learn(kind, 400, CorpusSpec((str(path),)), cache) for path in (text, packed))
    assert plain.symbols == other.symbols

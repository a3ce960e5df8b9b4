"""Text to arrays of tokens: reading returns the encoded text, wherever it was split for encoding."""

import gzip
import json
import os
import time

import numpy as np
import pytest
import toy

from plugins.data.text import encoding, token_corpus
from plugins.data.text.causal_tokenizers import ByteLevelBPE, Characters
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


def test_the_first_end_of_a_document_in_a_text_is_named(tmp_path, characters, cache, caplog):
    path = tmp_path / "records.jsonl"
    records = ["the <end>", "<|endoftext|>", "the <|endoftext|> the"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in records))
    dictionary = TokenDictionary(Characters(sorted({*"".join(records)})))
    TokenCorpus(CorpusSpec((str(path),), valid_fraction=0.0), dictionary, cache)
    (message,) = caplog.messages
    assert "records.jsonl:2" in message and "<|endoftext|>" in message


def test_opening_again_does_not_read_the_file(text, characters, cache, monkeypatch):
    spec = CorpusSpec((text,))
    first = tokens(TokenCorpus(spec, characters, cache), "train")
    monkeypatch.setattr(token_corpus, "encode", None)
    assert tokens(TokenCorpus(spec, characters, cache), "train") == first


def test_other_merges_of_the_same_symbols_are_another_array(tmp_path, cache):
    path = tmp_path / "abc.txt"
    path.write_text("abc")
    vocabulary = {symbol: i for i, symbol in enumerate(["a", "b", "c", "ab", "bc"])}
    for merges, expected in (([("a", "b"), ("b", "c")], ["ab", "c"]), ([("b", "c"), ("a", "b")], ["a", "bc"])):
        dictionary = TokenDictionary(ByteLevelBPE(vocabulary, merges))
        ids = tokens(TokenCorpus(CorpusSpec((str(path),), valid_fraction=0.0), dictionary, cache), "train")
        assert [dictionary[i] for i in ids[1:]] == expected


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
    assert not os.path.exists(cache)


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


@pytest.mark.parametrize("size, dtype", [(256, "uint8"), (257, "uint16"), (2**16, "uint16"), (2**16 + 1, "uint32")])
def test_the_array_has_the_narrowest_type(text, cache, size, dtype):
    letters = sorted(set(TEXT))
    more = map(chr, range(0x10000, 0x10000 + size - 1 - len(letters)))  # the last symbol is the end of a document
    dictionary = TokenDictionary(Characters([*letters, *more]))
    assert len(dictionary) == size
    corpus = TokenCorpus(CorpusSpec((text,)), dictionary, cache)
    assert corpus.split("train", 1).ids.dtype == dtype
    assert tokens(corpus, "train")[0] == size - 1


def test_a_split_needs_one_token_more_than_a_window(tmp_path, characters, cache):
    train, valid = tmp_path / "train.txt", tmp_path / "valid.txt"
    train.write_text("near the window")
    valid.write_text("near")
    corpus = TokenCorpus(CorpusSpec((str(train),), valid_data=(str(valid),)), characters, cache)
    assert len(corpus.split("valid", 4)) == 5  # with the end of the document before
    with toy.refused(valid, "valid split has 5", "needs 6"):
        corpus.split("valid", 5)
    with toy.refused(train, "train split has 16", "needs 17"):
        corpus.split("train", 16)
    with toy.refused("'dev'", "train, valid, test"):
        corpus.split("dev", 1)


def test_a_split_that_is_cut_from_the_training_text_is_named_by_its_file(text, characters, cache):
    corpus = TokenCorpus(CorpusSpec((text,), test_fraction=0.0), characters, cache)
    with toy.refused(text, "test split has 0"):
        corpus.split("test", 1)


def test_a_file_without_text_is_named(tmp_path, text, characters, cache):
    (tmp_path / "empty.txt").write_text("\ufeff")
    with toy.refused(tmp_path / "empty.txt"):
        TokenCorpus(CorpusSpec((text, str(tmp_path / "empty.txt"))), characters, cache)


def test_a_vocabulary_has_the_characters_of_all_splits_cut_from_a_text_and_of_no_other(tmp_path, cache):
    (tmp_path / "a.txt").write_text("aaaaaaaaab")
    (tmp_path / "v.txt").write_text("c")
    spec = CorpusSpec((str(tmp_path / "a.txt"),), valid_fraction=0.1)
    assert learn("char", 0, spec, cache).symbols[:2] == ["a", "b"]
    given = CorpusSpec((str(tmp_path / "a.txt"),), valid_data=(str(tmp_path / "v.txt"),))
    assert learn("char", 0, given, cache).symbols[:2] == ["a", "b"]


def test_pieces_are_learned_from_the_training_split_alone(tmp_path, cache, monkeypatch):
    (tmp_path / "a.txt").write_text("aaaa\nbbbb\ncccc\ndd")
    seen = []

    class Stop(Exception):
        pass

    def train(lines, size):
        seen.extend([list(lines), size])
        raise Stop

    monkeypatch.setattr(token_corpus.SentencePieceTokenizer, "train_lossless", train)
    with pytest.raises(Stop):
        learn("sentencepiece", 77, CorpusSpec((str(tmp_path / "a.txt"),), valid_fraction=0.5), cache)
    assert seen == [["aaaa", "bbb"], 77]  # 8 of 17 characters


def test_the_beginning_of_a_document_follows_the_end_of_the_one_before():
    class Two:
        def eos(self):
            return 8

        def bos(self):
            return 9

    dictionary = Two()
    dictionary.tokenizer = type("T", (), {"encode": lambda self, text: [len(text)]})()
    assert list(token_corpus.encoded(["abc"], "a.txt", dictionary)) == [[8, 9], [3]]
    dictionary.bos = dictionary.eos
    assert list(token_corpus.encoded(["abc"], "a.txt", dictionary))[0] == [8]


class Bar:
    """Stands for tqdm: its length, and the progress."""

    made: list = []

    def __init__(self, desc, total, **options):
        self.total, self.done = total, 0
        self.made.append(self)

    def update(self, size):
        self.done += size

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize("module", [token_corpus, encoding])
def test_the_progress_of_two_passes_ends_at_its_length(tmp_path, text, characters, monkeypatch, module):
    monkeypatch.setattr(module, "tqdm", Bar)
    spec = CorpusSpec((text,))
    given = (spec, spec.sources(), characters) if module is token_corpus else (spec, spec.sources())
    module.encode(*given, str(tmp_path))
    assert Bar.made[-1].done == Bar.made[-1].total == 2 * len(TEXT)

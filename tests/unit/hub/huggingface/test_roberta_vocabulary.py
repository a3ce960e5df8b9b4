"""Vocabularies of RoBERTa and BERT folders as fairseq's, with a stand-in for transformers' tokenizer."""

import json
import sys
from types import SimpleNamespace

import pytest
import toy

from plugins.hub.huggingface import roberta_vocabulary as vocabulary

WORDS = ["<s>", "a", "</s>", "<pad>", "b", "<unk>", "<mask>"]
WORD_PIECE = {"model": {"type": "WordPiece"}, "normalizer": {
    "type": "BertNormalizer", "lowercase": True, "strip_accents": None, "clean_text": True,
    "handle_chinese_chars": True,
}}  # fmt: skip


class Theirs:
    """A tokenizer of transformers."""

    def __init__(self, words=WORDS, content=None, **named):
        names = {"bos_token": "<s>", "cls_token": None, "pad_token": "<pad>", "eos_token": "</s>", "sep_token": None,
                 "unk_token": "<unk>", "mask_token": "<mask>"}  # fmt: skip
        self.vocabulary = words if isinstance(words, dict) else {word: i for i, word in enumerate(words)}
        self.__dict__.update(names | named)
        self.backend_tokenizer = SimpleNamespace(
            to_str=lambda: json.dumps(content), get_vocab=lambda with_added_tokens: self.vocabulary
        )
        self.added_tokens_decoder = {}

    def get_vocab(self):
        return self.vocabulary

    def __len__(self):
        return len(self.vocabulary)


def test_special_symbols_are_found_by_their_roles(tmp_path):
    symbols, special = vocabulary.symbols_of(Theirs(), tmp_path, 7)
    assert symbols == dict(enumerate(WORDS))
    assert special == {"<s>": 0, "<pad>": 3, "</s>": 2, "<unk>": 5, "<mask>": 6}
    bert = Theirs(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], bos_token=None, cls_token="[CLS]", eos_token=None,
                  sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")  # fmt: skip
    assert vocabulary.symbols_of(bert, tmp_path, 5)[1] == {"<s>": 1, "<pad>": 0, "</s>": 2, "<unk>": 3, "<mask>": 4}


@pytest.mark.parametrize(
    ("theirs", "count", "named"),
    [
        (Theirs(mask_token=None), 7, ["<mask>", 7]),
        (Theirs(), 6, ["<mask>", 6]),
        (Theirs([*WORDS, "c"]), 7, ["'c'", 7]),
        (Theirs(pad_token="</s>"), 7, ["two of"]),
    ],
)
def test_symbols_that_do_not_fit_are_named(tmp_path, theirs, count, named):
    with toy.refused(tmp_path, *named):
        vocabulary.symbols_of(theirs, tmp_path, count)


def changed(**normalizer):
    return WORD_PIECE | {"normalizer": WORD_PIECE["normalizer"] | normalizer}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (WORD_PIECE, "wordpiece.txt"),
        (changed(lowercase=False), "wordpiece.cased.txt"),
        (changed(strip_accents=True), "wordpiece.txt"),
        (changed(strip_accents=False), None),
        (changed(lowercase=False, strip_accents=True), None),
        (changed(clean_text=False), None),
        (changed(handle_chinese_chars=False), None),
        (changed(type="Lowercase"), None),
        (WORD_PIECE | {"normalizer": None}, None),
        (WORD_PIECE | {"model": {"type": "BPE"}}, None),
    ],
)
def test_a_word_piece_is_cased_or_not(tmp_path, content, name):
    if name is None:
        with toy.refused(tmp_path):
            vocabulary.word_piece_file(Theirs(content=content), tmp_path)
    else:
        assert vocabulary.word_piece_file(Theirs(content=content), tmp_path) == name


def test_every_index_of_a_word_piece_has_a_symbol(tmp_path):
    with toy.refused(tmp_path, 2):
        vocabulary.word_piece_file(Theirs({"a": 0, "b": 2}, WORD_PIECE), tmp_path)


@pytest.mark.parametrize("merges", [["a b", "c d"], [["a", "b"], ["c", "d"]]])
def test_a_bpe_is_read_from_either_form(tmp_path, merges):
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": merges}
    theirs = Theirs(content={"model": model})
    assert vocabulary.bpe_of(theirs, tmp_path) == ({"a": 0}, ["#version: 0.2", "a b", "c d"])
    with toy.refused(tmp_path):
        vocabulary.bpe_of(Theirs(content={"model": {"type": "Unigram"}}), tmp_path)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read the vocabulary of a stand-in, whose encoding is not compared."""

    def read(theirs, count, **config):
        monkeypatch.setattr(vocabulary, "tokenizer_of", lambda source: theirs)
        monkeypatch.setattr(vocabulary.encoding_check, "check", lambda *given: None)
        return vocabulary.read(tmp_path, config, count)

    return read


def test_rows_are_special_symbols_then_words_then_the_mask(read):
    model = {"type": "BPE", "vocab": {word: i for i, word in enumerate(WORDS)}, "merges": ["a b"]}
    found = read(Theirs(content={"model": model}), 9)
    assert found.rows == [0, 3, 2, 5, 1, 4, 7, 8, 6]
    assert found.files["dict.txt"] == b"1 1\n4 1\nmadeupword0000 1\nmadeupword0001 1\n"
    assert json.loads(found.files["encoder.json"]) == {"a": 1, "b": 4}
    assert found.files["vocab.bpe"] == b"#version: 0.2\na b\n"


def test_a_stated_index_and_a_symbol_with_another_role_are_named(tmp_path, read):
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"model")
    with toy.refused(tmp_path, "'<mask>'"):
        read(Theirs([*WORDS, "<mask2>"], mask_token="<mask2>"), 8)
    (tmp_path / "added_tokens.json").write_text('{"b": 5}')
    with toy.refused(tmp_path / "added_tokens.json", "'b'", 5, 4):
        read(Theirs(), 8)


def test_pieces_of_sentencepiece_are_words(tmp_path, read):
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"model")
    found = read(Theirs(), 8)
    assert found.files == {"sentencepiece.bpe.model": b"model", "dict.txt": b"a 1\nb 1\nmadeupword0000 1\n"}
    assert found.rows == [0, 3, 2, 5, 1, 4, 7, 6]


def test_symbols_of_a_bert_are_written_in_order(read):
    found = read(Theirs(["[CLS]", *WORDS[1:]], WORD_PIECE, bos_token="[CLS]"), 7, model_type="bert")
    assert found.files == {
        "wordpiece.txt": "".join(f"{word}\n" for word in ["[CLS]", *WORDS[1:]]).encode(),
        "dict.txt": b"a 1\nb 1\n",
    }


@pytest.mark.parametrize("names", [("dict.txt", "sentencepiece.bpe.model"), ("encoder.json", "vocab.bpe", "dict.txt"),
                                   ("dict.txt", "wordpiece.txt"), ("dict.txt", "wordpiece.cased.txt")])  # fmt: skip
def test_a_folder_that_we_exported_keeps_its_files(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text(name)
    found = vocabulary.read(tmp_path, {}, 6)
    assert found.rows == [0, 1, 2, 3, 4, 5] and found.files == {name: name.encode() for name in names}
    with toy.refused(tmp_path / "dict.txt", 6, 7):
        vocabulary.read(tmp_path, {}, 7)


def test_a_missing_folder_is_named(tmp_path):
    with toy.refused(tmp_path / "nowhere"):
        vocabulary.read(tmp_path / "nowhere", {}, 4)


@pytest.fixture
def reading(monkeypatch):
    """transformers, whose tokenizers cannot be read."""

    class AutoTokenizer:
        @staticmethod
        def from_pretrained(path, local_files_only, trust_remote_code):
            assert local_files_only and not trust_remote_code
            raise OSError(f"no tokenizer\nin {path}")

    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoTokenizer=AutoTokenizer))


def test_a_tokenizer_that_cannot_be_read_is_named(tmp_path, reading, monkeypatch):
    with toy.refused(tmp_path, "no tokenizer in"):
        vocabulary.tokenizer_of(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with toy.refused(tmp_path, "pip install transformers"):
        vocabulary.tokenizer_of(tmp_path)


def test_a_leading_blank_is_not_supported_except_of_sentencepiece(tmp_path, reading):
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    with toy.refused(tmp_path / "tokenizer_config.json", "add_prefix_space"):
        vocabulary.tokenizer_of(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").touch()
    with toy.refused("no tokenizer in"):
        vocabulary.tokenizer_of(tmp_path)

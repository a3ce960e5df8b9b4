"""Finding the tokenizer of a folder, and its word boundaries."""

import json

import pytest
import toy

from plugins.data.dictionaries import MaskDictionary
from plugins.data.text import bpe


def test_a_sentencepiece_model_is_found(toy_data):
    found = bpe.find(toy_data)
    assert found._name == "sentencepiece"
    assert found.sentencepiece_model == str(toy_data / "sentencepiece.bpe.model")


def test_gpt2s_files_are_found_only_together(tmp_path):
    (tmp_path / "encoder.json").write_text("{}")
    assert bpe.find(tmp_path) is None
    (tmp_path / "vocab.bpe").write_text("#version\n")
    found = bpe.find(tmp_path)
    assert (found._name, found.gpt2_encoder_json) == ("gpt2", str(tmp_path / "encoder.json"))


def test_words_start_at_sentencepieces_mark(toy_data):
    dictionary = toy.make_task(toy_data).dictionary
    starts = bpe.word_starts(toy_data, dictionary)
    assert len(starts) == len(dictionary)
    assert starts[:4].all()
    for index, word in enumerate(dictionary.symbols[4:], 4):
        if not word.startswith(("madeupword", "<")):
            assert starts[index] == word.startswith("\u2581")
    assert 0 < starts.sum() < len(starts)


def test_words_start_at_gpt2s_spaces(tmp_path):
    (tmp_path / "encoder.json").write_text(json.dumps({"\u0120the": 0, "re": 1, "\u0120": 2, "a": 3}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n\u0120 t\n")
    dictionary = MaskDictionary()
    for word in ["0", "1", "2", "3", "madeupword0000"]:
        dictionary.add_symbol(word)
    dictionary.add_mask()
    assert bpe.word_starts(tmp_path, dictionary)[4:9].tolist() == [True, False, True, False, True]


def test_no_tokenizer_is_an_error_that_names_the_flag(tmp_path):
    with toy.refused(tmp_path, "--mask-whole-words"):
        bpe.word_starts(tmp_path, MaskDictionary())


def test_the_preferred_tokenizer_comes_first(tmp_path):
    for name in ("encoder.json", "vocab.bpe", "sentencepiece.bpe.model"):
        (tmp_path / name).touch()
    assert bpe.find(tmp_path)._name == "sentencepiece" and bpe.find(tmp_path, "gpt2")._name == "gpt2"


@pytest.mark.parametrize(("name", "cased"), [("wordpiece.txt", False), ("wordpiece.cased.txt", True)])
def test_word_pieces_are_cased_by_their_name(tmp_path, name, cased):
    (tmp_path / name).touch()
    assert bpe.find(tmp_path) == {"_name": "bert", "bpe_vocab_file": str(tmp_path / name), "bpe_cased": cased}


def test_a_missing_library_is_named_with_the_file(monkeypatch, tmp_path):
    def fail(options):
        raise ImportError("install it")

    monkeypatch.setattr(bpe.encoders, "build_bpe", fail)
    (tmp_path / "wordpiece.txt").touch()
    with toy.refused(tmp_path / "wordpiece.txt", "install it"):
        bpe.build(bpe.find(tmp_path))


def test_files_are_copied_where_they_differ(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir(), new.mkdir()
    for name in ("dict.txt", "encoder.json", "notes.txt"):
        (old / name).write_text(name)
    (new / "dict.txt").write_text("DICT.txt")
    (new / "encoder.json").write_text("encoder.json")
    before = (new / "encoder.json").stat().st_ino
    bpe.copy(old, new)
    assert {path.name: path.read_text() for path in new.iterdir()} == {
        "dict.txt": "dict.txt",
        "encoder.json": "encoder.json",
    }
    assert (new / "encoder.json").stat().st_ino == before  # the same content is not written again

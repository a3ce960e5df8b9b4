"""Splits, the cache on disk, and errors."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import toy

from plugins.data.text import sources
from plugins.data.text.char_corpus import open_corpus
from plugins.data.text.char_dictionary import CharDictionary
from plugins.data.text.sources import CorpusSpec, Reading


def spec(*paths, reading=None, **options):
    return CorpusSpec(tuple(map(str, paths)), Reading(**(reading or {})), **options)


def content(corpus, name, dictionary=None, window=1):
    """Return [(style, text)] of the documents of a split."""
    dictionary = dictionary or corpus.dictionary()
    split = corpus.split(name, dictionary, corpus.styles, window)
    labels = [None] * len(split.starts) if split.labels is None else [corpus.styles[i] for i in split.labels]
    spans = zip(labels, split.starts, split.ends, strict=True)
    return [
        (label, dictionary.decode(split.read(np.array([start]), end - start)[0]))
        for label, start, end in spans
    ]  # fmt: skip


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abcdefghij" * 9 + "jihgfedcba", encoding="utf-8")
    return path


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def records(path, *pairs):
    path.write_text("".join(json.dumps({"style": style, "text": text}) + "\n" for style, text in pairs))
    return path


def test_a_file_is_cut_as_nanogpt_cuts_it(text, cache):
    corpus = open_corpus(spec(text), cache)
    assert content(corpus, "train") == [(None, "abcdefghij" * 9)]
    assert content(corpus, "valid") == [(None, "jihgfedcba")]


def test_tinyshakespeare_has_nanogpts_published_sizes(golden, cache):
    path = golden.parent / "data" / "tinyshakespeare.txt"
    corpus = open_corpus(spec(path), cache)
    dictionary = corpus.dictionary()
    sizes = [len(corpus.split(name, dictionary, [], 256)) for name in ("train", "valid")]
    assert (sizes, len(dictionary)) == ([1_003_854, 111_540], 65)


def test_every_file_is_cut_by_itself_and_is_a_document(tmp_path, cache):
    (tmp_path / "a.txt").write_text("a" * 10)
    (tmp_path / "b.txt").write_text("ab" * 10)
    corpus = open_corpus(spec(tmp_path / "a.txt", tmp_path / "b.txt", test_fraction=0.2), cache)
    assert content(corpus, "train") == [(None, "a" * 7), (None, "ab" * 7)]
    assert content(corpus, "valid") == [(None, "a"), (None, "ab")]
    assert content(corpus, "test") == [(None, "aa"), (None, "abab")]


def test_cuts_do_not_depend_on_the_chunks_that_are_read(tmp_path, text, monkeypatch):
    whole = open_corpus(spec(text, test_fraction=0.13), str(tmp_path / "one"))
    monkeypatch.setattr(sources, "CHUNK", 7)
    pieces = open_corpus(spec(text, test_fraction=0.13), str(tmp_path / "two"))
    for split in ("train", "valid", "test"):
        assert content(whole, split) == content(pieces, split)


def test_jsonl_is_cut_between_documents_each_style_by_itself(tmp_path, cache):
    path = records(tmp_path / "a.jsonl", ("x", "aaaa"), ("x", "bbbb"), ("x", "ab"), ("y", "abab"), ("y", "bb"))
    corpus = open_corpus(spec(path, reading={"style_from": "jsonl"}, valid_fraction=0.25), cache)
    assert corpus.styles == ["x", "y"]
    assert content(corpus, "train") == [("x", "aaaa"), ("y", "abab")]
    assert content(corpus, "valid") == [("x", "bbbb"), ("x", "ab"), ("y", "bb")]


def test_given_files_are_whole_splits(tmp_path, text, cache):
    (tmp_path / "v.txt").write_text("abc" * 5)
    (tmp_path / "t.txt").write_text("cba" * 5)
    files = {"valid_data": (str(tmp_path / "v.txt"),), "test_data": (str(tmp_path / "t.txt"),)}
    corpus = open_corpus(spec(text, **files), cache)
    assert content(corpus, "train") == [(None, text.read_text())]
    assert content(corpus, "valid") == [(None, "abc" * 5)]
    assert content(corpus, "test") == [(None, "cba" * 5)]


def test_all_of_a_text_can_be_for_validation(text, cache):
    corpus = open_corpus(spec(text, valid_fraction=1.0), cache)
    assert content(corpus, "valid", CharDictionary("abcdefghij")) == [(None, text.read_text())]
    with toy.refused("text.txt"):
        corpus.dictionary()


@pytest.mark.parametrize("alphabet, dtype", [(256, "uint8"), (257, "uint16")])
def test_the_array_has_the_narrowest_type(tmp_path, cache, alphabet, dtype):
    path = tmp_path / "a.txt"
    path.write_text("".join(map(chr, range(200, 200 + alphabet))) * 2, encoding="utf-8")
    corpus = open_corpus(spec(path, valid_fraction=0), cache)
    split = corpus.split("train", corpus.dictionary(), [], 1)
    assert isinstance(split.ids, np.memmap)
    assert split.ids.dtype == dtype


def test_the_ids_are_those_of_the_dictionary_given(text, cache):
    corpus = open_corpus(spec(text), cache)
    assert content(corpus, "valid", CharDictionary("ABabcdefghijk")) == [(None, "jihgfedcba")]


def test_the_styles_are_numbered_as_the_list_given(tmp_path, cache):
    for name in ("drama", "novel"):
        (tmp_path / f"{name}.txt").write_text("abcd" * 10)
    corpus = open_corpus(spec(tmp_path / "drama.txt", tmp_path / "novel.txt", reading={"style_from": "file"}), cache)
    split = corpus.split("train", corpus.dictionary(), ["novel", "poem", "drama"], 1)
    assert split.labels.tolist() == [2, 0]
    with toy.refused("'drama'", "novel", "poem", "ckpt.pt"):
        corpus.split("train", corpus.dictionary(), ["novel", "poem"], 1, "ckpt.pt")


def test_it_is_written_once_and_again_when_a_file_changes(text, cache):
    open_corpus(spec(text), cache)
    (folder,) = os.scandir(cache)
    written = os.stat(os.path.join(folder, "corpus.json")).st_mtime_ns
    open_corpus(spec(text), cache)
    assert os.stat(os.path.join(folder, "corpus.json")).st_mtime_ns == written
    text.write_text("abc" * 20)
    assert content(open_corpus(spec(text), cache), "train") == [(None, "abc" * 18)]
    (new,) = os.scandir(cache)  # the outdated one is gone
    assert new.name != folder.name


def test_caches_of_different_options_coexist(text, cache):
    open_corpus(spec(text), cache)
    open_corpus(spec(text, valid_fraction=0.2), cache)
    assert len(os.listdir(cache)) == 2


def test_a_failed_opening_writes_no_cache(tmp_path, cache):
    (tmp_path / "a.txt").write_bytes(b"abc" * 10 + b"\xff")
    with toy.refused():
        open_corpus(spec(tmp_path / "a.txt"), cache)
    assert not os.path.exists(cache)


def test_of_two_processes_the_first_to_finish_wins(text, cache, monkeypatch):
    rename = os.rename

    def beaten(old, new):
        shutil.copytree(old, new)  # the other process finishes just before
        rename(old, new)

    monkeypatch.setattr(os, "rename", beaten)
    corpus = open_corpus(spec(text), cache)
    assert content(corpus, "valid") == [(None, "jihgfedcba")]
    assert len(os.listdir(cache)) == 1


def test_an_edit_of_equal_size_with_its_time_restored_is_noticed(text, cache):
    open_corpus(spec(text), cache)
    before = os.stat(text)
    text.write_text(text.read_text().upper(), encoding="utf-8")
    os.utime(text, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content(open_corpus(spec(text), cache), "valid") == [(None, "JIHGFEDCBA")]


def test_the_modification_time_of_a_file_has_no_effect(text, cache):
    open_corpus(spec(text), cache)
    os.utime(text, (1, 1))
    with unwritable():
        assert content(open_corpus(spec(text), cache), "valid") == [(None, "jihgfedcba")]


@contextmanager
def unwritable():
    """Fail a test that writes a cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plugins.data.text.cache.write", None)
        yield


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def another_length(path):
    path.write_text(path.read_text().replace('"length": 90', '"length": 91'))


def nested(path):
    path.write_text("[" * 100_000)


DAMAGE = [
    ("train.bin", zeros), ("train.bin", truncated), ("train.bin", os.unlink), ("valid.starts.npy", zeros),
    ("corpus.json", truncated), ("corpus.json", zeros), ("corpus.json", os.unlink), ("corpus.json", another_length),
    ("corpus.json", nested),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_cache_is_rebuilt(text, cache, name, damage):
    expected = content(open_corpus(spec(text), cache), "train")
    (folder,) = os.scandir(cache)
    damage(Path(folder.path, name))
    assert content(open_corpus(spec(text), cache), "train") == expected
    with unwritable():
        assert content(open_corpus(spec(text), cache), "train") == expected


def test_a_file_in_the_place_of_a_cache_entry_is_replaced(text, cache):
    open_corpus(spec(text), cache)
    (folder,) = os.scandir(cache)
    shutil.rmtree(folder.path)
    Path(folder.path).write_text("x")
    assert content(open_corpus(spec(text), cache), "valid") == [(None, "jihgfedcba")]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, text):
    (tmp_path / "file").write_text("x")
    with toy.refused("file/cache", "--data-cache"):
        open_corpus(spec(text), str(tmp_path / "file" / "cache"))


def test_characters_of_the_validation_part_are_in_the_dictionary_as_in_nanogpt(tmp_path, cache):
    path = tmp_path / "a.txt"
    path.write_text("abcde" * 18 + "abcdefghij", encoding="utf-8")
    corpus = open_corpus(spec(path), cache)
    assert corpus.dictionary().characters == list("abcdefghij")
    assert content(corpus, "valid") == [(None, "abcdefghij")]


def test_a_character_that_occurs_only_in_a_validation_file_is_located(tmp_path, cache):
    train, valid = tmp_path / "a.txt", tmp_path / "b.txt"
    train.write_text("abcde\n" * 15, encoding="utf-8")
    valid.write_text("abc\nabéde\nabé\n", encoding="utf-8")
    corpus = open_corpus(spec(train, valid_data=(str(valid),)), cache)
    with toy.refused("b.txt", "'é'", "U+00E9", 7):
        corpus.split("valid", corpus.dictionary(), [], 4)


def test_a_character_missing_from_the_checkpoint_is_located(tmp_path, cache):
    path = records(tmp_path / "a.jsonl", ("x", "abc"), ("x", "abz"), ("x", "abcabc"))
    with toy.refused("a.jsonl:2", "'z'", 3, "ckpt.pt"):
        open_corpus(spec(path), cache).split("train", CharDictionary("abc"), [], 2, "ckpt.pt")


def test_a_split_shorter_than_a_window_is_refused(text, cache):
    corpus = open_corpus(spec(text), cache)
    assert len(corpus.split("valid", corpus.dictionary(), [], 9)) == 10
    with toy.refused("text.txt", 100, 10, 11):
        corpus.split("valid", corpus.dictionary(), [], 10)


def test_an_unknown_split_is_refused(text, cache):
    corpus = open_corpus(spec(text), cache)
    with toy.refused("'dev'"):
        corpus.split("dev", corpus.dictionary(), [], 1)


def test_a_style_without_text_to_train_on_is_refused(tmp_path, cache):
    path = records(tmp_path / "a.jsonl", ("x", "aaaa"), ("x", "bbbb"), ("y", "abab"))
    with toy.refused("a.jsonl:3", "'y'"):
        content(open_corpus(spec(path, reading={"style_from": "jsonl"}), cache), "train")


def test_a_file_with_only_a_byte_order_mark_is_empty(tmp_path, cache):
    (tmp_path / "a.txt").write_text("\ufeff")
    with toy.refused("a.txt"):
        open_corpus(spec(tmp_path / "a.txt"), cache)


def test_training_and_validation_text_of_one_file_are_disjoint_and_whole(tmp_path, cache):
    path = tmp_path / "a.txt"
    path.write_text("".join(chr(0x4E00 + i) for i in range(997)), encoding="utf-8")  # no character occurs twice
    corpus = open_corpus(spec(path, valid_fraction=0.13, test_fraction=0.29), cache)
    dictionary = corpus.dictionary()
    texts = [content(corpus, split, dictionary)[0][1] for split in ("train", "valid", "test")]
    assert "".join(texts) == path.read_text(encoding="utf-8")
    assert list(map(len, texts)) == [578, 129, 290]


def test_records_of_one_style_are_in_one_split_each(tmp_path, cache):
    path = records(tmp_path / "a.jsonl", *(("x", f"{i:03d}") for i in range(50)))
    corpus = open_corpus(spec(path, reading={"style_from": "jsonl"}, valid_fraction=0.2), cache)
    dictionary = corpus.dictionary()
    train, valid = ([text for _, text in content(corpus, split, dictionary)] for split in ("train", "valid"))
    assert train + valid == [f"{i:03d}" for i in range(50)] and len(valid) == 10


def test_ids_are_translated_only_where_the_dictionary_has_others(text, cache):
    corpus = open_corpus(spec(text), cache)
    assert corpus.split("train", corpus.dictionary(), [], 1).table is None
    table = corpus.split("train", CharDictionary("jabcdefghi"), [], 1).table
    assert table.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_several_files_are_named_by_the_first_and_their_number(tmp_path, cache):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name * 10)
    corpus = open_corpus(spec(tmp_path / "a.txt", tmp_path / "b.txt", valid_data=(str(tmp_path / "c.txt"),)), cache)
    with toy.refused("a.txt and 1 more", "20 characters", "needs 21"):
        corpus.split("train", corpus.dictionary(), [], 20)
    with toy.refused("c.txt: 10 characters", "has 10", "needs 12"):
        corpus.split("valid", corpus.dictionary(), [], 11)


def test_a_character_far_into_a_file_is_counted_from_one(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 4)
    (tmp_path / "a.txt").write_text("abababababaz")
    with toy.refused("a.txt", "'z'", "character 12"):
        open_corpus(spec(tmp_path / "a.txt", valid_fraction=0), cache).split("train", CharDictionary("ab"), [], 2)


def test_an_empty_split_has_no_unknown_style(tmp_path, cache):
    path = records(tmp_path / "a.jsonl", ("x", "aaaa"), ("x", "bbbb"))
    corpus = open_corpus(spec(path, reading={"style_from": "jsonl"}, valid_fraction=0), cache)
    assert content(corpus, "train") == [("x", "aaaa"), ("x", "bbbb")]
    with toy.refused("valid"):
        corpus.split("valid", corpus.dictionary(), ["x"], 1)

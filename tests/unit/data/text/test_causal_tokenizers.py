"""Tokenizers of causal LMs: which file of a folder is read, and what is refused."""

import json

import pytest
import toy

from plugins.data.text import causal_tokenizers as causal
from plugins.data.text.causal_tokenizers import ByteLevelBPE, Characters, SentencePieceVocabulary, read_tokenizer
from plugins.data.text.tokenizers import SentencePieceTokenizer

VOCABULARY = {"a": 0, "b": 1, "ab": 2, "Ġ": 3}


def write_bpe(folder, names=("vocab.json", "merges.txt"), vocabulary=VOCABULARY):
    (folder / names[0]).write_text(json.dumps(vocabulary))
    (folder / names[1]).write_text("#version: 0.2\n\na b\n")


def tokenizer_json(**changes):
    content = {
        "added_tokens": [{"content": "<|endoftext|>", "id": 4}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "model": {"type": "BPE", "vocab": VOCABULARY, "merges": ["a b"]},
    }
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            content[part] = content[part] | {key: value}
        else:
            content[name] = value
    return content


def test_bytes_are_merged_and_text_is_decoded(tmp_path):
    write_bpe(tmp_path)
    bpe = read_tokenizer(tmp_path)
    assert bpe.symbols == ["a", "b", "ab", "Ġ"] and bpe.extra == {}
    assert bpe.encode("ab ba") == [2, 3, 1, 0]
    assert bpe.decode([2, 3, 1, 0]) == "ab ba"
    assert ByteLevelBPE({"é": 0, "☃": 1, "a": 2}, []).decode([1, 0, 2]) == "☃\ufffda"  # é is a byte, ☃ is none
    assert bpe.files() == {
        "vocab.json": b'{"a": 0, "b": 1, "ab": 2, "\xc4\xa0": 3}', "merges.txt": b"#version: 0.2\na b\n"
    }  # fmt: skip
    with toy.refused("vocab.json", "0x63"):
        bpe.encode("abc")


def test_files_of_a_folder_are_searched_in_order(tmp_path):
    (tmp_path / "characters.json").write_text('["x", "y"]')
    assert isinstance(read_tokenizer(tmp_path), Characters)
    model = SentencePieceTokenizer.train_lossless(["a b c"] * 9, 300).files()["sentencepiece.bpe.model"]
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model)
    assert isinstance(read_tokenizer(tmp_path), SentencePieceVocabulary)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(added_tokens=None)))
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    assert read_tokenizer(tmp_path).symbols == ["a", "b", "ab", "Ġ"]  # of tokenizer.json
    (tmp_path / "tokenizer.json").unlink()
    write_bpe(tmp_path, ("encoder.json", "vocab.bpe"), {"q": 0})
    write_bpe(tmp_path)
    assert read_tokenizer(tmp_path).symbols == ["a", "b", "ab", "Ġ"]  # of vocab.json
    (tmp_path / "merges.txt").unlink()
    with toy.refused("encoder.json"):  # whose merge has no symbol
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["a.model", "tokenizer.json", "characters.json", "notes.txt"])
def test_a_damaged_or_unknown_file_is_named(tmp_path, name):
    (tmp_path / name).write_text("[1]")
    with toy.refused(tmp_path / name):
        read_tokenizer(tmp_path / name)


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with toy.refused(tmp_path, "vocab.json", "characters.json"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ['["ab"]', "[1]", '["a", "a"]'])
def test_characters_are_single_and_different(tmp_path, content):
    (tmp_path / "characters.json").write_text(content)
    with toy.refused(tmp_path / "characters.json"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize("merges", [[("a",)], [("a", "b", "a")], [("b", "a")]])
def test_a_merge_is_two_symbols_that_give_one(merges):
    with toy.refused("source"):
        ByteLevelBPE(VOCABULARY, merges, source="source")


@pytest.mark.parametrize(
    ("indices", "named"),
    [
        ({"a": 1}, [0, "'a'"]),
        ({"a": 0, "b": 2}, [1, "'b'", 2]),
        ({"b": 0, "a": -1}, [0, "'a'", -1]),
        ({"a": 0, "b": 1, "c": 1}, ["'b'", "'c'", 1]),
        ({}, [0]),
        ({"a": "x", "b": 0}, ["'a'", "'x'"]),
        ({"a": 0.0}, ["'a'"]),
        ({"b": 0, "a": True}, ["'a'"]),
    ],
)
def test_indices_have_no_gap_and_are_different_integers(indices, named):
    with toy.refused("source", *named):
        causal.in_order(indices, "source")


def test_symbols_are_in_the_order_of_their_indices():
    assert causal.in_order({"b": 1, "c": 2, "a": 0}, "source") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"normalizer": None, "model__dropout": None, "model__byte_fallback": False}, True),
        ({"pre_tokenizer__use_regex": True}, True),
        ({"normalizer": {"type": "NFC"}}, False),
        ({"model__dropout": 0.1}, False),
        ({"model__continuing_subword_prefix": "##"}, False),
        ({"model__end_of_word_suffix": "</w>"}, False),
        ({"model__byte_fallback": True}, False),
        ({"model__ignore_merges": True}, False),
        ({"model__type": "WordPiece"}, False),
        ({"pre_tokenizer__type": "Whitespace"}, False),
        ({"pre_tokenizer__add_prefix_space": True}, False),
        ({"pre_tokenizer__use_regex": False}, False),
        ({"pre_tokenizer": None}, False),
        ({"model": None}, False),
    ],
)
def test_only_gpt2s_options_are_encoded_here(changes, plain):
    assert bool(causal.is_gpt2(tokenizer_json(**changes))) is plain


def library(tmp_path, content, config=None):
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return read_tokenizer(tmp_path)


def complete(token, number, **more):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": token, **flags, **more}


FULL = tokenizer_json(
    pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    decoder={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
)


@pytest.mark.parametrize(
    ("tokens", "config", "kind", "ends"),
    [
        (["<|endoftext|>"], None, "ByteLevelBPE", None),
        (["</s>"], {}, "ByteLevelBPE", None),
        (["<end>"], {"eos_token": "<end>"}, "ByteLevelBPE", None),
        (["<end>"], {"eos_token": {"content": "<end>"}, "bos_token": {"content": "<end>"}}, "ByteLevelBPE", None),
        (["<s>", "</s>"], {"bos_token": "<s>", "eos_token": "</s>"}, "LibraryTokenizer", ("<s>", "</s>")),
        (["<begin>", "x"], {"bos_token": "<begin>"}, "LibraryTokenizer", ("<begin>", "<begin>")),
        (["<end>", "x"], {"eos_token": "<end>"}, "LibraryTokenizer", ("<end>", "<end>")),
        (["</s>", "x"], {}, "LibraryTokenizer", ("</s>", "</s>")),
        (["x"], None, "LibraryTokenizer", None),
    ],
)  # fmt: skip
def test_added_tokens_and_ends_decide_who_encodes(tmp_path, tokens, config, kind, ends):
    content = FULL | {"added_tokens": [complete(token, 4 + i) for i, token in enumerate(tokens)]}
    found = library(tmp_path, content, config)
    assert type(found).__name__ == kind and getattr(found, "ends", None) == ends
    if kind == "ByteLevelBPE":
        assert found.extra == {tokens[0]: 4}


@pytest.mark.parametrize(
    ("tokens", "named"),
    [
        ([complete("x", 9)], ["'x'", 9, 4]),
        ([complete("a", 4), complete("x", 4)], ["'a'", 4, 0]),
        ([complete("a", 4, special=False)], ["'a'", 4, 0]),
        ([complete("x", 4), complete("x", 5)], ["'x'", 5, 4]),
        ([complete("</s>", 5), complete("</s>", 4)], ["'</s>'", 5, 4]),
    ],
)
def test_an_added_token_with_another_index_is_named(tmp_path, tokens, named):
    with toy.refused(tmp_path / "tokenizer.json", *named):
        library(tmp_path, FULL | {"added_tokens": tokens})


def test_special_tokens_match_in_text_unless_they_are_split(tmp_path):
    content = FULL | {"added_tokens": [complete("ab", 4), complete("<end>", 5)]}
    content["model"] = content["model"] | {"vocab": VOCABULARY | {"ab": 2}}
    content["added_tokens"][0] = complete("aa", 4)
    for split, expected in ((False, [4, 1]), (True, [0, 2])):
        found = library(tmp_path, content, {"eos_token": "<end>", "split_special_tokens": split})
        assert found.encode("aab") == expected


@pytest.mark.parametrize("key, value", [
    ("bos_token", [1]), ("eos_token", [["a"]]), ("eos_token", {"content": 3}), ("split_special_tokens", "false"),
])  # fmt: skip
def test_a_key_of_another_type_is_named_with_its_file(tmp_path, key, value):
    with toy.refused("tokenizer_config.json", key):
        library(tmp_path, FULL | {"added_tokens": [complete("<end>", 4)]}, {key: value})


def test_a_text_of_a_token_is_written_in_two_ways():
    assert [causal.content_of(token) for token in ("a", {"content": "b"}, {}, None)] == ["a", "b", None, None]

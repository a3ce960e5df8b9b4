"""Indices of added tokens, as the files of a folder state them."""

import json
from types import SimpleNamespace

import pytest
import toy

from plugins.hub.huggingface import added_tokens

MODEL = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}


def in_added(pairs):
    return "added_tokens.json", dict(pairs)


def in_decoder(pairs):
    return "tokenizer_config.json", {"added_tokens_decoder": {str(i): {"content": token} for token, i in pairs}}


def in_library(pairs):
    return "tokenizer.json", {"model": MODEL, "added_tokens": [{"content": token, "id": i} for token, i in pairs]}


FORMS = pytest.mark.parametrize("form", [in_added, in_decoder, in_library], ids=lambda form: form.__name__)


def write(folder, form, *pairs):
    name, content = form(pairs)
    (folder / name).write_text(json.dumps(content))
    return folder / name


@FORMS
def test_the_right_indices_are_accepted(tmp_path, form):
    path = write(tmp_path, form, ("<x>", 2), ("b", 1))
    stated = added_tokens.read(tmp_path)
    assert stated == {path: [("<x>", 2), ("b", 1)]}
    added_tokens.check_stated(stated, {"a": 0, "b": 1, "<x>": 2})


@FORMS
@pytest.mark.parametrize("index", [1, 3, 10**6])
def test_another_index_is_an_error_that_names_file_and_token(tmp_path, form, index):
    path = write(tmp_path, form, ("<x>", index))
    with toy.refused(path, "'<x>'", index, 2):
        added_tokens.check_stated(added_tokens.read(tmp_path), {"a": 0, "b": 1, "<x>": 2})


@FORMS
def test_a_negative_index_and_a_shared_one_are_named(tmp_path, form):
    path = write(tmp_path, form, ("<x>", -1))
    with toy.refused(path, "'<x>'", -1):
        added_tokens.read(tmp_path)
    if form is not in_decoder:  # whose keys are the indices
        write(tmp_path, form, ("<x>", 2), ("<y>", 2))
        with toy.refused(path, "'<x>'", "'<y>'", 2):
            added_tokens.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [("added_tokens.json", {"<x>": "2"}, "'<x>'"), ("added_tokens.json", {"<x>": 2.0}, "'<x>'"),
     ("added_tokens.json", {"<x>": True}, "'<x>'"), ("added_tokens.json", ["<x>"], "added_tokens.json"),
     ("tokenizer_config.json", {"added_tokens_decoder": {"two": "<x>"}}, "'<x>'"),
     ("tokenizer_config.json", {"added_tokens_decoder": {"2": {"content": None}}}, 2),
     ("tokenizer_config.json", {"added_tokens_decoder": ["<x>"]}, "added_tokens_decoder")],
)  # fmt: skip
def test_another_type_is_named(tmp_path, name, content, named):
    (tmp_path / name).write_text(json.dumps(content))
    with toy.refused(tmp_path / name, named):
        added_tokens.read(tmp_path)


def test_tokens_that_a_text_contains_are_those_without_a_role():
    flags = {0: ("<s>", True), 1: ("<s>NOTUSED", True), 2: ("word", False), 3: ("<sep2>", True)}
    theirs = SimpleNamespace(
        added_tokens_decoder={i: SimpleNamespace(content=w, special=special) for i, (w, special) in flags.items()},
        backend_tokenizer=SimpleNamespace(get_vocab=lambda with_added_tokens: {"<s>NOTUSED": 1, "word": 2}),
    )
    assert added_tokens.of_tokenizer(theirs, [0]) == ["word", "<sep2>"]

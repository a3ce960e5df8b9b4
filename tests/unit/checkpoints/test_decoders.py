"""Checkpoints of character and causal LMs: what is wrong with a file is named."""

import argparse

import pytest
import torch
import toy

from plugins.checkpoints import decoders
from plugins.models.char_lm import CharLanguageModel


@pytest.mark.parametrize("dictionary", [
    None, ["a"], {}, {"characters": []}, {"characters": "ab"}, {"characters": ["ab"]}, {"characters": ["a", 1]},
    {"characters": ["a", ""]}, {"characters": ["a", "a"]}, {"characters": ["a"], "unit": "word"},
    {"characters": ["a"], "unit": "byte"},
])  # fmt: skip
def test_a_dictionary_that_is_no_list_of_different_characters_is_refused(dictionary):
    with toy.refused("x.pt"):
        decoders.stored_characters(dictionary, "x.pt")


def test_a_dictionary_without_a_unit_is_of_characters():
    found = decoders.stored_characters({"characters": ["b", "a"]}, "x.pt")
    assert found.state() == {"unit": "char", "characters": ["b", "a"]}
    text = [chr(i) for i in range(256)]
    with toy.refused("x.pt"):
        decoders.stored_characters({"characters": text[:255], "unit": "byte"}, "x.pt")


@pytest.mark.parametrize("styles", ["ab", {"a": 1}, ["a", 1], [None]])
def test_names_of_styles_are_a_list_of_texts(styles):
    with toy.refused("x.pt"):
        decoders.stored_styles(styles, "x.pt")
    assert decoders.stored_styles(None, "x.pt") == [] and decoders.stored_styles(["a"], "x.pt") == ["a"]


def test_the_model_is_the_expected_one_or_a_subclass_of_it():
    def of(name):
        return {"args": None, "cfg": {"model": {"_name": name}}}

    assert decoders.expected_model("char_lm", of("char_lm"), "x.pt") is CharLanguageModel
    assert decoders.expected_model("char_lm", of("style_char_lm_nano"), "x.pt") is CharLanguageModel
    for name in ("causal_lm", "roberta"):
        with toy.refused("x.pt", name, "char_lm"):
            decoders.expected_model("char_lm", of(name), "x.pt")
    with toy.refused("x.pt", "unheard_of", "--user-dir"):
        decoders.expected_model("char_lm", of("unheard_of"), "x.pt")
    with toy.refused("x.pt", "old_arch", "--user-dir"):
        decoders.expected_model("char_lm", {"args": argparse.Namespace(arch="old_arch")}, "x.pt")


def test_the_base_of_an_adapter_is_the_one_named_else_the_one_stored():
    state = {"cfg": {"model": {"peft_base": "old.pt", "dropout": 0.1}}}
    assert decoders.with_base(state, None) == {"peft_base": "old.pt", "dropout": 0.1}
    assert decoders.with_base(state, "new.pt") == {"peft_base": "new.pt", "dropout": 0.1}


def test_a_file_in_nanogpts_format_names_the_function_that_reads_it(tmp_path):
    for name, reader in (("w", "from_nanogpt"), ("style_embeddings", "from_multi_style")):
        torch.save({"model": {name: torch.ones(2)}, "model_args": {}}, tmp_path / "x.pt")
        with toy.refused(tmp_path / "x.pt", f"plugins.hub.CharLM.{reader}"):
            decoders.read_char_lm(str(tmp_path / "x.pt"))


@pytest.mark.parametrize("size", [None, "5", 5.0])
def test_a_causal_lm_stores_its_number_of_words(tmp_path, size):
    (tmp_path / "characters.json").write_text('["a", "b"]')
    cfg = {"model": {"_name": "causal_lm"} | ({} if size is None else {"vocab_size": size})}
    torch.save({"model": {}, "cfg": cfg}, tmp_path / "x.pt")
    with toy.refused(tmp_path / "x.pt", "vocab_size", repr(size)):
        decoders.read_causal_lm(str(tmp_path / "x.pt"))

"""Which classes a checkpoint may name."""

import argparse

import pytest
import torch
import toy
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
from fairseq.models.roberta import RobertaModel
from omegaconf import OmegaConf

from plugins.checkpoints import allowed, schema


def by_args(**options):
    return {"model": {"w": torch.ones(1)}, "args": argparse.Namespace(**options)}


def by_cfg(**sections):
    return {"model": {"w": torch.ones(1)}, "cfg": sections}


REFUSED = {
    "a model that evaluates its options": by_args(arch="fconv_lm", task="masked_lm", decoder_layers="__import__('os')"),
    "a model by its name": by_cfg(model={"_name": "transformer_lm"}, task={"_name": "masked_lm"}),
    "a model by its only key": by_cfg(model={"hubert": {"conv_feature_layers": "1"}}, task={"_name": "masked_lm"}),
    "one name good, one bad": by_cfg(model={"_name": "roberta", "arch": "fconv_lm"}, task={"_name": "masked_lm"}),
    "a namespace": by_cfg(model=argparse.Namespace(_name="wav2vec2"), task={"_name": "masked_lm"}),
    "no name": by_cfg(model={"x": 1, "y": 2}, task={"_name": "masked_lm"}),
    "a name that is none": by_cfg(model={"_name": ["roberta"]}, task={"_name": "masked_lm"}),
    "nothing registers it": by_cfg(model={"_name": "my_roberta"}, task={"_name": "masked_lm"}),
    "a task": by_args(arch="roberta_base", task="translation"),
    "a task in the form of args": by_cfg(model={"_name": "roberta"}, task={"task": "audio_pretraining", "_name": None}),
    "a criterion": by_cfg(model={"_name": "roberta"}, task={"_name": "masked_lm"}, criterion={"_name": "ctc"}),
    "a tokenizer": by_cfg(model={"_name": "roberta"}, task={"_name": "masked_lm"}, tokenizer={"_name": "nltk"}),
    "a bpe from the network": by_cfg(
        model={"_name": "roberta"}, task={"_name": "masked_lm"}, bpe={"_name": "hf_byte_bpe", "bpe_merges": "http://x"}
    ),
    "a bpe by its name alone": by_cfg(model={"_name": "roberta"}, task={"_name": "masked_lm"}, bpe="bert"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_class_outside_the_list_is_refused(name):
    schema.check(REFUSED[name], "x.pt")
    with toy.refused("x.pt") as error:
        allowed.check(REFUSED[name], "x.pt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("state", [
    by_args(arch="roberta_base", task="masked_lm", criterion="masked_lm", bpe="gpt2"),
    by_args(arch="roberta_large", task="sentence_prediction"),
    by_cfg(model={"_name": "clap_roberta_tiny"}, task={"_name": "clap_masked_lm"}, bpe={"_name": "sentencepiece"}),
    by_cfg(model={"_name": "style_char_lm_nano"}, task={"_name": "char_lm"}, criterion={"_name": "style_lm"}),
])  # fmt: skip
def test_ours_and_robertas_are_allowed(state):
    allowed.check(state, "x.pt")


def test_a_class_of_the_users_own_plugin_is_allowed(monkeypatch):
    mine = type("Mine", (RobertaModel,), {"__module__": "my_plugin.models"})
    monkeypatch.setitem(MODEL_REGISTRY, "mine", mine)
    monkeypatch.setitem(ARCH_MODEL_REGISTRY, "mine_base", mine)
    for name in ("mine", "mine_base"):
        allowed.check(by_cfg(model={"_name": name}, task={"_name": "masked_lm"}), "x.pt")


def test_a_class_of_fairseqs_examples_is_not_the_users(monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY, "theirs", type("Theirs", (RobertaModel,), {"__module__": "examples.models"}))
    with toy.refused("x.pt", "'theirs'"):
        allowed.check(by_cfg(model={"_name": "theirs"}, task={"_name": "masked_lm"}), "x.pt")


def test_the_places_of_a_stored_tokenizer_are_dropped():
    cfg = {"bpe": {"_name": "gpt2", "gpt2_encoder_json": "https://x"}, "tokenizer": "space"}
    allowed.forget_places(cfg)
    assert cfg == {"bpe": {"_name": "gpt2"}, "tokenizer": {"_name": "space"}}
    cfg = {"bpe": None, "tokenizer": {"x": 1}}
    allowed.forget_places(cfg)
    assert cfg == {"bpe": None, "tokenizer": None}


def test_checkpoints_do_not_store_where_training_started():
    start = {"save_dir": "a", "restore_file": "b", "finetune_from_model": "c"}
    for wrap in (dict, OmegaConf.create):
        options = wrap({**start, "data": "d"})
        allowed.forget_start(options)
        assert options == {**dict.fromkeys(start), "data": "d"}
    options = argparse.Namespace(save_dir="a", data="d")
    allowed.forget_start(options)
    assert vars(options) == {"save_dir": None, "data": "d"}
    options = {"data": "d"}
    allowed.forget_start(options)
    assert options == {"data": "d"}


def test_classes_that_are_not_allowed_are_distinguished_from_unknown_ones():
    with toy.refused("x.pt", "'ctc'", "masked_lm, sentence_prediction, sentence_ranking"):
        allowed.check(by_cfg(model={"_name": "roberta"}, criterion={"_name": "ctc"}), "x.pt")
    with toy.refused("x.pt", "'mine'", "--user-dir"):
        allowed.check(by_cfg(model={"_name": "roberta"}, criterion={"_name": "mine"}), "x.pt")


def test_options_under_the_name_of_their_class_are_read_as_fairseq_does():
    allowed.check(by_cfg(model={"roberta": {"dropout": 0.1}}, task={"masked_lm": {}}), "x.pt")
    with toy.refused("x.pt", "'hubert'"):
        allowed.check(by_cfg(model={"hubert": {}}, task={"masked_lm": {}}), "x.pt")

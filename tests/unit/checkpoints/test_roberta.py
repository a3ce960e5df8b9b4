"""Stored options of masked LMs, rewritten so that clap_roberta is built from them."""

import pytest
import torch
import toy
from omegaconf import OmegaConf

from plugins.checkpoints import roberta

TABLES = {
    "encoder.sentence_encoder.embed_tokens.weight": torch.empty(50, 16),
    "encoder.sentence_encoder.embed_positions.weight": torch.empty(34, 16),
    **{f"encoder.sentence_encoder.layers.{i}.fc1.weight": torch.empty(64, 16) for i in (0, 1)},
}
SIZE = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}


def state_of(model, task=None, **sections):
    cfg = {"model": {**SIZE, **model}, "task": task or {}, "bpe": {"_name": "gpt2", "gpt2_vocab_bpe": "http://x"},
           "tokenizer": None, "common_eval": {"beam": 3}, **sections}  # fmt: skip
    return {"args": None, "cfg": OmegaConf.create(cfg), "model": TABLES}


def adopted(model, task=None, overrides=None):
    state = state_of(model, task)
    roberta.adopt(state, overrides or {}, "x/y.pt")
    return state["cfg"]


def test_where_the_tokenizer_was_and_training_started_is_forgotten():
    cfg = adopted({"_name": "clap_roberta", "finetune_from_model": "z.pt", "save_dir": "w"})
    assert cfg.bpe == {"_name": "gpt2"} and cfg.tokenizer is None
    assert (cfg.common_eval.path, cfg.common_eval.beam) == ("x/y.pt", 3)
    assert cfg.model.finetune_from_model is None and cfg.model.save_dir is None
    assert (cfg.model._name, cfg.model.encoder_layers, cfg.model.max_positions, cfg.model.vocab_size) == (
        "clap_roberta", 2, 32, 50,
    )  # fmt: skip


def test_a_checkpoint_of_the_fork_becomes_one_of_ours():
    model = {"_name": "roberta_base", "encoder_alibi": True, "contrastive_pretraining": True, "mask_prob": 0.3}
    model["junk"] = 1
    cfg = adopted(model, {"_name": "masked_lm", "data": "d", "omit_mask": True})
    assert (cfg.model._name, str(cfg.model.head)) == ("clap_roberta", "clap")
    assert str(cfg.model.positions) == "alibi_symmetric"
    assert cfg.model.self_mask_prob == 0.3 and "junk" not in cfg.model
    assert (cfg.task._name, cfg.task.data, cfg.task.omit_mask) == ("clap_masked_lm", "d", False)
    zero = adopted({**model, "zero_masking": True}, {"_name": "masked_lm", "omit_mask": True})
    assert zero.task.omit_mask is True and str(zero.model.mask_embedding) == "zero"
    assert adopted(model, {"_name": "sentence_prediction"}).task._name == "sentence_prediction"


@pytest.mark.parametrize("name", ["roberta", "causal_lm"])
def test_other_models_keep_their_options(name):
    cfg = adopted({"_name": name, "finetune_from_model": "z.pt", "junk": 1}, {"_name": "masked_lm"})
    assert (cfg.model._name, cfg.model.junk, cfg.task._name) == (name, 1, "masked_lm")
    assert cfg.model.finetune_from_model is None and cfg.common_eval.path == "x/y.pt"
    with toy.refused("x/y.pt", "encoder_layers", 3, 2):
        adopted({"_name": name, "encoder_layers": 3})


def test_overrides_may_repeat_the_architecture_but_not_contradict_it():
    adopted({"_name": "clap_roberta"}, overrides={"encoder_layers": 2, "data": "d"})
    with toy.refused("--encoder-layers 3", "x/y.pt", 2):
        adopted({"_name": "clap_roberta"}, overrides={"encoder_layers": 3})
    with toy.refused("x/y.pt", "encoder_embed_dim", 32, 16):
        adopted({"_name": "clap_roberta", "encoder_embed_dim": 32})


def test_a_checkpoint_without_options_is_left_as_it_is():
    state = {"cfg": None, "model": TABLES, "args": None}
    roberta.adopt(state, {}, "x.pt")
    assert state["cfg"] is None


def test_names_that_the_fork_registered_are_known_by_its_options():
    fork = {"_name": "roberta_of_the_fork", **SIZE, "encoder_alibi": True}
    assert roberta.of_checkpoint({"cfg": {"model": fork}, "model": TABLES})["positions"] == "alibi_symmetric"
    assert roberta.of_checkpoint({"cfg": {"model": {"_name": "unheard_of", **SIZE}}, "model": TABLES}) == {}

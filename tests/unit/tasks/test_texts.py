"""The base of the tasks on whole texts: the encoder of the model that training starts from, and the best metric."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.logging import metrics
from omegaconf import OmegaConf

from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.options import NO_START
from plugins.tasks.texts import TextsTask, choose_metric, find_encoder


def run_of(metric="loss", model="clap_roberta", size=10, **start):
    return OmegaConf.create({
        "checkpoint": {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": False, **NO_START, **start},
        "common": {"all_gather_list_size": size}, "model": {"_name": model}, "common_eval": {"path": None},
    })  # fmt: skip


@pytest.mark.parametrize("given, name, chosen, maximize", [
    ("loss", "map", "map", True), ("loss", None, "loss", False), ("ppl", "map", "ppl", False),
    ("auc", "map", "auc", True), ("loss", "ppl", "ppl", False),
])  # fmt: skip
def test_a_metric_picks_the_best_checkpoint_unless_another_was_given(given, name, chosen, maximize):
    run = run_of(given)
    choose_metric(run, name, {"map", "auc"})
    assert run.checkpoint.best_checkpoint_metric == chosen
    assert run.checkpoint.maximize_best_checkpoint_metric is maximize
    assert run.common.all_gather_list_size > 10
    large = run_of(size=1 << 40)
    choose_metric(large, None, ())
    assert large.common.all_gather_list_size == 1 << 40


def encoder_of(model, tokenizer_dir=None, **start):
    cfg = OmegaConf.create({**NO_START, "tokenizer_dir": tokenizer_dir, "data": "nowhere", **start})
    return find_encoder(cfg, run_of(model=model, **start))


def test_a_character_lm_brings_its_characters_and_styles(tmp_path):
    state = {"dictionary": {"unit": "char", "characters": ["a", "b"]}, "styles": ["x"]}
    torch.save({"model": {}, "task_state": state}, tmp_path / "x.pt")
    encoder, styles = encoder_of("style_char_lm_nano", finetune_from_model=str(tmp_path / "x.pt"))
    assert styles == ["x"] and encoder.dictionary.characters == ["a", "b"]
    with toy.refused("--arch char_lm", "--finetune-from"):
        encoder_of("char_lm")
    torch.save({"model": {}}, tmp_path / "y.pt")
    with toy.refused(tmp_path / "y.pt"):
        encoder_of("char_lm", finetune_from_model=str(tmp_path / "y.pt"))


def test_a_causal_lm_brings_its_tokenizer_or_gets_one(tmp_path):
    for name, letters in (("a", "abc"), ("b", "abd")):
        (tmp_path / name).mkdir()
        TokenDictionary(Characters(letters)).save_files(tmp_path / name)
    torch.save({"model": {}}, tmp_path / "a" / "x.pt")
    start = {"finetune_from_model": str(tmp_path / "a" / "x.pt")}
    assert "c" in encoder_of("causal_lm_tiny", **start)[0].dictionary.symbols
    assert "d" in encoder_of("causal_lm_tiny", str(tmp_path / "b"), **start)[0].dictionary.symbols
    assert encoder_of("causal_lm", str(tmp_path / "b"))[1] == []
    with toy.refused("--finetune-from", "--tokenizer-dir"):
        encoder_of("causal_lm")


def test_a_masked_lm_brings_its_dictionary(toy_data):
    encoder, styles = encoder_of("clap_roberta_tiny", str(toy_data))
    assert (
        styles == []
        and encoder.dictionary.symbols[4:6] == [line.split()[0] for line in open(toy_data / "dict.txt")][:2]
    )


@pytest.mark.parametrize("model", ["char_lm", "causal_lm", "clap_roberta"])
def test_a_missing_checkpoint_to_start_from_is_named(tmp_path, model):
    with toy.refused(tmp_path / "gone.pt"):
        encoder_of(model, "anywhere", finetune_from_model=str(tmp_path / "gone.pt"))


def test_the_tokenizer_is_written_next_to_checkpoints_and_outputs_of_a_split_are_forgotten(monkeypatch):
    saved, reset = [], []
    task = object.__new__(TextsTask)
    task.encoder = SimpleNamespace(save=saved.append)
    monkeypatch.setattr(metrics, "reset_meters", reset.append)
    task.post_save("run/checkpoint_last.pt", 1)
    task.post_validate(None, {}, None)
    assert (saved, reset) == (["run"], ["valid"])

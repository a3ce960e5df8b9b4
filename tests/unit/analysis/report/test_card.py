"""The model card agrees with the checkpoint."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from plugins.analysis.report import card

STATE = {
    "cfg": {
        "model": {"_name": "char_lm_nano", "decoder_layers": None, "dropout": 0.1, "style_layers": "none"},
        "criterion": {"_name": "style_lm"},
        "optimizer": {"_name": "fused_adamw", "weight_decay": 0.01},
        "lr_scheduler": {"_name": "cosine", "warmup_updates": 100, "lr": None},
        "optimization": {"lr": [0.001], "clip_norm": 0.0, "update_freq": [4]},
        "dataset": {"batch_size": 12},
        "common": {"seed": 7},
        "checkpoint": {"best_checkpoint_metric": "loss"},
    },
    "optimizer_history": [{"num_updates": 500}, {"num_updates": 2000}],
    "extra_state": {
        "previous_training_time": 3725.4,
        "train_iterator": {"epoch": 2},
        "val_loss": 3.0,
        "best": 2.5,
        "metrics": {"train": [
            (10, "loss", "AverageMeter", {"val": 1.0, "sum": torch.tensor(70.0), "count": torch.tensor(20)}),
            (20, "wpb", "AverageMeter", {"val": 768, "sum": 1536.0, "count": 2}),
            (30, "wps", "TimeMeter", {"n": 10}),
        ]},
    },
}  # fmt: skip


def test_training():
    assert dict(card.training(STATE)) == {
        "Updates": "2,000", "Epoch": "2", "Objective": "style_lm", "Optimizer": "fused_adamw",
        "Peak learning rate": "0.001", "Schedule": "cosine", "Warm-up updates": "100", "Batch": "12 sequences",
        "Batches per update": "4", "Tokens per update": "768", "Dropout": "0.1", "Weight decay": "0.01", "Seed": "7",
        "Time": "1 h 2 min",
    }  # fmt: skip


def test_losses_are_in_bits_and_nats():
    assert card.losses(STATE) == [
        ("Validation", "3.000 bits"), ("Validation, in nats", "2.079"), ("Perplexity", "8.00"),
        ("Best validation, loss", "2.500"), ("Training, epoch mean", "3.500 bits"),
    ]  # fmt: skip


def test_another_metric_is_named_and_is_not_a_loss():
    extra = STATE["extra_state"] | {"val_loss": 0.9, "best": 0.9, "metrics": {}}
    state = {"cfg": {"checkpoint": {"best_checkpoint_metric": "accuracy"}}, "extra_state": extra}
    assert card.losses(state) == [("Validation, accuracy", "0.900")]


def test_fields_missing_in_the_checkpoint_are_omitted():
    assert card.training({"model": {}}) == []
    assert card.losses({"model": {}}) == []
    assert card.options({"model": {}}) == []


def test_a_parameter_that_is_used_twice_counts_once():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False), nn.Linear(4, 3))
    model[1].weight = model[0].weight
    model[2].weight.requires_grad = False
    assert card.parameters(model) == [
        ("All", "55"), ("Embeddings", "40"), ("Everything else", "15"), ("Frozen", "12"),
    ]  # fmt: skip


def test_the_card_shows_the_built_architecture():
    built = dict(options={"decoder_layers": 4, "num_styles": 4, "positions": "alibi"})
    facts = dict(card.architecture(SimpleNamespace(model=None, **built, styles=[]), STATE))
    assert facts == {
        "Architecture": "char_lm_nano",
        "Layers": "4",
        "Positions": "alibi",
    }  # no styles, so not their number
    assert dict(card.architecture(SimpleNamespace(model=None, **built, styles=["a"]), STATE))["Styles"] == "4"


def test_an_adapter_names_its_method_and_its_base():
    tuned = dict(options={"peft": "lora", "peft_base": "base.pt"})
    facts = dict(card.architecture(SimpleNamespace(model=None, **tuned, styles=[]), STATE))
    assert (facts["Fine-tuned with"], facts["Base checkpoint"]) == ("lora", "base.pt")
    plain = dict(options={"peft": "none", "peft_base": None})
    assert not {"Fine-tuned with", "Base checkpoint"} & set(
        dict(card.architecture(SimpleNamespace(model=None, **plain, styles=[]), STATE))
    )


def test_options_name_their_group():
    found = dict(card.options(STATE))
    assert found["optimization.update_freq"] == "4"
    assert found["model.style_layers"] == "none"
    assert "lr_scheduler.lr" not in found and "common.seed" not in found


def test_the_data_are_named():
    task = {"data": "/home/me/data/a.txt:/b/c/d.txt", "valid_data": None, "valid_fraction": 0.1, "style_from": "none"}
    assert card.data({"cfg": {"task": task}}, "x/y/valid.txt") == [
        ("Trained on", "data/a.txt, c/d.txt"), ("Validated on", "10% of that text"), ("This page reads", "y/valid.txt"),
    ]  # fmt: skip


def test_durations():
    assert [card.duration(s) for s in (5, 75.4, 3599.6)] == ["0 min 5 s", "1 min 15 s", "1 h 0 min"]


def test_a_checkpoint_without_a_dataclass_config_has_its_arguments():
    from argparse import Namespace

    state = {"args": Namespace(arch="roberta_base", lr=[0.5], dropout=0.25, seed=3, update_freq=[1])}
    found = dict(card.training(state))
    assert found["Peak learning rate"] == "0.5" and found["Dropout"] == "0.25" and found["Seed"] == "3"
    assert "Batches per update" not in found and "Updates" not in found


@pytest.mark.parametrize(("bits", "shown"), [(49.9, True), (50.0, False), (0.0, True)])
def test_an_astronomic_perplexity_is_not_shown(bits, shown):
    facts = dict(card.losses({"cfg": {}, "extra_state": {"val_loss": bits, "best": bits}}))
    assert ("Perplexity" in facts) == shown and facts["Validation"] == f"{bits:.3f} bits" and len(facts) == 2 + shown


@pytest.mark.parametrize(("value", "text"), [((1000, 0.5), "1,000, 0.5"), (True, "True"), (1e-5, "1e-05"), ("a", "a")])
def test_options_are_shown_with_separators(value, text):
    assert card.shown(value) == text


def test_the_groups_of_a_card_have_facts(make_char_lm):
    lm = make_char_lm()
    found = card.model_card(lm, STATE, "a/b/c.txt")
    assert [group["name"] for group in found["card"]] == ["Architecture", "Parameters", "Data", "Losses", "Training"]
    assert found["card"][2]["facts"] == [("This page reads", "b/c.txt")]
    assert [group["name"] for group in card.model_card(lm, {"model": {}})["card"]] == ["Architecture", "Parameters"]

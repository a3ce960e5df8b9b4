"""Names of the tensors of a folder: none is lost, and layers are those of the config."""

from pathlib import Path

import pytest
import torch
import toy

from plugins.hub import gpt2
from plugins.hub.huggingface import files, opt_in, roberta_in, tensor_names

PATH, FILE = Path("config.json"), Path("model.safetensors")


def found(*names):
    return {name: (torch.zeros(1), FILE) for name in names}


def test_names_change_and_some_are_left_out():
    names = {"a.x": "x", "b": "b", "mask": None}
    assert tensor_names.renamed(found("a.x", "mask", "b"), names.__getitem__) == {
        "x": (torch.zeros(1), FILE), "b": (torch.zeros(1), FILE)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (gpt2.read_weights, ("transformer.ln_f.bias", "ln_f.bias")),
        (roberta_in.read_weights, ("roberta.encoder.layer.0.output.dense.bias", "encoder.layer.0.output.dense.bias")),
        (roberta_in.read_weights, ("bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight")),
        (lambda _: opt_in.weights_of(files.read_weights(_), {}, PATH), ("model.decoder.x", "decoder.x")),
    ],
)
def test_two_tensors_of_the_same_weight_are_named(monkeypatch, read, names):
    monkeypatch.setattr(files, "read_weights", lambda folder: found(*names))
    with toy.refused(FILE, *names):
        read(Path("folder"))


def test_layers_are_those_of_the_config_or_a_foreign_name_is_shown():
    tensor_names.check_layers(PATH, "n_layer", 2, found("h.0.x", "h.1.x", "wte"), "h.")
    with toy.refused(PATH, "n_layer 3"):
        tensor_names.check_layers(PATH, "n_layer", 3, found("h.0.x", "h.1.x", "wte"), "h.")
    with toy.refused(FILE, "h.0.", "module.h.0.x"):
        tensor_names.check_layers(PATH, "n_layer", 2, found("module.h.0.x", "module.h.1.x"), "h.")

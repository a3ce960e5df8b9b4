"""Layers of derived classes have the quantized form of their base."""

from types import SimpleNamespace

import pytest
import toy
from fairseq import quantization_utils
from fairseq.modules.quantization.scalar.modules import IntEmbedding, IntLinear
from torch import nn

from plugins.compat.quantization import ByBaseClass


def test_the_value_of_a_derived_class_is_that_of_its_nearest_base():
    one, two, three = type("One", (), {}), type("Two", (int,), {}), type("Three", (bytes,), {})
    derived = type("Derived", (two,), {})
    table = ByBaseClass({int: "int", two: "two", bytes: "bytes"})
    assert [table[kind] for kind in (int, two, derived, three)] == ["int", "two", "two", "bytes"]
    with pytest.raises(KeyError):
        table[one]


@pytest.mark.parametrize("head", ["clap", "roberta"])
def test_every_linear_layer_of_an_encoder_is_quantized(toy_data, head):
    model = toy.make_model(toy.make_task(toy_data), positions="alibi", head=head)
    parameters = dict(model.named_parameters())
    linear = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    assert linear
    quantization_utils.quantize_model_scalar(model, SimpleNamespace(quant_noise_scalar=0.1))
    assert {name for name, part in model.named_modules() if isinstance(part, IntLinear)} == linear
    assert isinstance(model.encoder.sentence_encoder.embed_tokens, IntEmbedding)
    assert all(p is parameters[name] for name, p in model.named_parameters())

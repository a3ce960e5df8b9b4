"""Compiled layers: as many graphs as promised over a run, and the same numbers. dynamo only, without a compiler."""

from types import SimpleNamespace

import pytest
import torch
import toy
from omegaconf import OmegaConf
from torch._dynamo.utils import counters

from plugins import compat
from plugins.data.predicted import predicted
from plugins.data.text.char_dictionary import CharDictionary
from plugins.errors import UserError
from plugins.models.char_lm import CharLanguageModel
from plugins.models.char_lm_config import CharLMConfig
from plugins.options import NO_START

PAD = 1
RUN = [  # sequences, tokens, padding, training: two epochs, each with a validation
    (4, 20, True, True), (3, 31, True, True), (7, 12, False, True), (5, 25, True, False), (2, 9, False, False),
    (4, 17, True, True), (6, 30, True, False),
]  # fmt: skip


@pytest.fixture(autouse=True)
def fresh():
    """Counters of this test alone."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def task(toy_data):
    return toy.make_task(toy_data)


def step(model, training, **inputs):
    """Return the loss and the gradients of a step."""
    model.train(training).zero_grad()
    with torch.set_grad_enabled(training):
        extra = model(**inputs)[1]
        if training:
            styles = extra.get("style_logits")
            (extra["loss"] + (0 if styles is None else styles.sum())).backward()
    return [extra["loss"].detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


def check_run(plain, compiled, batch):
    """Check that both models compute the same over a run, the second with two graphs and no interruption."""
    for seed, (sequences, length, padded, training) in enumerate(RUN):
        inputs = batch(sequences, length, padded, torch.Generator().manual_seed(seed))
        for a, b in zip(step(plain, training, **inputs), step(compiled, training, **inputs), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"] and not counters["unimplemented"]


ENCODERS = [
    {"positions": "learned", "head": "roberta"},
    {"positions": "alibi"},
    {"positions": "alibi", "alibi_bos": "learned", "checkpoint_activations": True},
    {"positions": "rotary", "encoder_normalize_before": True},
]


@pytest.mark.parametrize("options", ENCODERS)
def test_a_run_of_an_encoder_has_two_graphs(task, options):
    options = {"dropout": 0.0, "attention_dropout": 0.0} | options
    plain, compiled = toy.make_model(task, **options), toy.make_model(task, **options)
    compiled.encoder.sentence_encoder.compile_layers("eager")

    def batch(sequences, length, padded, generator):
        tokens = torch.randint(4, 20, (sequences, length), generator=generator)
        if padded:
            tokens[0, -3:] = PAD
        chosen = (torch.rand(tokens.shape, generator=generator) < 0.3) & (tokens != PAD)
        chosen[:, :2] = True
        target = torch.where(chosen, tokens, PAD)
        return {
            "src_tokens": tokens, "masked_tokens": chosen, "target": target, "has_padding": padded,
            "predicted": predicted(target.numpy(), PAD),
        }  # fmt: skip

    check_run(plain, compiled, batch)


DECODERS = [
    {"positions": "learned"},
    {"positions": "alibi", "checkpoint_activations": True},
    {"positions": "rotary", "style_layers": "every"},
    {"style_layers": "every", "style_inference": "prefix", "style_prefix": 5},
    {"style_layers": "every_other", "style_inference": "published"},
]


def decoder(**options):
    torch.manual_seed(0)
    size = dict(decoder_layers=3, decoder_attention_heads=2, decoder_embed_dim=16, block_size=64, dropout=0.0,
                style_null_prob=0.0, style_true_prob=0.0)  # fmt: skip
    config = OmegaConf.structured(CharLMConfig(**NO_START, **size | options))
    task = SimpleNamespace(source_dictionary=CharDictionary("\n abcdefgh"), style_names=["a", "b"])
    return CharLanguageModel.build_model(config, task)


@pytest.mark.parametrize("options", DECODERS)
def test_a_run_of_a_decoder_has_two_graphs(options):
    plain, compiled = decoder(**options), decoder(**options)
    compiled.decoder.transformer.compile_layers("eager")

    def batch(sequences, length, padded, generator):
        tokens = torch.randint(0, 9, (sequences, length), generator=generator)
        labels = {"style_labels": torch.randint(0, 2, (sequences,), generator=generator)}
        return {"src_tokens": tokens, "target": tokens} | (labels if "style_layers" in options else {})

    check_run(plain, compiled, batch)


def test_a_model_that_is_only_used_is_not_compiled(task):
    model = toy.make_model(task, compile=True).eval()
    with torch.no_grad():
        model(torch.randint(4, 20, (2, 9)))
    assert not counters["stats"]


@pytest.mark.parametrize("name", ["compile", "compile_encoder"])
def test_both_flags_compile_an_encoder(task, name):
    assert toy.make_model(task, **{name: True}).encoder.sentence_encoder.compiled_stack is not None
    assert toy.make_model(task).encoder.sentence_encoder.compiled_stack is None


def test_the_flag_compiles_a_decoder():
    assert decoder(compile=True).decoder.transformer.compiled_stack is not None


@pytest.mark.parametrize("name", ["encoder_layerdrop", "quant_noise_pq"])
def test_options_that_interrupt_the_graph_are_refused(task, name):
    with pytest.raises(UserError, match=f"--compile .*--{name.replace('_', '-')}"):
        toy.make_model(task, compile=True, **{name: 0.1})


def test_compiled_layers_run_as_they_are_written_inside_of_uncompiled(task):
    model = toy.make_model(task).train()
    model.encoder.sentence_encoder.compile_layers("eager")
    with compat.uncompiled(model):
        model(torch.randint(4, 20, (2, 9)))
    assert not counters["stats"]

"""Defaults of ``plugins.modules``, which users import: those of GPT-2, of RoBERTa, and parts that are off."""

import importlib
import inspect
import math

import pytest

DEFAULTS = {
    "plugins.modules.attention.Attention": {"dropout": 0.0},
    "plugins.modules.attention.SelfAttention": {"dropout": 0.0},
    "plugins.modules.batch_statistics.batch_statistics": {"margin": 0.0, "distance": "euclidean"},
    "plugins.modules.beam_search.Beam": {"best_score": -math.inf},
    "plugins.modules.clap_head.ClapHead": {
        "initial_beta": 1.0,
        "normalize": True,
        "reference_dim": 0,
        "max_scale": 0.0,
    },
    "plugins.modules.clap_head.RobertaHead": {"norm_eps": 1e-05},
    "plugins.modules.compiling.Compilable.compile_layers": {"backend": "inductor"},
    "plugins.modules.constraints.Constraints": {"min_length": 0, "no_repeat_ngram": 0},
    "plugins.modules.decoder.Decoder": {
        "positions": "learned",
        "alibi_float32": False,
        "bias": True,
        "dropout": 0.0,
        "embedding_dropout": 0.0,
        "attention_dropout": 0.0,
        "residual": True,
        "norm_eps": 1e-05,
    },
    "plugins.modules.decoder.initialize": {"scheme": "gpt2"},
    "plugins.modules.decoder_layer.Block": {
        "bias": True,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "residual": True,
        "norm_eps": 1e-05,
    },
    "plugins.modules.decoder_layer.CausalSelfAttention": {"bias": True, "dropout": 0.0},
    "plugins.modules.decoder_layer.FeedForward": {"bias": True},
    "plugins.modules.distances.pairwise": {"distance": "euclidean"},
    "plugins.modules.distances.rowwise": {"distance": "euclidean"},
    "plugins.modules.embedding_head.EmbeddingHead": {"pooling": "mean", "normalize": False, "classes": 0},
    "plugins.modules.embedding_head.TextDecoder": {"layers": 1},
    "plugins.modules.encoder.EncoderLayer": {
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "pre_norm": False,
        "norm_eps": 1e-05,
    },
    "plugins.modules.encoder.SentenceEncoder": {
        "dropout": 0.1,
        "layer_norm_embedding": True,
        "pre_norm": False,
        "layer_drop": 0.0,
        "norm_eps": 1e-05,
        "checkpoint_activations": False,
        "flex_attention": False,
    },
    "plugins.modules.encoder.SentenceEncoder.forward": {"inner_states": True},
    "plugins.modules.encoder.TokenEmbedding": {"normalize": False, "scale": 1.0},
    "plugins.modules.linear_cross_entropy.linear_cross_entropy": {"normalize": False},
    "plugins.modules.placement.Placement": {"explicit": False, "first": 0, "compiled": False, "flex": False},
    "plugins.modules.placement.Placement.bias": {"explicit": False},
    "plugins.modules.pooler.ClassificationHead": {"dropout": 0.0, "pooler": "bos"},
    "plugins.modules.position_scheme.Positions.bias": {"explicit": False},
    "plugins.modules.position_scheme.Positions.bias_heads": {"explicit": False},
    "plugins.modules.position_scheme.Spec": {"causal": False, "alibi_bos": "linear", "alibi_float32": False},
    "plugins.modules.published_style.PublishedStyle": {"styles": 4, "style_dim": 64},
    "plugins.modules.sampling.draw": {"temperature": 1.0},
    "plugins.modules.sampling.generate": {"refresh": 1},
    "plugins.modules.scaled_dot_product.attend": {"p": 0.0, "training": False},
    "plugins.modules.scaling.Scaling": {"kind": "none", "factor": 1.0, "trained": 1},
    "plugins.modules.scaling.rotary_frequencies": {"base": 10000.0, "length": 1},
    "plugins.modules.score_head.ScoreHead": {"pooling": "mean", "dropout": 0.0, "flip_rate": 0.0},
    "plugins.modules.search.Search": {"temperature": 0.0, "beam": 1, "length_penalty": 1.0, "seed": 1},
    "plugins.modules.soft_prompt.SoftPrompt": {"at": 0},
    "plugins.modules.style_adapter.StyleAdapter": {
        "styles": 4,
        "style_dim": 64,
        "hidden": 32,
        "source": 0,
        "inference": "running_mean",
        "decay": 0.9,
        "prefix": 16,
        "null_prob": 0.1,
        "true_prob": 0.5,
    },
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_stay_as_they_are(name):
    module, _, path = name.removeprefix("plugins.modules.").partition(".")
    found = importlib.import_module(f"plugins.modules.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    parameters = inspect.signature(found).parameters
    assert {given: parameters[given].default for given in DEFAULTS[name]} == DEFAULTS[name]

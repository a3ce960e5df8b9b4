"""Given options, options of a checkpoint, and their contradictions."""

import argparse

import pytest
import torch
import toy
from fairseq import utils
from omegaconf import OmegaConf

from plugins.checkpoints import roberta
from plugins.errors import UserError
from plugins.models import architecture
from plugins.models.clap_roberta_config import ClapRobertaConfig
from plugins.options import NO_START


def config(**options):
    return OmegaConf.structured(ClapRobertaConfig(**NO_START | options))


TABLES = {
    "encoder.sentence_encoder.embed_tokens.weight": torch.empty(50, 0),
    "encoder.sentence_encoder.embed_positions.weight": torch.empty(34, 0),  # 32 positions
}


def checkpoint(task=None, **model):
    """The content of a checkpoint with these options."""
    return {"args": None, "cfg": {"model": {"_name": "clap_roberta", **model}, "task": task or {}}, "model": TABLES}


def resolved(start=None, **options):
    """Resolve options, starting from the content of a checkpoint or from nothing."""
    cfg = config(**options)
    architecture.resolve(cfg, start, "start.pt")
    return cfg


def test_defaults_are_the_published_learned_clap_of_base_size():
    cfg = resolved()
    sizes = (cfg.encoder_layers, cfg.encoder_embed_dim, cfg.encoder_ffn_embed_dim, cfg.encoder_attention_heads)
    assert sizes == (12, 768, 3072, 12)
    assert (str(cfg.positions), str(cfg.head), cfg.normalize_embeddings, cfg.scale_embeddings) == (
        "learned",
        "clap",
        True,
        False,
    )
    assert (cfg.max_logit_scale, cfg.beta_reference_dim, cfg.exclude_unused) == (0, 0, False)


def test_embeddings_are_not_normalized_under_robertas_head():
    assert resolved(head="roberta").normalize_embeddings is False


@pytest.mark.parametrize(
    "options, named",
    [
        (
            {"encoder_attention_heads": 7, "encoder_embed_dim": 32},
            ["--encoder-attention-heads 7", "--encoder-embed-dim 32"],
        ),
        ({"alibi_bos": "zero"}, ["--alibi-bos zero", "--positions alibi", "learned"]),
        ({"alibi_bos": "learned", "positions": "sinusoidal"}, ["--alibi-bos learned", "sinusoidal"]),
        ({"head": "roberta", "max_logit_scale": 100.0}, ["--max-logit-scale", "--head clap", "--head roberta"]),
        ({"head": "roberta", "exclude_unused": True}, ["--exclude-unused", "--head clap", "--head roberta"]),
        ({"head": "roberta", "beta_reference_dim": 768}, ["--beta-reference-dim", "--head clap", "--head roberta"]),
        (
            {"positions": "rotary", "encoder_embed_dim": 36, "encoder_attention_heads": 4},
            ["--positions rotary", "--encoder-embed-dim 36"],
        ),
        (
            {"positions": "sinusoidal", "position_scaling": "dynamic"},
            ["--position-scaling dynamic", "sinusoidal"],
        ),
        ({"self_mask_prob": 1.5}, ["--self-mask-prob 1.5"]),
        ({"encoder_layers": 0}, ["--encoder-layers 0 is not positive"]),
        ({"encoder_embed_dim": -768}, ["--encoder-embed-dim -768"]),
        ({"encoder_attention_heads": 0}, ["--encoder-attention-heads 0"]),
        ({"encoder_ffn_embed_dim": 0}, ["--encoder-ffn-embed-dim 0"]),
        ({"activation_dropout": 1.5}, ["--activation-dropout 1.5"]),
        ({"encoder_layerdrop": -0.1}, ["--encoder-layerdrop -0.1"]),
    ],
)
def test_options_out_of_range_or_in_contradiction_are_refused_by_their_flags(options, named):
    with toy.refused(*named):
        resolved(**options)


@pytest.mark.parametrize("multiple", [0, -64, 10**6])
def test_a_multiple_that_is_out_of_range_is_refused(multiple):
    with toy.refused("--vocab-multiple", multiple):
        architecture.resolve(config(vocab_multiple=multiple))


def test_checkpoints_from_before_the_option_have_no_padding():
    cfg = config()
    architecture.resolve(cfg, checkpoint(), "old.pt")
    assert cfg.vocab_multiple == 1


def test_omitted_options_are_inherited():
    cfg = resolved(checkpoint(positions="alibi", scale_embeddings=True, encoder_layers=3))
    assert (str(cfg.positions), cfg.scale_embeddings, cfg.encoder_layers) == ("alibi", True, 3)
    assert cfg.vocab_size == 50


def test_the_number_of_learned_positions_is_inherited():
    assert resolved(checkpoint()).max_positions == 32
    with toy.refused("--max-positions 64", "start.pt", 32):
        resolved(checkpoint(), max_positions=64)


def test_a_default_of_the_checkpoint_counts_as_its_value():
    """``positions`` was not given when the checkpoint was trained: it is learned, not open."""
    with toy.refused("--positions alibi", "start.pt", "learned"):
        resolved(checkpoint(), positions="alibi")


@pytest.mark.parametrize(
    "name, given, stored",
    [
        ("positions", "alibi", "alibi_symmetric"),
        ("normalize_embeddings", False, True),
        ("scale_embeddings", True, False),
        ("encoder_embed_dim", 64, 128),
        ("head", "roberta", "clap"),
        ("activation_fn", "relu", "gelu"),
        ("max_logit_scale", 50.0, 100.0),
    ],
)
def test_a_contradiction_names_the_flag_both_values_and_the_file(name, given, stored):
    with pytest.raises(UserError) as error:
        resolved(checkpoint(**{name: stored}), **{name: given})
    message = str(error.value)
    for part in ("--" + name.replace("_", "-"), str(given), str(stored), "start.pt"):
        assert part in message
    assert "\n" not in message


def test_repeating_the_same_value_is_not_a_contradiction():
    start = checkpoint(positions="alibi", max_logit_scale=100)
    assert resolved(start, positions="alibi", max_logit_scale=100.0).max_logit_scale == 100


@pytest.mark.parametrize("size, layers", [("tiny", 4), ("small", 6), ("base", 12), ("large", 24)])
def test_the_sizes_of_an_architecture_are_known_from_its_name(size, layers):
    state = {"cfg": {"model": {"_name": f"clap_roberta_{size}"}, "task": {}}, "model": TABLES}
    assert roberta.of_checkpoint(state)["encoder_layers"] == layers


FORK = {"_name": "roberta", "encoder_layers": 4, "contrastive_pretraining": True, "no_scale_embedding": True}


@pytest.mark.parametrize(
    "model, task, name, value",
    [
        ({"encoder_alibi": True, "encoder_alibi_asymmetrical": True}, {}, "positions", "alibi"),
        ({"encoder_alibi": True, "encoder_alibi_asymmetrical": False}, {}, "positions", "alibi_symmetric"),
        ({"encoder_learned_pos": True}, {}, "positions", "learned"),
        ({"encoder_learned_pos": False}, {}, "positions", "sinusoidal"),
        ({"l2norm_embedding": False}, {}, "normalize_embeddings", False),
        ({"no_scale_embedding": False}, {}, "scale_embeddings", True),
        ({"layernorm_embedding": False}, {}, "layernorm_embedding", False),
        ({"zero_masking": True}, {"omit_mask": True}, "mask_embedding", "zero"),
        ({"zero_masking": True}, {"omit_mask": False}, "mask_embedding", "learned"),
        ({"zero_masking": False}, {"omit_mask": False}, "mask_embedding", "learned"),
    ],
)
def test_each_option_of_the_fork_has_ours(model, task, name, value):
    state = {"cfg": {"model": FORK | model, "task": task}, "model": TABLES}
    assert roberta.of_checkpoint(state)[name] == value


def test_fairseqs_own_roberta_is_read_too():
    args = argparse.Namespace(arch="roberta_large", encoder_layers=24)
    saved = roberta.of_checkpoint({"args": args, "cfg": None, "model": TABLES})
    assert (saved["head"], saved["positions"], saved["encoder_embed_dim"]) == ("roberta", "learned", 1024)
    assert roberta.of_checkpoint({"args": argparse.Namespace(arch="roberta_prenorm"), "model": TABLES})[
        "encoder_normalize_before"
    ]


def test_checkpoints_of_other_models_are_ignored():
    assert roberta.of_checkpoint({"cfg": {"model": {"_name": "transformer"}}, "model": {}}) == {}


def test_scaling_may_differ_from_the_checkpoint_and_is_inherited_otherwise():
    start = checkpoint(positions="rotary", position_scaling="linear", position_scaling_factor=2.0, trained_length=64)
    cfg = resolved(start)
    assert (str(cfg.position_scaling), cfg.position_scaling_factor, cfg.trained_length) == ("linear", 2.0, 64)
    cfg = resolved(start, position_scaling="yarn", position_scaling_factor=8.0)
    assert (str(cfg.position_scaling), cfg.position_scaling_factor, cfg.trained_length) == ("yarn", 8.0, 64)


@pytest.mark.parametrize("name", utils.get_available_activation_fns())
def test_activations_are_fairseqs(name):
    x = torch.linspace(-5, 5, 1001)
    torch.testing.assert_close(architecture.activation(name)(x), utils.get_activation_fn(name)(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["gelu", "gelu_accurate"])
def test_gelu_makes_no_float32_copy_of_half_precision_inputs(name):
    x = torch.randn(8).bfloat16()
    with torch.profiler.profile() as profile:
        architecture.activation(name)(x)
    assert {event.key for event in profile.key_averages()} == {"aten::gelu"}


@pytest.mark.parametrize("options, named", [
    ({"positions": "alibi"}, None), ({"positions": "alibi_symmetric"}, None),
    ({"positions": "alibi", "alibi_bos": "zero"}, None), ({"positions": "rotary"}, "--positions alibi"),
    ({"positions": "alibi", "alibi_bos": "learned"}, "--alibi-bos learned"),
    ({"positions": "alibi", "attention_dropout": 0.1}, "--attention-dropout 0"),
])  # fmt: skip
def test_the_kernel_of_flex_attention_computes_alibi_without_dropout(options, named):
    given = {"attn_implementation": "flex_attention", "attention_dropout": 0.0} | options
    resolved(**given | {"attn_implementation": "sdpa"})
    if named is None:
        assert str(resolved(**given).attn_implementation) == "flex_attention"
    else:
        with toy.refused("--attn-implementation flex_attention", named):
            resolved(**given)


@pytest.mark.parametrize("name, value", [
    ("encoder_layerdrop", 0.1), ("offload_activations", True), ("quant_noise_pq", 0.1), ("shard", True),
])  # fmt: skip
@pytest.mark.parametrize("flag", ["compile", "compile_encoder"])
def test_layers_that_are_compiled_are_one_graph(flag, name, value):
    with toy.refused(f"--{flag.replace('_', '-')}", f"--{name.replace('_', '-')}"):
        resolved(**{flag: True, name: value})
    resolved(**{flag: True})
    resolved(**{name: value})


@pytest.mark.parametrize(("name", "value", "allowed"), [
    ("vocab_multiple", 0, False), ("vocab_multiple", 1, True), ("vocab_multiple", 1024, True),
    ("vocab_multiple", 1025, False), ("self_mask_prob", 0.0, True), ("self_mask_prob", 0.99, True),
    ("self_mask_prob", 1.0, False), ("self_mask_prob", -0.1, False),
])  # fmt: skip
def test_the_bounds_of_an_option_are_inclusive_or_not(name, value, allowed):
    if allowed:
        resolved(**{name: value})
    else:
        with toy.refused(f"--{name.replace('_', '-')} {value}"):
            resolved(**{name: value})

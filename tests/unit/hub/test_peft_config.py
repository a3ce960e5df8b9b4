"""Configs of the peft library as options of ``--peft``, without that library."""

from pathlib import Path

import pytest
import torch
import toy

from plugins.hub import peft_config

PATH = Path("folder/adapter_config.json")
EVERY = {f"{i}.{name}" for i in range(2) for name in peft_config.LINEAR}
ATTENTION = {"0.attn.c_attn", "1.attn.c_attn"}
LORA = {"peft_type": "LORA", "target_modules": ["c_attn"], "r": 4, "lora_alpha": 8}


def options(adapted=ATTENTION, **config):
    return peft_config.our_options(LORA | config, PATH, adapted, 2)


def test_lora_has_its_rank_scale_dropout_and_targets():
    assert options(lora_dropout=0.25) == {
        "peft": "lora", "lora_targets": "attn.c_attn", "lora_variant": "lora", "lora_rank": 4, "lora_alpha": 8,
        "lora_dropout": 0.25,
    }  # fmt: skip
    assert options()["lora_dropout"] == options(lora_dropout=None)["lora_dropout"] == 0.0
    assert options(lora_alpha=0.5, r=1)["lora_alpha"] == 0.5


@pytest.mark.parametrize(
    ("config", "variant"),
    [({}, "lora"), ({"use_rslora": True}, "rslora"), ({"use_dora": True}, "dora"), ({"use_dora": False}, "lora")],
)
def test_variants_of_lora(config, variant):
    assert options(**config)["lora_variant"] == variant


def test_ia3_scales_inputs_of_the_last_map_and_outputs_of_the_others():
    config = {"peft_type": "IA3", "target_modules": ["c_attn", "mlp.c_proj"], "feedforward_modules": ["mlp.c_proj"]}
    adapted = ATTENTION | {"0.mlp.c_proj", "1.mlp.c_proj"}
    assert peft_config.our_options(config, PATH, adapted, 2) == {
        "peft": "lora", "lora_targets": "attn.c_attn,mlp.c_proj", "lora_variant": "ia3",
    }  # fmt: skip
    assert peft_config.our_options(config | {"feedforward_modules": ".*"}, PATH, adapted, 2)["lora_variant"] == "ia3"
    for wrong in (["c_attn", "mlp.c_proj"], [], None, 5, True):
        with toy.refused(PATH, "feedforward_modules"):
            peft_config.our_options(config | {"feedforward_modules": wrong}, PATH, adapted, 2)


def test_a_prompt_has_its_number_of_vectors():
    config = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, "token_dim": 16, "num_transformer_submodules": 1}
    assert peft_config.our_options(config, PATH, set(), 2) == {"peft": "prompt", "prompt_tokens": 5}
    with toy.refused(PATH, "num_virtual_tokens 0"):
        peft_config.our_options(config | {"num_virtual_tokens": 0}, PATH, set(), 2)
    with toy.refused(PATH, "num_transformer_submodules 2"):
        peft_config.our_options(config | {"num_transformer_submodules": 2}, PATH, set(), 2)


@pytest.mark.parametrize(
    "config",
    [{"bias": "none"}, {"task_type": "CAUSAL_LM"}, {"task_type": None}, {"init_lora_weights": "gaussian"},
     {"init_lora_weights": False}, {"peft_version": "0.17"}, {"revision": "main"}, {"not_invented_yet": None},
     {"modules_to_save": []}, {"rank_pattern": {}}, {"lora_bias": False}],
    ids=str,
)  # fmt: skip
def test_keys_that_change_nothing_are_accepted(config):
    assert options(**config) == options()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"task_type": "SEQ_CLS"}, "task_type SEQ_CLS"),
        ({"bias": "all"}, "bias all"),
        ({"bias": None}, "bias null"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa"),
        ({"not_invented_yet": 1}, "not_invented_yet 1"),
        ({"num_virtual_tokens": 3}, "num_virtual_tokens 3"),
        ({"use_dora": True, "use_rslora": True}, "use_rslora"),
        ({"r": 0}, "r 0"),
        ({"r": True}, "r true"),
        ({"r": 2.0}, "r 2.0"),
        ({"lora_alpha": 0}, "lora_alpha 0"),
        ({"lora_alpha": float("inf")}, "lora_alpha Infinity"),
        ({"lora_alpha": True}, "lora_alpha true"),
        ({"target_modules": ["c_attn", "wte"]}, "target_modules wte"),
        ({"target_modules": []}, "target_modules"),
        ({"target_modules": 3}, "target_modules 3"),
        ({"exclude_modules": 3}, "exclude_modules 3"),
        ({"target_modules": ["c_attn", "c_fc"]}, "target_modules"),
        ({"exclude_modules": ["0.attn.c_attn"]}, "target_modules"),
        ({"target_modules": "all-linear"}, "target_modules"),
        ({"peft_type": ["LORA"]}, "peft_type"),
        ({"use_dora": "yes"}, "use_dora yes"),
        ({"lora_dropout": "x"}, "lora_dropout x"),
        ({"lora_dropout": 1}, "lora_dropout 1"),
        ({"lora_dropout": -0.5}, "lora_dropout -0.5"),
        ({"lora_dropout": True}, "lora_dropout true"),
        ({"layers_to_transform": [0]}, "layers_to_transform"),
        ({"layers_to_transform": [2]}, "layers_to_transform"),
        ({"layers_to_transform": "x"}, "layers_to_transform x"),
        ({"target_modules": ".*", "layers_to_transform": 0}, "layers_to_transform 0"),
        ({"layers_pattern": "blocks"}, "layers_pattern blocks"),
    ],
    ids=str,
)
def test_what_has_no_effect_here_is_named(config, named):
    with toy.refused(PATH, named):
        options(**config)


@pytest.mark.parametrize(
    ("adapted", "config"),
    [
        (EVERY, {"target_modules": "all-linear"}),
        ({"1.attn.c_proj", "1.mlp.c_proj"}, {"target_modules": r".*\.1\..*c_proj"}),
        (EVERY, {"target_modules": "all-linear", "layers_to_transform": []}),
        (
            {"1.mlp.c_fc"},
            {"target_modules": ["c_fc"], "layers_to_transform": [1, 7], "layers_pattern": ["layers", "h"]},
        ),
        ({"1.mlp.c_fc"}, {"target_modules": ["c_fc"], "layers_to_transform": [1]}),
        ({"1.mlp.c_fc"}, {"target_modules": ["c_fc"], "layers_to_transform": 1, "layers_pattern": ["h"]}),
        ({"0.mlp.c_fc"}, {"target_modules": ".*0.*c_fc", "layers_to_transform": [0, 1], "layers_pattern": "h"}),
        ({"0.attn.c_attn"}, {"exclude_modules": ["1.attn.c_attn"]}),
        ({"0.attn.c_attn"}, {"exclude_modules": ".*1.*"}),
        ({"0.attn.c_attn"}, {"target_modules": ["transformer.h.0.attn.c_attn"]}),
    ],
)
def test_targets_that_are_those_of_the_tensors(adapted, config):
    assert options(adapted, **config)["lora_rank"] == 4


@pytest.mark.parametrize(
    ("layer", "names", "expected"),
    [
        ("transformer.h.0.attn.c_attn", ["c_attn"], True),
        ("transformer.h.0.attn.c_attn", ["transformer.h.0.attn.c_attn"], True),
        ("transformer.h.0.attn.c_attn", ["_attn"], False),
        ("transformer.h.0.attn.c_attn", "c_attn", False),
        ("transformer.h.10.attn.c_attn", ["0.attn.c_attn"], False),
        ("c_attn", [], False),
    ],
)
def test_names_match_whole_parts(layer, names, expected):
    assert peft_config.matches(layer, names) is expected


@pytest.mark.parametrize(
    ("adapted", "expected"),
    [
        ({"0.a", "1.a", "0.b", "1.b"}, ["a", "b"]),
        ({"0.a", "1.b"}, ["0.a", "1.b"]),
        ({"1.a"}, ["1.a"]),
    ],
)
def test_targets_are_short_where_all_layers_have_them(adapted, expected):
    assert peft_config.target_names(adapted, 2) == expected


def test_stored_tensors_have_the_sizes_of_the_config():
    tensors = {"x.lora_A.weight": torch.zeros(4, 16), "decoder.transformer.prompt.weight": torch.zeros(5, 16)}
    good = {"lora_rank": 4, "prompt_tokens": 5}
    peft_config.check_sizes({}, good, tensors, PATH)
    for wrong in ({"lora_rank": 5}, {"prompt_tokens": 4}):
        with toy.refused(PATH):
            peft_config.check_sizes({}, good | wrong, tensors, PATH)


@pytest.mark.parametrize("wrong", [{"token_dim": 9}, {"num_layers": 3}, {"num_attention_heads": 4}], ids=str)
def test_a_config_of_another_base_is_named(wrong):
    base = {"decoder_embed_dim": 16, "decoder_layers": 2, "decoder_attention_heads": 2}
    config = {"token_dim": 16, "num_layers": 2, "num_attention_heads": None}
    peft_config.check_sizes(config, base, {}, PATH)
    with toy.refused(PATH, *wrong):
        peft_config.check_sizes(config | wrong, base, {}, PATH)

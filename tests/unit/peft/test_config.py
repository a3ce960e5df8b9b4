"""Options of tuning: defaults and contradictions."""

import pytest
import toy
from omegaconf import OmegaConf

from plugins.errors import UserError
from plugins.peft import PeftConfig, complete


def completed(**options):
    cfg = OmegaConf.structured(PeftConfig(**options))
    complete(cfg)
    return cfg


def test_without_options_nothing_is_tuned():
    assert completed().peft == "none"


def test_lora_is_of_rank_16_and_scaled_by_2():
    cfg = completed(peft="lora")
    assert (cfg.lora_variant, cfg.lora_rank, cfg.lora_alpha) == ("lora", 16, 32)
    assert completed(peft="lora", lora_rank=4).lora_alpha == 8
    assert completed(peft="lora", lora_rank=4, lora_alpha=4).lora_alpha == 4


@pytest.mark.parametrize(
    "options, words",
    [
        ({"lora_rank": 4}, "--lora-rank belongs to --peft lora; this is --peft none"),
        ({"peft": "prompt", "peft_blocks": 1}, "--peft-blocks belongs to --peft last_layer; this is --peft prompt"),
        ({"peft": "lora", "prompt_words": "x"}, "--prompt-words belongs to --peft prompt; this is --peft lora"),
        ({"peft": "lora", "lora_rank": 0}, "--lora-rank 0 is not positive"),
        ({"peft": "lora", "lora_alpha": 0.0}, "--lora-alpha 0.0"),
        ({"peft": "lora", "lora_alpha": float("nan")}, "--lora-alpha nan"),
        ({"peft": "prompt", "prompt_tokens": -1}, "--prompt-tokens -1 is not positive"),
        ({"peft": "last_layer", "peft_blocks": -1}, "--peft-blocks -1 is negative"),
        ({"peft": "lora", "lora_dropout": 1.0}, "--lora-dropout 1.0 is not a probability below 1"),
        ({"peft": "lora", "lora_variant": "ia3", "lora_rank": 4}, "--lora-rank has no meaning for --lora-variant ia3"),
        ({"peft_base": "x.pt"}, "--peft-base is the base of an adapter, and this is --peft none"),
    ],
)
def test_contradictions_name_the_flags(options, words):
    with pytest.raises(UserError) as error:
        completed(**options)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize("name, value, method", [
    ("peft_blocks", 1, "last_layer"), ("lora_variant", "dora", "lora"), ("lora_rank", 2, "lora"),
    ("lora_alpha", 2.0, "lora"), ("lora_targets", "a", "lora"), ("lora_dropout", 0.5, "lora"),
    ("prompt_tokens", 3, "prompt"), ("prompt_words", "x", "prompt"),
])  # fmt: skip
def test_each_option_belongs_to_one_method(name, value, method):
    assert str(completed(peft=method, **{name: value})[name]) == str(value)
    for other in {"none", "lora", "prompt", "last_layer"} - {method}:
        with toy.refused("--" + name.replace("_", "-"), f"--peft {method}", f"--peft {other}"):
            completed(peft=other, **{name: value})


def test_values_at_the_limits():
    cfg = completed(peft="last_layer")
    assert cfg.peft_blocks == 0
    assert completed(peft="lora", lora_rank=1, lora_dropout=0.0, lora_alpha=-1.0).lora_alpha == -1.0
    assert completed(peft="prompt", prompt_tokens=1).prompt_tokens == 1
    for alpha in (float("inf"), -float("inf")):
        with toy.refused("--lora-alpha"):
            completed(peft="lora", lora_alpha=alpha)
    with toy.refused("--lora-dropout -0.1"):
        completed(peft="lora", lora_dropout=-0.1)


@pytest.mark.parametrize("option", [{"lora_rank": 4}, {"lora_alpha": 2.0}, {"lora_dropout": 0.1}])
def test_ia3_has_neither_rank_nor_dropout(option):
    with toy.refused("--" + next(iter(option)).replace("_", "-"), "--lora-variant ia3"):
        completed(peft="lora", lora_variant="ia3", **option)
    cfg = completed(peft="lora", lora_variant="ia3")
    assert cfg.lora_rank is None and cfg.lora_alpha is None

"""Options of tuning: defaults and contradictions."""

import pytest
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

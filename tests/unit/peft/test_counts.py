"""How many parameters each method trains on the real GPT-2 small, and the counts in the log."""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from plugins import peft
from plugins.models.causal_lm import CausalLanguageModel
from plugins.models.causal_lm_config import SIZES, CausalLMConfig
from plugins.options import NO_START

WORDS, BASE = 50257, 124_439_808


def tuned(**options):
    """Return a GPT-2 small without weights that is tuned, and how many of its parameters are."""
    cfg = OmegaConf.structured(CausalLMConfig(**NO_START, **SIZES["small"]))
    with torch.device("meta"):
        model = CausalLanguageModel.build_model(cfg, SimpleNamespace(source_dictionary=range(WORDS)))
    assert peft.count(SimpleNamespace(parameters=model.parameters)).total == BASE
    cfg = OmegaConf.structured(peft.PeftConfig(**options))
    peft.complete(cfg)
    return model, peft.tune(model, cfg)


@pytest.mark.parametrize(
    "options, trainable, added",
    [
        ({"peft": "prompt", "prompt_tokens": 24}, 18_432, 18_432),
        ({"peft": "lora", "lora_rank": 16}, 589_824, 589_824),
        ({"peft": "last_layer"}, 38_597_376, 38_597_376),  # an untied copy
        ({"peft": "last_layer", "peft_blocks": 1}, 7_089_408, 0),  # a layer and the layer norm after it
        ({"peft": "lora", "lora_variant": "dora", "lora_rank": 16}, 589_824 + 12 * 2304, 589_824 + 12 * 2304),
        ({"peft": "lora", "lora_variant": "ia3"}, 12 * (2304 + 3072), 12 * (2304 + 3072)),
    ],
)
def test_parameters_of_gpt2_small(options, trainable, added):
    model, count = tuned(**options)
    assert (count.trainable, count.total) == (trainable, BASE + added)
    saved = model.state_dict()
    assert sum(tensor.numel() for name, tensor in saved.items() if name != peft.IDENTITY) == trainable


def test_the_line_of_the_log_is_that_of_the_peft_library():
    line = "trainable params: 18,432 || all params: 124,458,240 || trainable%: 0.0148"
    assert str(peft.Count(18_432, BASE + 18_432)) == line

"""Options of ``causal_lm``: GPT-2's sizes and defaults."""

from dataclasses import dataclass

from .decoder_lm_config import DEFAULTS as COMMON
from .decoder_lm_config import DecoderLMConfig, size


@dataclass
class CausalLMConfig(DecoderLMConfig):
    """Options of the model ``causal_lm``."""

    pass


SIZES = {
    "tiny": size(4, 4, 256, 512, 0.1),  # trains on a CPU
    # Radford et al., 2019, table 2, with 64 channels per head
    "small": size(12, 12, 768, 1024, 0.1),
    "medium": size(24, 16, 1024, 1024, 0.1),
    "large": size(36, 20, 1280, 1024, 0.1),
    "xl": size(48, 25, 1600, 1024, 0.1),
}
DEFAULTS = SIZES["small"] | COMMON | {"bias": True, "activation_fn": "gelu_tanh"}

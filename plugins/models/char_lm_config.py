"""Options of ``char_lm``, its sizes and its defaults. :mod:`plugins.models.char_lm` fills them in."""

from dataclasses import dataclass
from typing import Optional  # fairseq's parser does not read `int | None`

from fairseq.dataclass import ChoiceEnum

from plugins.modules import style_adapter
from plugins.options import architecture, option

from .decoder_lm_config import DEFAULTS as COMMON
from .decoder_lm_config import DecoderLMConfig, size

STYLE_LAYERS = ChoiceEnum(["none", "every_other", "every"])
STYLE_INFERENCES = ChoiceEnum([*style_adapter.INFERENCES, "published"])


@dataclass
class CharLMConfig(DecoderLMConfig):
    """Options of the model ``char_lm``."""

    # Multi-Style Adapter
    style_layers: Optional[STYLE_LAYERS] = architecture(
        "layers whose output the Multi-Style Adapter modulates (none; every in the style_ architectures)"
    )
    style_inference: Optional[STYLE_INFERENCES] = architecture(
        "how a position's style is inferred from its prefix: running_mean of hidden states; token: the last one; ema: "
        "a moving average; prefix: from the first ones, then fixed; given: labels only; constant: no style, a control "
        "with as many parameters; published: from the last position for all, which leaks the future (running_mean)"
    )
    num_styles: Optional[int] = architecture("styles (as in the corpus, else 4); 1 is a control without styles")
    style_dim: Optional[int] = architecture("width of a style embedding (64)")
    style_hidden: Optional[int] = architecture("hidden width of the style classifier (32)")
    style_source: Optional[int] = architecture("layer, from 1, whose output the style is read from (1)")
    style_decay: Optional[float] = architecture("ema: weight of the past per character (0.9)")
    style_prefix: Optional[int] = architecture("prefix: characters that it reads (16)")
    style_null_prob: float = option(0.1, "fraction of training windows without a style (to sample without one)")
    style_true_prob: float = option(0.5, "fraction of training windows with their label as style, not the inferred one")


SIZES = {
    "nano": size(4, 4, 128, 64, 0.0),  # nanoGPT's README, "I only have a macbook"
    "small": size(6, 6, 384, 256, 0.2),  # nanoGPT's config/train_shakespeare_char.py
    "deep": size(15, 6, 192, 128, 0.2),  # the best of a course report on character transformers
}
DEFAULTS = (
    SIZES["small"]
    | COMMON
    | {
        "dropout": 0.0,
        "bias": False,
        "activation_fn": "gelu",
        "style_layers": "none",
        "style_inference": "running_mean",
        "style_dim": 64,
        "style_hidden": 32,
        "style_source": 1,
        "style_decay": 0.9,
        "style_prefix": 16,
    }
)
UNLABELED_STYLES = 4

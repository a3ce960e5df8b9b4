"""Build registered architectures without data, and determine the sizes that memory and cost depend on.

Shapes: L layers of C channels, H heads and F feed-forward channels; V words; T tokens in a sequence.
"""

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from fairseq.data import Dictionary
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_NAME_REGISTRY,
    ARCH_MODEL_REGISTRY,
    MODEL_DATACLASS_REGISTRY,
)
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from plugins.data.dictionaries import MASK
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.models.char_lm import modulated_layers
from plugins.options import NO_START

WORDS = {"clap_roberta": 50_265, "causal_lm": 50_257, "char_lm": 65}  # RoBERTa's, GPT-2's, tiny Shakespeare's
MASKED = 0.15  # fraction of the tokens that a masked LM predicts


@dataclass(frozen=True)
class Shape:
    """The sizes that memory and cost depend on.

    Attributes:
        arch: name of the architecture.
        parameters: number of parameters.
        trained: number of parameters that require gradients.
        in_layers: number of weights in the layers' matrices.
        largest: parameters of the largest tensor.
        factored: total number of rows and columns of the trained matrices, plus the sizes of the trained vectors.
        layers, width, heads, inner, words: L, C, H, F, V.
        predicted: fraction of the tokens whose logits are computed.
        causal: whether the model is a decoder.
        rotary: whether queries and keys are rotated.
        dropout, attention_dropout, activation_dropout: probabilities.
        clap: whether the embeddings are normalized.
        styled: fraction of the layers that a style adapter modulates.
    """

    arch: str
    parameters: int
    trained: int
    in_layers: int
    largest: int
    factored: int
    layers: int
    width: int
    heads: int
    inner: int
    words: int
    predicted: float
    causal: bool
    rotary: bool
    dropout: float
    attention_dropout: float
    activation_dropout: float
    clap: bool
    styled: float

    @property
    def frozen(self) -> bool:
        """Whether most parameters are not trained."""
        return self.trained < self.parameters / 2


def build(
    arch: str, words: int | None = None, options: Sequence[str] = (), length: int = 512, fake: bool = True
) -> tuple[nn.Module, DictConfig]:
    """Build a registered architecture without data or checkpoint.

    Args:
        arch: the value of ``--arch``.
        words: V; default: the size of the usual tokenizer.
        options: flags of the model.
        length: number of positions, if the architecture does not set it.
        fake: build the model with fake tensors, which have shapes but no data.

    Returns:
        The model and its complete options.

    Raises:
        UserError: the architecture or an option is unknown, or options contradict each other.
    """
    name = ARCH_MODEL_NAME_REGISTRY.get(arch)
    if name not in WORDS:
        known = sorted(arch for arch, name in ARCH_MODEL_NAME_REGISTRY.items() if name in WORDS)
        raise UserError(f"--arch {arch}: the architectures are {', '.join(known)}")
    cls = ARCH_MODEL_REGISTRY[arch]
    namespace = parse(cls, arch, options)
    cfg = OmegaConf.structured(MODEL_DATACLASS_REGISTRY[name](**NO_START))
    with open_dict(cfg):
        cfg.update({key: value for key, value in vars(namespace).items() if key in cfg and value is not None})
    words = words or cfg.vocab_size or WORDS[name]
    with FakeTensorMode() if fake else contextlib.nullcontext():
        return cls.build_model(cfg, stub(name, words, length)), cfg


def parse(cls: Any, arch: str, options: Sequence[str]) -> argparse.Namespace:
    """Return the model options set by an architecture and flags; all other options are None.

    Raises:
        UserError: a flag is unknown.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=None, exit_on_error=False)
    cls.add_args(parser)
    for action in parser._actions:
        action.default = None
    try:
        namespace, unknown = parser.parse_known_args(list(options))
    except argparse.ArgumentError as error:
        raise UserError(f"{error}") from error
    if unknown:
        raise UserError(f"{unknown[0]}: not an option of --arch {arch}")
    ARCH_CONFIG_REGISTRY[arch](namespace)
    return namespace


def stub(name: str, words: int, length: int) -> Any:
    """Return a minimal task for building a model: a dictionary of a given size, and the maximum input length."""
    if name == "clap_roberta":
        dictionary: Any = Dictionary()
        for i in range(words - len(dictionary) - 1):
            dictionary.add_symbol(f"word{i}")
        dictionary.add_symbol(MASK)
    else:
        dictionary = TokenDictionary(Characters("ab"))
        dictionary.fill(words)
    cfg = SimpleNamespace(data="", mask_prob=MASKED)
    return SimpleNamespace(source_dictionary=dictionary, style_names=[], cfg=cfg, max_positions=lambda: length)


def shape_of(model: nn.Module, cfg: Any, arch: str = "") -> Shape:
    """Return the sizes that memory and cost depend on.

    Args:
        model: a registered model, on any device.
        cfg: complete options of the model.
        arch: name of the architecture, for the report.
    """
    side = "decoder" if "decoder_layers" in cfg else "encoder"
    sizes = [p.numel() for p in model.parameters()]
    blocks = cast(Any, model).peft_parts().blocks
    return Shape(
        arch=arch,
        parameters=sum(sizes),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        in_layers=sum(p.numel() for p in blocks.parameters() if p.ndim == 2),
        largest=max(sizes),
        factored=sum(sum(p.shape) if p.ndim == 2 else p.numel() for p in model.parameters() if p.requires_grad),
        layers=len(blocks),
        width=cfg[f"{side}_embed_dim"],
        heads=cfg[f"{side}_attention_heads"],
        inner=cfg[f"{side}_ffn_embed_dim"],
        words=cfg.vocab_size,
        predicted=1.0 if side == "decoder" else MASKED,
        causal=side == "decoder",
        rotary=str(cfg.positions) == "rotary",
        dropout=cfg.dropout,
        attention_dropout=cfg.attention_dropout,
        activation_dropout=cfg.get("activation_dropout", 0.0),
        clap=bool(cfg.get("normalize_embeddings", False)),
        styled=0.0 if cfg.get("style_layers", "none") == "none" else len(modulated_layers(cfg)) / len(blocks),
    )

"""The options of parameter-efficient fine-tuning, which every model of this package has."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Optional  # fairseq's parser does not read `int | None`

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from plugins.errors import UserError
from plugins.options import flag, option

METHODS = ("none", "lora", "prompt", "last_layer")
VARIANTS = ("lora", "rslora", "dora", "ia3")
METHOD, VARIANT = ChoiceEnum(list(METHODS)), ChoiceEnum(list(VARIANTS))


def adapter(help: str) -> Any:
    """Return a field that an adapter's checkpoint decides. None means the checkpoint's value, else the default."""
    return field(default=None, metadata={"help": help, "adapter": True})


@dataclass
class PeftConfig(FairseqDataclass):
    """Options of ``--peft``."""

    peft: Optional[METHOD] = adapter(
        "train few parameters of the model that --finetune-from-model names: lora: low-rank updates of matrices; "
        "prompt: learned vectors in the input; last_layer: the output projection, or the last layers (none)"
    )
    peft_base: Optional[str] = option(
        None,
        "checkpoint of the base, if it was moved (default: --finetune-from-model)",
    )
    peft_blocks: Optional[int] = adapter(
        "--peft last_layer: train this many of the last layers, and the layer norm after them, instead of the output "
        "projection (0)"
    )
    lora_variant: Optional[VARIANT] = adapter(
        "lora: Hu et al., 2021; rslora: scaled by alpha / sqrt(rank); dora: direction and length separate; ia3: "
        "learned factors, without rank (lora)"
    )
    lora_rank: Optional[int] = adapter("rank of the updates (16)")
    lora_alpha: Optional[float] = adapter("updates are multiplied by alpha / rank (default: twice the rank)")
    lora_targets: Optional[str] = adapter(
        "linear layers to adapt, comma-separated, for example attn.c_attn,mlp.c_fc, or 0.attn.c_attn for one layer "
        "(the input projections of attention)"
    )
    lora_dropout: float = option(0.0, "dropout of the input of the updates")
    prompt_tokens: Optional[int] = adapter("vectors of the prompt (default: the tokens of --prompt-words, else 24)")
    prompt_words: Optional[str] = option(
        None,
        "text whose embeddings initialize the prompt, repeated or truncated to fit (default: sampled from the table)",
    )


OPTIONS = [f.name for f in fields(PeftConfig) if f.metadata.get("adapter")]

BELONGS = {
    "peft_blocks": "last_layer",
    "lora_variant": "lora",
    "lora_rank": "lora",
    "lora_alpha": "lora",
    "lora_targets": "lora",
    "lora_dropout": "lora",
    "prompt_tokens": "prompt",
    "prompt_words": "prompt",
}


def complete(cfg: Any) -> None:
    """Fill in defaults, except those that depend on the model, and check the options, in place.

    Raises:
        UserError: an option belongs to another method or is out of range.
    """
    cfg.peft = str(cfg.peft or "none")
    for name, method in BELONGS.items():
        if cfg[name] and cfg.peft != method:
            raise UserError(f"{flag(name)} belongs to --peft {method}; this is --peft {cfg.peft}")
    if cfg.peft == "last_layer":
        cfg.peft_blocks = cfg.peft_blocks or 0
        if cfg.peft_blocks < 0:
            raise UserError(f"--peft-blocks {cfg.peft_blocks} is negative")
    if cfg.peft == "lora":
        complete_lora(cfg)
    for name in ("lora_rank", "prompt_tokens"):
        if cfg[name] is not None and cfg[name] < 1:
            raise UserError(f"{flag(name)} {cfg[name]} is not positive")
    if cfg.peft == "none" and cfg.peft_base:
        raise UserError("--peft-base is the base of an adapter, and this is --peft none; use --finetune-from-model")


def complete_lora(cfg: Any) -> None:
    """Fill in defaults of LoRA and check its options, in place.

    Raises:
        UserError: an option is out of range, or has no meaning for the variant.
    """
    cfg.lora_variant = str(cfg.lora_variant or "lora")
    if cfg.lora_variant == "ia3":
        for name in ("lora_rank", "lora_alpha", "lora_dropout"):
            if cfg[name]:
                raise UserError(f"{flag(name)} has no meaning for --lora-variant ia3")
        return
    if cfg.lora_alpha == 0 or not math.isfinite(cfg.lora_alpha or 0):
        raise UserError(f"--lora-alpha {cfg.lora_alpha}: disables learning; about twice the rank is usual")
    cfg.lora_rank = 16 if cfg.lora_rank is None else cfg.lora_rank
    cfg.lora_alpha = 2.0 * cfg.lora_rank if cfg.lora_alpha is None else cfg.lora_alpha
    if not 0 <= cfg.lora_dropout < 1:
        raise UserError(f"--lora-dropout {cfg.lora_dropout} is not a probability below 1")

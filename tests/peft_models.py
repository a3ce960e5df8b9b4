"""Toy bases in files, and models tuned on them, for every method and every model."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
import toy
from omegaconf import OmegaConf

from plugins import peft
from plugins.data.dictionaries import MaskDictionary
from plugins.models.causal_lm import CausalLanguageModel
from plugins.models.causal_lm_config import CausalLMConfig
from plugins.models.char_lm import CharLanguageModel
from plugins.models.char_lm_config import CharLMConfig
from plugins.models.clap_roberta import ClapRobertaModel
from plugins.models.clap_roberta_config import ClapRobertaConfig
from plugins.optim.fused_adamw import FusedAdamW
from plugins.options import NO_START

METHODS = {
    "lora": {"peft": "lora", "lora_rank": 4},
    "rslora": {"peft": "lora", "lora_rank": 4, "lora_variant": "rslora", "lora_dropout": 0.1},
    "dora": {"peft": "lora", "lora_rank": 4, "lora_variant": "dora"},
    "ia3": {"peft": "lora", "lora_variant": "ia3"},
    "prompt": {"peft": "prompt", "prompt_tokens": 3},
    "last_layer": {"peft": "last_layer"},
    "last_block": {"peft": "last_layer", "peft_blocks": 1},
}
WORDS, LENGTH = 30, 10
DECODER = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 16, "dropout": 0.0}
ENCODER = {**toy.SIZE, "encoder_embed_dim": 16, "max_positions": 16, "dropout": 0.0, "attention_dropout": 0.0}
MODELS = {
    "causal_lm": (CausalLanguageModel, CausalLMConfig, DECODER),
    "char_lm": (CharLanguageModel, CharLMConfig, DECODER | {"positions": "alibi", "tie_embeddings": False}),
    "char_lm with styles": (CharLanguageModel, CharLMConfig, DECODER | {"style_layers": "every", "bias": True}),
    "clap_roberta": (ClapRobertaModel, ClapRobertaConfig, ENCODER),
    "clap_roberta with alibi": (
        ClapRobertaModel,
        ClapRobertaConfig,
        ENCODER | {"head": "roberta", "positions": "alibi", "alibi_bos": "learned", "encoder_normalize_before": True},
    ),
}


class Characters(list):
    def pad(self):
        return len(self)


def task_of(name):
    if not name.startswith("clap"):
        styles = ["a", "b"] if "styles" in name else []
        return SimpleNamespace(source_dictionary=Characters(range(WORDS)), style_names=styles)
    dictionary = MaskDictionary()
    for i in range(WORDS - 5):
        dictionary.add_symbol(f"w{i}")
    dictionary.add_mask()
    return SimpleNamespace(source_dictionary=dictionary, max_positions=lambda: 16, cfg=SimpleNamespace(data="nowhere"))


def build(name, seed=0, **options):
    """Return a model built from options through its registered class, and the options as they were resolved."""
    cls, config, sizes = MODELS[name]
    torch.manual_seed(seed)
    cfg = OmegaConf.structured(config(**{**NO_START, **sizes, **options}))
    cfg._name = "clap_roberta" if name.startswith("clap") else name.split()[0]
    return cls.build_model(cfg, task_of(name)).eval(), cfg


def save(path, model, cfg):
    """Write what of a fairseq checkpoint matters here."""
    torch.save({"args": None, "cfg": {"model": OmegaConf.to_container(cfg, enum_to_str=True)},
                "model": model.state_dict()}, path)  # fmt: skip
    return path


def make_base(folder, name, seed=0):
    """Write a model with random weights to a file."""
    model, cfg = build(name, seed)
    return save(folder / f"{name.replace(' ', '_')}-{seed}.pt", toy.randomize(model, seed, scale=0.3), cfg)


def tokens_for(name, seed=1):
    """Return (B, T) tokens; those of clap_roberta begin with <s>, and one row is padded."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, WORDS - 1, (4, LENGTH), generator=generator)
    if name.startswith("clap"):
        tokens[:, 0], tokens[-1, -3:] = 0, 1
    return tokens


@torch.no_grad()
def logits(model, tokens):
    return model.eval()(tokens)[0]


def loss(model, tokens):
    """Return the loss as the criterions take it, and its count."""
    if isinstance(model, ClapRobertaModel):
        target = torch.where(tokens == 1, 1, tokens.roll(1, 1))
        return model(tokens, masked_tokens=target != 1, target=target)[1]["loss"], (target != 1).sum()
    target = tokens[:, 1:]
    if isinstance(model, CausalLanguageModel):
        return model(tokens[:, :-1], target=target)[1]["loss"], target.numel()
    return F.cross_entropy(model(tokens[:, :-1])[0].flatten(0, 1), target.flatten(), reduction="sum"), target.numel()


def train(model, tokens, updates=3, lr=0.05):
    """Train, as fairseq does, the parameters that require a gradient. Return the optimizer."""
    model.train()
    cfg = SimpleNamespace(lr=[lr], adam_betas="(0.9, 0.98)", adam_eps=1e-6, weight_decay=0.0, decay_all=False)
    optimizer = FusedAdamW(cfg, [p for p in model.parameters() if p.requires_grad])
    for _ in range(updates):
        optimizer.zero_grad()
        summed, count = loss(model, tokens)
        (summed / count).backward()
        optimizer.optimizer.step()
    model.eval()
    return optimizer


def snapshot(model):
    """Return a copy of all that a model consists of."""
    return {name: tensor.clone() for name, tensor in peft.whole_state(model).items()}

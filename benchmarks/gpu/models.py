"""The models of the check, and a training step of each: ours, fairseq's RoBERTa, transformers' RoBERTa and ModernBERT,
and decoders of the shape of GPT-2.

A shape is (layers, channels, heads, tokens, vocabulary).
"""

import argparse
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Shape = tuple[int, int, int, int, int]
OURS = {  # name: options of clap_roberta
    "learned": dict(positions="learned", head="roberta"),
    "alibi": dict(positions="alibi", head="roberta"),
    "alibi-flex": dict(positions="alibi", head="roberta", attn_implementation="flex_attention"),
    "alibi-clap": dict(positions="alibi", head="clap"),
    "rotary": dict(positions="rotary", head="roberta"),
}
MLM_PEERS = ("fairseq", "hf-roberta", "modernbert")
DECODERS = ("gpt2-learned", "gpt2-alibi", "hf-gpt2")


class Contestant:
    """A model with its loss and optimizer."""

    def __init__(self, model: nn.Module, loss: Callable[[], Tensor], precision: str, device: str):
        self.model = model.to(device).train()
        if precision == "weights":
            self.model.bfloat16()
        self.loss, self.autocast, self.device = loss, precision == "autocast", device
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4, fused=True)

    def step(self) -> Tensor:
        """Do one update and return its loss (a scalar)."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


def dictionary_of(words: int) -> Any:
    """Return a dictionary of ``words`` entries, the last of which is ``<mask>``."""
    from plugins.data.dictionaries import MaskDictionary

    dictionary = MaskDictionary()
    for i in range(words - 5):
        dictionary.add_symbol(f"w{i}")
    dictionary.add_mask()
    return dictionary


def task_of(shape: Shape) -> Any:
    """Return what models and criterions ask of a task."""
    dictionary = dictionary_of(shape[-1])
    return SimpleNamespace(
        source_dictionary=dictionary, target_dictionary=dictionary, max_positions=lambda: shape[3], cfg=None
    )


def clap_roberta(shape: Shape, dropout: float = 0.0, **options: Any) -> nn.Module:
    """Return a clap_roberta with equal weights for equal options."""
    from omegaconf import OmegaConf

    from plugins.models.clap_roberta import ClapRobertaModel
    from plugins.models.clap_roberta_config import ClapRobertaConfig
    from plugins.options import NO_START

    layers, width, heads, tokens, _ = shape
    config = ClapRobertaConfig(
        encoder_layers=layers, encoder_embed_dim=width, encoder_ffn_embed_dim=4 * width, encoder_attention_heads=heads,
        max_positions=tokens, dropout=dropout, attention_dropout=dropout, **NO_START, **options,
    )  # fmt: skip
    torch.manual_seed(0)
    return ClapRobertaModel.build_model(OmegaConf.structured(config), task_of(shape))


def masked_batch(rows: int, shape: Shape, device: str, padded: bool = False) -> dict[str, Any]:
    """Return a batch of the masked-LM collater on a device: 15 % of the tokens are predicted."""
    from plugins.data.mlm.masking import MaskedBlocks, Masking

    tokens, words = shape[3], shape[4]
    generator = torch.Generator().manual_seed(1)
    lengths = [tokens - tokens // 8 if padded and i % 2 else tokens for i in range(rows)]
    blocks = Blocks([torch.randint(4, words - 1, (length,), generator=generator) for length in lengths])
    weights = np.ones(words)
    dataset = MaskedBlocks(blocks, Masking(0.15, 0.1, 0.1, words - 1, 1, weights), seed=1)
    return to(dataset.collater([dataset[i] for i in range(rows)]), device)


class Blocks(list):
    """Blocks of tokens with their sizes."""

    @property
    def sizes(self) -> np.ndarray:
        return np.array([len(block) for block in self])


def to(sample: Any, device: str | torch.device) -> Any:
    """Move the tensors of a nested sample."""
    if torch.is_tensor(sample):
        return sample.to(device)
    return {key: to(value, device) for key, value in sample.items()} if isinstance(sample, dict) else sample


def mean(result: tuple[Tensor, int, Any]) -> Tensor:
    """Return the loss of a prediction from what a criterion returns."""
    return result[0] / result[1]


def masked_contestant(name: str, shape: Shape, batch: dict[str, Any], precision: str, **options: Any) -> Contestant:
    """Return a masked LM by name, with the criterion of its own library."""
    device = str(batch["target"].device.type)
    task = task_of(shape)
    if name in OURS:
        from plugins.criterions.clap_masked_lm import ClapMaskedLMCriterion

        model, criterion = clap_roberta(shape, **OURS[name], **options), ClapMaskedLMCriterion(task)
        return Contestant(model, lambda: mean(criterion(model, batch)), precision, device)
    layers, width, heads, tokens, _ = shape
    if name == "fairseq":
        from fairseq.criterions.masked_lm import MaskedLmConfig, MaskedLmLoss
        from fairseq.models.roberta import RobertaModel

        size = argparse.Namespace(
            encoder_layers=layers, encoder_embed_dim=width, encoder_ffn_embed_dim=4 * width,
            encoder_attention_heads=heads, dropout=0.0, attention_dropout=0.0, max_positions=tokens,
        )  # fmt: skip
        model, criterion = RobertaModel.build_model(size, task), MaskedLmLoss(MaskedLmConfig(), task)
        inputs = {"src_tokens": batch["net_input"]["src_tokens"], "src_lengths": batch["net_input"]["src_lengths"]}
        plain = {**batch, "net_input": inputs}
        return Contestant(model, lambda: mean(criterion(model, plain)), precision, device)
    model = transformers_model(name, shape)
    if options.get("compile"):
        model.compile()
    labels = batch["target"].masked_fill(batch["target"] == 1, -100)
    tokens_in = batch["net_input"]["src_tokens"]
    return Contestant(model, lambda: model(input_ids=tokens_in, labels=labels).loss, precision, device)


def transformers_model(name: str, shape: Shape) -> nn.Module:
    """Return a model of transformers with random weights and without dropout, on ``sdpa``."""
    import transformers

    layers, width, heads, tokens, words = shape
    size = dict(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, attn_implementation="sdpa")
    if name == "hf-roberta":
        config = transformers.RobertaConfig(
            vocab_size=words, intermediate_size=4 * width, max_position_embeddings=tokens + 2, type_vocab_size=1,
            layer_norm_eps=1e-5, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **size,
        )  # fmt: skip
        return transformers.RobertaForMaskedLM(config)
    if name == "modernbert":  # the published base: 22 layers, gated layers of 1,152, a vocabulary of 50,368
        base = layers == 12
        size |= dict(num_hidden_layers=22) if base else {}
        config = transformers.ModernBertConfig(
            vocab_size=50368 if base else words, intermediate_size=1152 if base else 2 * width, sparse_prediction=True,
            pad_token_id=1, bos_token_id=0, eos_token_id=2, cls_token_id=0, sep_token_id=2, **size,
        )  # fmt: skip
        return transformers.ModernBertForMaskedLM(config)
    config = transformers.GPT2Config(
        vocab_size=words, n_embd=width, n_layer=layers, n_head=heads, n_positions=tokens, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="sdpa",
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def causal_contestant(name: str, shape: Shape, rows: int, device: str, precision: str, compiled: bool) -> Contestant:
    """Return a decoder by name on a batch of random tokens."""
    layers, width, heads, tokens, words = shape
    torch.manual_seed(1)
    text = torch.randint(4, words - 1, (rows, tokens + 1), device=device)
    given, target = text[:, :-1].contiguous(), text[:, 1:].contiguous()
    if name == "hf-gpt2":
        model = transformers_model(name, shape)
        if compiled:
            model.compile()
        return Contestant(model, lambda: model(input_ids=given, labels=given).loss, precision, device)
    from omegaconf import OmegaConf

    from plugins.criterions.causal_lm import CausalLMCriterion
    from plugins.data.predicted import predicted
    from plugins.models.causal_lm import CausalLanguageModel
    from plugins.models.causal_lm_config import CausalLMConfig
    from plugins.options import NO_START

    task = task_of(shape)
    config = CausalLMConfig(
        decoder_layers=layers, decoder_embed_dim=width, decoder_ffn_embed_dim=4 * width,
        decoder_attention_heads=heads, block_size=tokens, dropout=0.0, attention_dropout=0.0, embedding_dropout=0.0,
        positions=name.removeprefix("gpt2-"), compile=compiled, **NO_START,
    )  # fmt: skip
    model = CausalLanguageModel.build_model(OmegaConf.structured(config), task)
    criterion = CausalLMCriterion(task)
    sample = {
        "net_input": {"src_tokens": given}, "target": target, "ntokens": target.numel(), "nsentences": rows,
        "predicted": to(predicted(target.cpu().numpy(), 1), device),
    }  # fmt: skip
    return Contestant(model, lambda: mean(criterion(model, sample)), precision, device)

"""The registered causal LM: GPT-2's sizes, a loss that is that of its logits, and rows for symbols that are added."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import toy
from omegaconf import OmegaConf

from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.models.causal_lm import CausalLanguageModel
from plugins.models.causal_lm_config import SIZES, CausalLMConfig
from plugins.options import NO_START

TINY = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 20}


def dictionary_of(rows):
    dictionary = TokenDictionary(Characters("abcdefgh"))
    dictionary.fill(rows)
    return dictionary


def make(rows=13, **options):
    torch.manual_seed(2)
    config = OmegaConf.structured(CausalLMConfig(**NO_START | TINY | options))
    return CausalLanguageModel.build_model(config, SimpleNamespace(source_dictionary=dictionary_of(rows)))


@pytest.mark.parametrize(
    ("size", "parameters"),
    # Those of GPT-2's published checkpoints, 124M, 355M, 774M and 1.5B
    [("small", 124_439_808), ("medium", 354_823_168), ("large", 774_030_080), ("xl", 1_557_611_200)],
)
def test_as_many_parameters_as_gpt2(size, parameters):
    with torch.device("meta"):
        model = make(50_257, **SIZES[size])
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_loss_is_the_summed_cross_entropy_of_the_logits_at_real_targets():
    model = make(dropout=0.0)
    tokens, target = torch.randint(13, (3, 9)), torch.randint(13, (3, 9))
    target[0, 4:] = target[2, 0] = 13  # pad() of 13 symbols
    loss = model(tokens, target=target)[1]["loss"]
    expected = F.cross_entropy(model(tokens)[0].flatten(0, 1), target.flatten(), ignore_index=13, reduction="sum")
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, list(model.parameters())) for value in (loss, expected))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_a_head_that_is_not_a_plain_layer_is_called():
    """An adapter's layer computes more than a product with its weight."""

    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = make(tie_embeddings=False, dropout=0.0).eval()
    tokens = target = torch.randint(13, (2, 5))
    head = Doubled(16, 13, bias=False)
    head.weight = model.decoder.lm_head.weight
    model.decoder.lm_head = head
    expected = F.cross_entropy(model(tokens)[0].flatten(0, 1), target.flatten(), reduction="sum")
    torch.testing.assert_close(model(tokens, target=target)[1]["loss"], expected)


@pytest.mark.parametrize("tied", [True, False])
def test_a_checkpoint_takes_new_symbols_whose_rows_are_the_mean_of_the_others(tied):
    old = make(13, tie_embeddings=tied)
    new = make(15, tie_embeddings=tied)
    new.load_state_dict(old.state_dict())
    for name in ("transformer.wte.weight", "lm_head.weight"):
        before, after = old.decoder.get_parameter(name), new.decoder.get_parameter(name)
        assert torch.equal(after[:13], before)
        torch.testing.assert_close(after[13:], before.mean(0).expand(2, -1))
    assert (new.decoder.lm_head.weight is new.decoder.transformer.wte.weight) == tied


def test_rows_are_made_up_for_added_symbols_only():
    dictionary = TokenDictionary(Characters("abcdefghijklm"))  # 14 symbols, of which the end alone is added
    task = SimpleNamespace(source_dictionary=dictionary)
    model = CausalLanguageModel.build_model(OmegaConf.structured(CausalLMConfig(**NO_START | TINY)), task)
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(make(12).state_dict())


def save(model, path):
    options = OmegaConf.to_container(model.cfg, enum_to_str=True)
    torch.save({"cfg": {"model": {**options, "_name": "causal_lm"}}, "model": model.state_dict()}, path)
    return str(path)


def test_training_starts_with_the_architecture_of_the_checkpoint(tmp_path):
    path = save(make(13, activation_fn="relu", norm_eps=1e-3), tmp_path / "model.pt")
    none = dict.fromkeys(TINY)
    model = make(14, finetune_from_model=path, **none)
    assert (model.cfg.decoder_layers, str(model.cfg.activation_fn), model.cfg.norm_eps) == (2, "relu", 1e-3)
    assert model.cfg.vocab_size == 14
    assert model.decoder.transformer.ln_f.eps == 1e-3


@pytest.mark.parametrize(
    ("rows", "options", "named"),
    [
        (13, {"decoder_layers": 3}, ["--decoder-layers 3"]),
        (13, {"norm_eps": 1e-6}, ["--norm-eps 1e-06"]),
        (12, {}, ["13", "12"]),
    ],
)
def test_options_that_contradict_the_checkpoint_are_named(tmp_path, rows, options, named):
    path = save(make(13), tmp_path / "model.pt")
    with toy.refused(path, *named):
        make(rows, finetune_from_model=path, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"decoder_attention_heads": 3}, ["--decoder-attention-heads 3", "--decoder-embed-dim 16"]),
        ({"norm_eps": 0.0}, ["--norm-eps 0.0"]),
        ({"vocab_size": 9}, ["--vocab-size 9", "13"]),
    ],
)
def test_options_that_do_not_fit_are_named(options, named):
    with toy.refused(*named):
        make(**options)


def test_recomputed_activations_change_neither_loss_nor_gradients():
    results = []
    for recompute in (False, True):
        model = make(dropout=0.2, checkpoint_activations=recompute).train()
        torch.manual_seed(5)
        loss = model(torch.arange(13)[None], target=torch.arange(13)[None])[1]["loss"]
        results.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

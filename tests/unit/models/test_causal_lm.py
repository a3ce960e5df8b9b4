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


def test_each_option_of_the_layers_reaches_its_place():
    model = make(dropout=0.1, embedding_dropout=0.2, attention_dropout=0.3, norm_eps=1e-3, activation_fn="relu",
                 bias=False, residual=False, positions="alibi", alibi_dtype="float32", decoder_ffn_embed_dim=24,
                 checkpoint_activations=True)  # fmt: skip
    decoder = model.decoder.transformer
    assert decoder.dropout.p == 0.2 and decoder.checkpoint_activations and decoder.positions.float32
    for block in decoder.h:
        assert (block.dropout.p, block.attn.dropout, block.ln_1.eps, block.residual) == (0.1, 0.3, 1e-3, False)
        assert block.mlp.activation is F.relu and block.mlp.c_fc.weight.shape == (24, 16)
    assert not [name for name in model.state_dict() if name.endswith("bias")]
    assert model.decoder.transformer.ln_f.eps == 1e-3 and decoder.compiled_stack is None


def test_options_that_are_not_given_follow_others():
    model = make(dropout=0.4)
    cfg, decoder = model.cfg, model.decoder.transformer
    assert (cfg.embedding_dropout, cfg.attention_dropout, cfg.decoder_ffn_embed_dim) == (0.4, 0.4, 64)
    assert (cfg.vocab_size, cfg.trained_length, cfg.norm_eps, cfg.bias, cfg.residual) == (13, 20, 1e-5, True, True)
    assert (str(cfg.activation_fn), str(cfg.positions), cfg.tie_embeddings) == ("gelu_tanh", "learned", True)
    assert not decoder.checkpoint_activations and model.max_positions() == 20


@pytest.mark.parametrize("options, named", [
    ({name: 0}, [f"--{name.replace('_', '-')} 0"]) for name in TINY
] + [
    ({"decoder_ffn_embed_dim": 0}, ["--decoder-ffn-embed-dim 0"]),
    ({"dropout": -0.1}, ["--dropout -0.1"]), ({"embedding_dropout": 1.1}, ["--embedding-dropout 1.1"]),
    ({"attention_dropout": 1.1}, ["--attention-dropout 1.1"]),
    ({"positions": "alibi_symmetric"}, ["--positions alibi_symmetric", "alibi"]),
    ({"positions": "nope"}, ["--positions 'nope'", "rotary"]),
    ({"positions": "rotary", "decoder_embed_dim": 18}, ["--positions rotary", "--decoder-embed-dim 18"]),
    ({"compile": True, "shard": True}, ["--compile", "--shard"]),
    ({"positions": "rotary", "position_scaling_factor": float("inf")}, ["--position-scaling-factor inf"]),
    ({"positions": "rotary", "trained_length": -1}, ["--trained-length -1"]),
])  # fmt: skip
def test_values_out_of_range_are_named(options, named):
    with toy.refused(*named):
        make(**options)


def test_dropout_of_1_and_a_scaling_by_1_are_allowed():
    make(dropout=1.0, positions="rotary", position_scaling_factor=1.0, trained_length=1)


@pytest.mark.parametrize("positions, kept", [("learned", False), ("alibi", True)])
def test_the_block_may_change_where_positions_have_no_table(tmp_path, positions, kept):
    path = save(make(positions=positions), tmp_path / "model.pt")
    given = {name: None for name in TINY} | {"finetune_from_model": path}
    if kept:
        model = make(**given | {"block_size": 40})
        assert (model.cfg.block_size, model.cfg.trained_length, str(model.cfg.positions)) == (40, 20, "alibi")
    else:
        with toy.refused(path, "--block-size 40", 20):
            make(**given | {"block_size": 40})
    assert make(**given).cfg.block_size == 20


def test_places_of_targets_are_found_or_given():
    model = make(dropout=0.0)
    tokens, target = torch.randint(13, (2, 5)), torch.full((2, 5), 13)
    target[1, 2:4] = 3
    expected = F.cross_entropy(model(tokens)[0][1, 2:4], target[1, 2:4], reduction="sum")
    for given in (None, {"rows": torch.tensor([7, 8])}):
        torch.testing.assert_close(model(tokens, target=target, predicted=given)[1]["loss"], expected)
    whole = model(tokens, target=tokens, predicted={"rows": None})[1]["loss"]
    torch.testing.assert_close(whole, model(tokens, target=tokens)[1]["loss"])


def test_features_are_what_the_output_layer_reads():
    model = make(dropout=0.0)
    tokens = torch.randint(13, (2, 5))
    features = model(tokens, features_only=True)[0]
    assert features.shape == (2, 5, 16)
    assert torch.equal(model.output_layer(features), model(tokens)[0])
    log_probs = model.get_normalized_probs((features.new_zeros(1, 1, 13), {}), log_probs=True)
    assert log_probs[0, 0].tolist() == [pytest.approx(-2.564949)] * 13 + [-float("inf")]


def test_a_cache_that_cannot_slide_names_the_option():
    with toy.refused("--positions learned"):
        make().new_cache(1, window=4)
    assert make(positions="rotary").new_cache(3, window=4).window == 4


def test_a_size_fills_in_only_what_was_not_given():
    from fairseq.models import ARCH_CONFIG_REGISTRY

    args = SimpleNamespace(decoder_layers=3, dropout=None)
    ARCH_CONFIG_REGISTRY["causal_lm_tiny"](args)
    assert vars(args) == {"decoder_layers": 3, "dropout": 0.1, "decoder_attention_heads": 4, "decoder_embed_dim": 256,
                          "block_size": 512}  # fmt: skip

"""The registered character LM: causal in every option, sized as named, and with named errors."""

import math
from types import SimpleNamespace

import pytest
import torch
import toy
from omegaconf import OmegaConf

from plugins.models.char_lm import CharLanguageModel, modulated_layers
from plugins.models.char_lm_config import SIZES, CharLMConfig
from plugins.modules.style_adapter import INFERENCES
from plugins.options import NO_START

WORDS, BLOCK = 13, 20
TINY = {"decoder_layers": 4, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": BLOCK}


class Characters:
    def __len__(self):
        return WORDS

    def pad(self):
        return WORDS


def make(names=(), **options):
    torch.manual_seed(2)
    config = CharLMConfig(**{**NO_START, **TINY, **options})
    task = SimpleNamespace(source_dictionary=Characters(), style_names=list(names))
    return CharLanguageModel.build_model(OmegaConf.structured(config), task).eval()


def shaken(model):
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model


def logits(model, tokens, **options):
    with torch.no_grad():
        return model(tokens, **options)[0]


OPTIONS = [
    *({"positions": positions} for positions in ("learned", "sinusoidal", "alibi", "rotary")),
    {"residual": False},
    {"bias": True},
    {"tie_embeddings": False},
    {"init": "xavier"},
    {"activation_fn": "relu"},
    *({"style_layers": "every", "style_inference": inference} for inference in INFERENCES),
    {"style_layers": "every_other", "style_source": 3},
    {"style_layers": "every", "num_styles": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_change_of_any_character_leaves_every_earlier_logit_bit_for_bit_unchanged(options):
    model, tokens = shaken(make(**options)), torch.randint(WORDS, (2, BLOCK))
    before = logits(model, tokens)
    for place in range(BLOCK):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % WORDS
        after = logits(model, changed)
        assert torch.equal(before[:, :place], after[:, :place])
        assert not torch.equal(before[:, place], after[:, place])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("twin", [{}, {"style_layers": "every"}], ids=["plain", "style"])
def test_every_architecture_is_causal(size, twin):
    model = make(**SIZES[size], **twin)
    tokens = torch.randint(WORDS, (1, model.max_positions()))
    changed = tokens.clone()
    changed[:, 40] = (changed[:, 40] + 1) % WORDS
    before, after = logits(model, tokens), logits(model, changed)
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40:], after[:, 40:])


def test_the_published_form_leaks_and_warns_once(caplog):
    model = shaken(make(style_layers="every", style_inference="published"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "lets every position see the end" in caplog.text
    tokens = torch.randint(WORDS, (1, BLOCK))
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % WORDS
    assert not torch.equal(logits(model, tokens)[:, 0], logits(model, changed)[:, 0])


def test_the_published_form_reads_the_style_from_the_last_character_not_from_padding():
    model, tokens = shaken(make(style_layers="every", style_inference="published")), torch.randint(WORDS, (2, BLOCK))
    padded = logits(model, tokens, src_lengths=torch.tensor([BLOCK, 9]))
    torch.testing.assert_close(padded[1, :9], logits(model, tokens[1:, :9])[0])


def test_the_published_form_has_no_cache():
    with toy.refused("--style-inference published"):
        make(style_layers="every", style_inference="published").new_cache(1)


def test_an_untrained_adapter_is_the_plain_model_to_the_last_bit():
    plain, styled = make(), make(style_layers="every")
    styled.load_state_dict(plain.state_dict(), strict=False)
    tokens = torch.randint(WORDS, (2, BLOCK))
    assert torch.equal(logits(plain, tokens), logits(styled, tokens))


@pytest.mark.parametrize(
    ("size", "words", "parameters"),
    [
        # nanoGPT prints 0.80M and 10.65M, without its position table of 64 x 128 and 256 x 384 numbers
        ("nano", 65, 795_904 + 64 * 128),
        ("small", 65, 10_646_784 + 256 * 384),
    ],
)
def test_as_many_parameters_as_nanogpt_has(size, words, parameters, monkeypatch):
    monkeypatch.setattr(Characters, "__len__", lambda self: words)
    assert sum(p.numel() for p in make(**SIZES[size]).parameters()) == parameters


def test_xavier_leaves_a_tied_table_to_the_embedding():
    model = make(init="xavier", decoder_embed_dim=128)
    assert model.decoder.lm_head.weight is model.decoder.transformer.wte.weight
    assert model.decoder.lm_head.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_untied_tables_are_two():
    model = make(tie_embeddings=False)
    assert model.decoder.lm_head.weight is not model.decoder.transformer.wte.weight


def test_the_cache_gives_the_logits_of_one_pass():
    model, tokens = shaken(make(style_layers="every")), torch.randint(WORDS, (2, BLOCK))
    cache = model.new_cache(2)
    parts = [logits(model, part, cache=cache) for part in tokens.split([4, 1, 1, 8, 6], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), logits(model, tokens), atol=1e-5, rtol=0)


def test_probabilities_have_a_column_for_padding_that_is_never_predicted():
    model, tokens = make(), torch.randint(WORDS, (1, 4))
    probabilities = model.get_normalized_probs(model(tokens), log_probs=False)
    assert probabilities.shape == (1, 4, WORDS + 1)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(1, 4))
    assert probabilities[..., -1].max() == 0
    assert model.get_normalized_probs(model(tokens), log_probs=True)[..., -1].max() == -math.inf


def test_as_many_styles_as_the_corpus_names_else_four():
    assert make(["drama", "novel"], style_layers="every").num_styles == 2
    assert make(style_layers="every").num_styles == 4
    assert make().num_styles == 0


def test_one_style_is_a_control_that_ignores_labels():
    model = make(["drama", "novel"], style_layers="every", num_styles=1).train()
    model(torch.randint(WORDS, (2, 5)), style_labels=torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"decoder_attention_heads": 3}, ["--decoder-attention-heads 3", "--decoder-embed-dim 16"]),
        ({"block_size": 0}, ["--block-size 0"]),
        ({"decoder_ffn_embed_dim": 0}, ["--decoder-ffn-embed-dim 0"]),
        ({"decoder_ffn_embed_dim": -1}, ["--decoder-ffn-embed-dim -1"]),
        ({"style_layers": "every", "style_dim": 0}, ["--style-dim 0"]),
        ({"style_layers": "every", "style_hidden": -1}, ["--style-hidden -1"]),
        ({"style_layers": "every", "num_styles": 0}, ["--num-styles 0", "2"]),
        ({"dropout": 1.5}, ["--dropout 1.5"]),
        ({"vocab_size": 9}, ["--vocab-size 9", "13"]),
        ({"style_layers": "every", "style_source": 5}, ["--style-source 5", "4"]),
        ({"style_layers": "every", "num_styles": 3}, ["--num-styles 3", "2"]),
        ({"style_layers": "every", "style_true_prob": 0.95}, ["--style-null-prob", "--style-true-prob"]),
        ({"style_layers": "every", "style_inference": "prefix", "style_prefix": 20}, ["--style-prefix 20"]),
        ({"style_layers": "every_other", "decoder_layers": 1}, ["--style-layers every_other", "1"]),
        ({"style_layers": "every_other", "style_source": 3, "decoder_layers": 3}, ["--style-layers every_other", "3"]),
    ],
)
def test_options_that_do_not_fit_are_named(options, named):
    with toy.refused(*named):
        make(["drama", "novel"], **options)


def test_the_last_layer_may_be_the_source_of_an_even_number():
    make(["drama", "novel"], style_layers="every_other", style_source=4, decoder_layers=4)


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_styles_that_is_not_positive_is_refused_without_labels_too(count):
    with toy.refused(f"--num-styles {count}"):
        make(style_layers="every", num_styles=count)


@pytest.mark.parametrize(
    "options, named",
    [
        (
            {"positions": "rotary", "decoder_embed_dim": 20, "decoder_attention_heads": 4},
            ["--positions rotary", "--decoder-embed-dim 20"],
        ),
        ({"positions": "learned", "position_scaling": "linear"}, ["--position-scaling linear", "--positions learned"]),
        ({"positions": "alibi", "position_scaling": "yarn"}, ["--position-scaling yarn", "--positions alibi"]),
        ({"positions": "rotary", "position_scaling_factor": 0.5}, ["--position-scaling-factor 0.5"]),
        ({"positions": "rotary", "trained_length": -3}, ["--trained-length -3"]),
    ],
)
def test_positions_that_cannot_be_had_are_refused_by_their_flags(options, named):
    with toy.refused(*named):
        make(**options)


def test_scaling_reaches_the_positions_and_is_recorded():
    model = make(positions="rotary", position_scaling="yarn", position_scaling_factor=4.0)
    scaling = model.decoder.transformer.positions.scaling
    assert (scaling.kind, scaling.factor, scaling.trained) == ("yarn", 4.0, BLOCK)
    assert (str(model.cfg.position_scaling), model.cfg.trained_length) == ("yarn", BLOCK)


def test_each_option_of_the_styles_reaches_the_adapter():
    model = make(style_layers="every_other", style_source=2, style_inference="ema", style_decay=0.7, style_prefix=5,
                 num_styles=3, style_dim=6, style_hidden=7, style_null_prob=0.2, style_true_prob=0.3)  # fmt: skip
    style = model.decoder.style
    assert (style.styles, style.source, style.null_prob, style.true_prob) == (3, 1, 0.2, 0.3)
    assert style.decay == 0.7 and model.num_styles == 3
    shapes = {tuple(p.shape) for p in style.parameters()}
    assert (3, 6) in shapes and any(7 in shape for shape in shapes)


@pytest.mark.parametrize("options, layers", [
    ({"style_layers": "every"}, [0, 1, 2, 3]), ({"style_layers": "every", "style_source": 3}, [2, 3]),
    ({"style_layers": "every_other"}, [1, 3]), ({"style_layers": "every_other", "style_source": 3}, [3]),
    ({"style_layers": "every", "style_inference": "published"}, [0, 1, 2, 3]),
    ({"style_layers": "every_other", "style_inference": "published"}, [1]),
    ({"style_layers": "every_other", "style_inference": "published", "decoder_layers": 5}, [1, 3]),
])  # fmt: skip
def test_layers_from_the_source_are_modulated(options, layers):
    assert modulated_layers(make(**options).cfg) == layers


@pytest.mark.parametrize("options, gates", [({"style_layers": "every"}, 4), ({"style_layers": "every_other"}, 2)])
def test_the_published_form_has_a_gate_for_every_layer_or_every_other(options, gates):
    model = make(style_inference="published", style_dim=6, num_styles=3, **options)
    names = [name for name in model.state_dict() if name.startswith("decoder.style.style_adapters.")]
    assert len({name.split(".")[3] for name in names}) == gates
    assert model.decoder.style.style_embeddings.shape == (3, 6)


def test_an_adapter_is_forced_to_a_style_and_trained_with_labels():
    model, tokens = shaken(make(["a", "b"], style_layers="every")), torch.randint(WORDS, (2, 6))
    forced = [logits(model, tokens, styles=torch.eye(2)[[k, k]]) for k in (0, 1)]
    assert not torch.allclose(*forced)
    model.decoder.style.true_prob, model.decoder.style.null_prob = 1.0, 0.0
    labeled = [logits(model.train(), tokens, style_labels=torch.tensor([k, k])) for k in (0, 1)]
    for one, other in zip(labeled, forced, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert make()(tokens)[1]["style_logits"] is None

"""Identity of a base; names; what the methods do to a model that the contract matrix cannot see."""

import contextlib

import pytest
import torch
import toy
from peft_models import METHODS, build, logits, make_base, tokens_for

from plugins import peft


def test_a_fingerprint_depends_on_names_types_shapes_and_contents():
    tensors = {"a": torch.arange(6.0), "b": torch.tensor(1.0)}
    changed = [
        {"a": torch.arange(6.0), "c": torch.tensor(1.0)},
        {"a": torch.arange(6.0).half(), "b": torch.tensor(1.0)},
        {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1.0)},
        {"a": torch.arange(6.0), "b": torch.tensor(1.0 + 2**-20)},
    ]
    own = peft.fingerprint(tensors)
    assert own == peft.fingerprint({"b": torch.tensor(1.0), "a": torch.arange(12.0)[::2].div(2)})
    assert len({own, *map(peft.fingerprint, changed)}) == 5
    assert own.hex() == "495465a4db75e319ea94cbcf5bd24630bf9b46cf6dd1340250d7534303a10cdd"


@pytest.mark.parametrize("name", ["causal_lm", "char_lm", "clap_roberta", "clap_roberta with alibi"])
def test_a_prompt_of_words_equals_the_words_in_the_input(name, tmp_path):
    """Positions, padding and attention bias are those of tokens in the same place."""
    path, tokens, words = make_base(tmp_path, name), tokens_for(name), [6, 7, 8]
    model, cfg = build(name, finetune_from_model=str(path))
    at = int(name.startswith("clap"))
    hard = torch.cat([tokens[:, :at], torch.tensor(words).expand(len(tokens), -1), tokens[:, at:]], dim=1)
    model.load_state_dict(torch.load(path)["model"])
    expected = logits(model, hard)
    cfg.peft, cfg.prompt_tokens = "prompt", 3
    peft.tune(model, cfg, words)
    kept = [i for i in range(hard.size(1)) if not at <= i < at + 3]
    torch.testing.assert_close(logits(model, tokens), expected[:, kept], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("words, expected", [([6], [6, 6, 6]), ([6, 7], [6, 7, 6]), ([6, 7, 8, 9], [6, 7, 8])])
def test_words_are_repeated_or_cut_to_fit(words, expected):
    model, cfg = build("causal_lm")
    cfg.peft, cfg.prompt_tokens = "prompt", 3
    peft.tune(model, cfg, words)
    table = model.decoder.transformer.wte.weight
    assert torch.equal(model.decoder.transformer.prompt.weight, table[expected])


@pytest.mark.parametrize("name", ["causal_lm", "char_lm with styles"])
def test_a_cache_contains_the_prompt(name, tmp_path):
    model, _ = build(name, finetune_from_model=str(make_base(tmp_path, name)), **METHODS["prompt"])
    tokens, cache = tokens_for(name), model.new_cache(4)
    whole = logits(model, tokens)
    with torch.no_grad():
        for _ in range(2):  # the second time after a reset
            parts = [model(part, cache=cache)[0] for part in tokens.split([4, 1, 5], dim=1)]
            torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)
            assert cache.length == 10 + 3
            cache.reset()
    assert model.max_positions() == 16 - 3
    with toy.refused(17, 3, 16, error=ValueError):
        model(torch.zeros(1, 14, dtype=torch.long))


def test_a_head_on_the_first_token_does_not_read_the_prompt():
    model, cfg = build("clap_roberta")
    model.register_classification_head("label", num_classes=2)
    cfg.peft, cfg.prompt_tokens = "prompt", 3
    peft.tune(model, cfg, [6, 7, 8])
    tokens = tokens_for("clap_roberta")
    with torch.no_grad():
        features = model(tokens, features_only=True)[0]
        assert features.shape[:2] == tokens.shape
        expected = model.classification_heads["label"].classify(features[:, 0])
        torch.testing.assert_close(model(tokens, classification_head_name="label")[0], expected)
    states = model(tokens, features_only=True, return_all_hiddens=True)[1]["inner_states"]
    assert {tuple(state.shape) for state in states} == {(10, 4, 16)}


def test_a_head_that_is_registered_later_is_trained_and_saved():
    model, cfg = build("clap_roberta")
    cfg.peft = "lora"
    peft.complete(cfg)
    peft.tune(model, cfg)
    model.register_classification_head("label", num_classes=2)
    saved = {name for name in model.state_dict() if name.startswith("classification_heads.label")}
    assert len(saved) == 4
    assert saved < peft.tuned_names(model)


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["attn.c_attn", "mlp.c_fc,mlp.c_proj,attn.c_proj"])
def test_every_target_is_called_when_it_is_replaced(targets, tmp_path):
    """A fused path that read ``weight`` directly would not see the addition."""
    path, tokens = make_base(tmp_path, "causal_lm"), tokens_for("causal_lm")
    model, _ = build("causal_lm", finetune_from_model=str(path), peft="lora", lora_targets=targets)
    for name, parameter in list(model.named_parameters()):
        if ".lora_B." in name:
            before = logits(model, tokens)
            with torch.no_grad():
                parameter.normal_()  # not a constant, which layer norms take out again
            assert not torch.allclose(logits(model, tokens), before, atol=1e-4), name
    assert len(peft.tuned_names(model)) == 2 * 2 * len(targets.split(","))


@pytest.mark.parametrize("name", ["causal_lm", "clap_roberta with alibi"])
@pytest.mark.parametrize("method", ["lora", "last_layer", "last_block", "prompt"])
def test_disabled_it_computes_like_its_base_also_after_an_error(name, method, tmp_path):
    path, tokens = make_base(tmp_path, name), tokens_for(name)
    base = build(name)[0]
    base.load_state_dict(torch.load(path)["model"])
    model, _ = build(name, finetune_from_model=str(path), **METHODS[method])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    changed = logits(model, tokens)
    for error in (None, ZeroDivisionError):
        with pytest.raises(error) if error else contextlib.nullcontext(), peft.disabled(model):
            assert torch.equal(logits(model, tokens), logits(base, tokens))
            if error:
                raise error
        assert torch.equal(logits(model, tokens), changed)


def test_a_merged_model_is_saved_as_a_plain_one_and_undone(tmp_path):
    path, tokens = make_base(tmp_path, "causal_lm"), tokens_for("causal_lm")
    model, _ = build("causal_lm", finetune_from_model=str(path), peft="lora", lora_rank=2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    expected, before = logits(model, tokens), peft.whole_state(model)
    peft.merge(model)
    plain = build("causal_lm")[0]
    plain.load_state_dict(peft.merged_state(model), strict=True)
    torch.testing.assert_close(logits(plain, tokens), expected, rtol=1e-4, atol=1e-4)
    peft.unmerge(model)
    after = peft.whole_state(model)
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-5, atol=1e-5)


def test_a_model_is_tuned_once():
    model, cfg = build("causal_lm")
    cfg.peft = "last_layer"
    peft.complete(cfg)
    peft.tune(model, cfg)
    with pytest.raises(ValueError):
        peft.tune(model, cfg)


def test_more_layers_than_the_model_has_are_refused():
    model, cfg = build("causal_lm")
    cfg.peft, cfg.peft_blocks = "last_layer", 3
    with toy.refused("--peft-blocks 3", 2):
        peft.tune(model, cfg)
    cfg.peft_blocks = 2
    names = {name for name, p in model.named_parameters() if p.requires_grad} if peft.tune(model, cfg) else set()
    layers = {name for name, _ in model.named_parameters() if ".h." in name or ".ln_f." in name}
    assert names == layers


def test_an_identity_is_that_of_the_base_and_zero_without_weights():
    model, cfg = build("causal_lm")
    expected = peft.fingerprint(model.state_dict())
    cfg.peft = "last_layer"
    peft.complete(cfg)
    peft.tune(model, cfg)
    assert bytes(model.state_dict()[peft.IDENTITY].tolist()) == expected
    assert peft.fingerprint({"a": torch.ones(2), "b": torch.ones(2, device="meta")}) == bytes(32)


def test_a_sampled_prompt_is_made_of_embeddings_that_follow_the_seed():
    found = []
    for seed in (1, 1, 2):
        model, cfg = build("clap_roberta")
        cfg.peft, cfg.prompt_tokens = "prompt", 5
        torch.manual_seed(seed)
        peft.tune(model, cfg)
        encoder = model.encoder.sentence_encoder
        vectors = encoder.look_up(torch.arange(30))
        assert all((vector == vectors).all(1).any() for vector in encoder.prompt.weight)
        assert encoder.prompt.at == 1
        found.append(encoder.prompt.weight)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_the_count_of_no_parameters_is_not_an_error():
    assert str(peft.Count(0, 0)).endswith("0.0000")
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert (peft.count(model).trainable, peft.count(model).total) == (6, 8)


@pytest.mark.parametrize("method", ["lora", "last_layer"])
def test_an_adapter_and_its_base_load_and_those_of_another_base_do_not(tmp_path, method):
    path, other = (make_base(tmp_path, "causal_lm", seed=seed) for seed in (0, 9))
    models = [build("causal_lm", finetune_from_model=str(start), **METHODS[method])[0] for start in (path, path, other)]
    with torch.no_grad():
        for parameter in models[0].parameters():
            if parameter.requires_grad:
                parameter.normal_()
    adapter, tokens = models[0].state_dict(), tokens_for("causal_lm")
    assert set(adapter) == peft.tuned_names(models[0]) | {peft.IDENTITY}
    models[1].load_state_dict(dict(adapter))
    assert torch.equal(logits(models[1], tokens), logits(models[0], tokens))
    with pytest.raises(peft.WrongBase):
        models[2].load_state_dict(dict(adapter))
    base = torch.load(path)["model"]
    models[1].load_state_dict(dict(base))
    with pytest.raises(peft.WrongBase):
        models[2].load_state_dict(dict(base))
    with pytest.raises(RuntimeError):
        models[1].load_state_dict({peft.IDENTITY: adapter[peft.IDENTITY]})

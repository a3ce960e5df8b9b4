"""The model as fairseq sees it."""

import argparse

import pytest
import torch
import torch.nn.functional as F
import toy
from omegaconf import open_dict

PAD = 1


@pytest.fixture(scope="module")
def task(toy_data):
    return toy.make_task(toy_data)


@pytest.fixture(scope="module")
def rowless(toy_data):
    return toy.make_task(toy_data, omit_mask=True)


def batch(task, rows=3, length=16):
    tokens = torch.randint(4, len(task.dictionary), (rows, length), generator=torch.Generator().manual_seed(1))
    tokens[:, 0] = 0
    tokens[0, 10:] = PAD
    return tokens


@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_only_the_masked_positions_are_projected(toy_data, variant):
    options = toy.VARIANTS[variant]
    task = toy.make_task(toy_data, omit_mask=options.get("mask_embedding") == "zero")
    model = toy.make_model(task, **options)
    tokens = batch(task)
    masked = (tokens != PAD) & (torch.arange(16) % 5 == 2)
    with torch.no_grad():
        chosen, everything = model(tokens, masked_tokens=masked)[0], model(tokens)[0]
    assert chosen.shape == (int(masked.sum()), len(task.dictionary))
    torch.testing.assert_close(chosen, everything[masked], atol=1e-5, rtol=1e-4)


def test_without_masks_there_are_no_logits(task):
    tokens = batch(task)
    assert toy.make_model(task)(tokens, masked_tokens=torch.zeros_like(tokens, dtype=torch.bool))[0].shape[0] == 0


def test_features_and_hidden_states_have_fairseqs_shapes(task):
    features, extra = toy.make_model(task)(batch(task), features_only=True, return_all_hiddens=True)
    assert features.shape == (3, 16, 32)
    assert [state.shape for state in extra["inner_states"]] == [(16, 3, 32)] * 3


def test_our_state_dict_loads_into_fairseqs_roberta_and_back(task):
    ours, stock = toy.randomize(toy.make_model(task, head="roberta")), toy.make_stock_model(task)
    stock.load_state_dict(ours.state_dict(), strict=True)
    tokens = batch(task)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(tokens)[0][tokens != PAD], stock(tokens)[0][tokens != PAD], atol=2e-5, rtol=1e-4
        )
    toy.randomize(stock, seed=5)
    ours.load_state_dict(stock.state_dict(), strict=True)
    assert torch.equal(ours.encoder.lm_head.dense.weight, stock.encoder.lm_head.dense.weight)


def test_beta_is_0_dimensional_in_a_state_dict_and_a_published_one_loads(task):
    model = toy.make_model(task, initial_beta=2.0)
    state = model.state_dict()
    assert state["encoder.lm_head.beta"].shape == ()
    state["encoder.lm_head.beta"] = torch.tensor(0.75)
    model.load_state_dict(state)
    assert model.encoder.lm_head.beta.tolist() == [0.75]


def test_the_forks_old_name_of_beta_loads(task):
    model = toy.make_model(task)
    state = model.state_dict()
    del state["encoder.lm_head.beta"]
    state["encoder.clap_head.beta"] = torch.tensor(4.0)
    model.load_state_dict(state)
    assert model.encoder.lm_head.beta.tolist() == [4.0]


def test_the_head_shares_the_embedding_table_unless_untied(task):
    tied, untied = (toy.make_model(task, untie_weights_roberta=u).encoder for u in (False, True))
    assert tied.lm_head.weight is tied.sentence_encoder.embed_tokens.weight
    assert untied.lm_head.weight is not untied.sentence_encoder.embed_tokens.weight
    assert float(untied.lm_head.weight.std()) == pytest.approx(0.02, rel=0.05)


def test_a_learned_bos_bias_is_saved(task):
    keys = toy.make_model(task, positions="alibi", alibi_bos="learned").state_dict()
    assert keys["encoder.sentence_encoder.alibi.bos_bias"].shape == (4,)


def test_a_file_that_is_not_a_checkpoint_is_named(task, tmp_path):
    for content in ([1, 2], {"weights": torch.ones(2)}, {"cfg": {"model": {"_name": "roberta"}}}):
        torch.save(content, tmp_path / "odd.pt")
        with toy.refused("odd.pt"):
            toy.make_model(task, finetune_from_model=str(tmp_path / "odd.pt"))


@pytest.mark.slow
def test_base_has_125_million_parameters_with_the_dictionary_of_gpt2(task):
    model = toy.make_model(task, head="roberta", encoder_layers=12, encoder_embed_dim=768, encoder_ffn_embed_dim=3072,
                           encoder_attention_heads=12, max_positions=512)  # fmt: skip
    total = sum(p.numel() for p in model.parameters())
    assert total + (50265 - len(task.dictionary)) * 769 == 124_696_665  # fairseq's roberta.base


@pytest.mark.parametrize(
    "mask, task_omits, expected", [("zero", False, "zero"), (None, True, "zero"), (None, False, "learned")]
)
def test_task_and_model_agree_on_the_mask(toy_data, mask, task_omits, expected):
    task = toy.make_task(toy_data, omit_mask=task_omits)
    words = len(task.dictionary)
    model = toy.make_model(task, mask_embedding=mask)
    rows = model.encoder.sentence_encoder.embed_tokens.num_embeddings
    assert model.encoder.args.mask_embedding == expected
    assert rows == len(task.dictionary) == words - (expected == "zero" and not task_omits)
    assert task.mask_idx == (rows if expected == "zero" else rows - 1)


def test_a_learned_mask_without_a_row_is_refused(rowless):
    with toy.refused("--mask-embedding learned", "--omit-mask"):
        toy.make_model(rowless, mask_embedding="learned")


def test_a_zero_mask_needs_a_dictionary_without_the_mask_symbol():
    from fairseq.data import Dictionary

    task = argparse.Namespace(source_dictionary=Dictionary(), max_positions=lambda: 8)
    from plugins.models.clap_roberta import agree_on_mask

    with toy.refused("--mask-embedding zero", "clap_masked_lm"):
        agree_on_mask("zero", task.source_dictionary)


def test_inputs_of_a_zero_mask_reach_the_first_layer_as_zeros(rowless):
    model = toy.make_model(rowless, layernorm_embedding=False, positions="alibi")
    tokens = torch.tensor([[0, 5, rowless.mask_idx, 6, 2]])
    states = model(tokens, return_all_hiddens=True)[1]["inner_states"]
    assert states[0][2, 0].tolist() == [0.0] * 32
    assert states[0][1, 0].abs().sum() > 0


@pytest.fixture
def unmasked_task(toy_data):
    return toy.make_task(toy_data, mask_prob=0.0)


def test_self_masking_predicts_only_what_it_drew_and_masked(unmasked_task):
    model, tokens = toy.make_model(unmasked_task, self_mask_prob=0.5), batch(unmasked_task, rows=8)
    seen = []
    model.encoder.sentence_encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    candidates = tokens != PAD
    logits, extra = model(tokens, masked_tokens=candidates)
    drawn = extra["masked_tokens"]
    assert (drawn & ~candidates).sum() == 0
    assert 0.3 < drawn.sum().item() / candidates.sum().item() < 0.7
    assert torch.equal(seen[0] != tokens, drawn & (tokens != unmasked_task.mask_idx))
    assert (seen[0][drawn] == unmasked_task.mask_idx).all()
    assert len(logits) == drawn.sum()


def test_self_masking_does_not_affect_inference(unmasked_task):
    model, tokens = toy.make_model(unmasked_task, self_mask_prob=0.5), batch(unmasked_task)
    assert torch.equal(model(tokens)[0], model(tokens)[0])


def test_learned_positions_bound_the_length_and_alibi_does_not(task):
    assert toy.make_model(task, max_positions=20).max_positions() == 20
    assert toy.make_model(task).max_positions() == 32  # --tokens-per-sample
    assert toy.make_model(task, positions="alibi").max_positions() > 10**6
    assert toy.make_model(task, positions="sinusoidal").max_positions() > 10**6


def test_scaling_reaches_the_positions_of_the_encoder(task):
    model = toy.make_model(task, positions="rotary", position_scaling="ntk", position_scaling_factor=2.0)
    scaling = model.encoder.sentence_encoder.positions.scaling
    assert (scaling.kind, scaling.factor, scaling.trained) == ("ntk", 2.0, 32)


@pytest.mark.parametrize("positions", ["alibi", "alibi_symmetric", "sinusoidal", "rotary"])
def test_inputs_beyond_the_trained_length_run(task, positions):
    model = toy.make_model(task, positions=positions)
    tokens = torch.randint(4, len(task.dictionary), (1, 200))
    assert model(tokens)[0].isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint_activations": True},
        {"quant_noise_pq": 0.1},
        {"encoder_layerdrop": 0.5},
        {"encoder_normalize_before": True},
        {"positions": "alibi", "alibi_bos": "learned", "checkpoint_activations": True},
        {"positions": "alibi", "alibi_bos": "zero"},
        {"exclude_unused": True, "max_logit_scale": 100.0, "beta_reference_dim": 768},
    ],
    ids=lambda options: "+".join(options),
)
def test_each_option_trains(task, options):
    model, tokens = toy.make_model(task, **options).train(), batch(task)
    masked = (tokens > 3) & (torch.arange(16) % 3 == 1)
    loss = model(tokens, masked_tokens=masked)[0].logsumexp(-1).sum()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert loss.isfinite() and all(g.isfinite().all() for g in gradients)
    assert model.encoder.sentence_encoder.embed_tokens.weight.grad.abs().sum() > 0


def test_checkpointed_activations_change_no_gradient(task):
    gradients = []
    for checkpointed in (False, True):
        model = toy.make_model(task, checkpoint_activations=checkpointed, positions="alibi").train()
        tokens = batch(task)
        torch.manual_seed(3)
        model(tokens, masked_tokens=tokens > 20)[0].logsumexp(-1).sum().backward()
        gradients.append(
            {name.replace("_checkpoint_wrapped_module.", ""): p.grad for name, p in model.named_parameters()}
        )
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], atol=1e-6, rtol=1e-5)


def test_a_classification_head_is_registered_saved_loaded_and_used(task):
    model = toy.make_model(task)
    model.register_classification_head("mood", num_classes=3)
    toy.randomize(model)
    tokens, state = batch(task), model.state_dict()
    logits = model(tokens, features_only=True, classification_head_name="mood")[0]
    assert logits.shape == (3, 3)

    other = toy.make_model(task, seed=9)
    with open_dict(other.args):
        other.args.load_checkpoint_heads = True
    other.load_state_dict(state)
    assert torch.equal(other(tokens, features_only=True, classification_head_name="mood")[0], logits)

    headless = toy.make_model(task, seed=9)
    headless.load_state_dict(dict(state))
    assert "mood" not in headless.classification_heads


def test_layers_to_keep_prunes_a_larger_checkpoint(task):
    large = toy.randomize(toy.make_model(task, encoder_layers=4))
    small = toy.make_model(task, encoder_layers=4, encoder_layers_to_keep="0,3")
    small.load_state_dict(large.state_dict(), model_cfg=small.args)
    layers = small.encoder.sentence_encoder.layers
    assert len(layers) == 2
    assert torch.equal(layers[1].fc1.weight, large.encoder.sentence_encoder.layers[3].fc1.weight)


def test_a_dictionary_of_another_size_is_an_error_that_names_both(task):
    with toy.refused(len(task.dictionary), 7, "dict.txt"):
        toy.make_model(task, vocab_size=7)


@pytest.mark.parametrize("cast", ["half", "bfloat16"])
@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_half_precision_stays_near_float32(toy_data, variant, cast):
    options = toy.VARIANTS[variant]
    task = toy.make_task(toy_data, omit_mask=options.get("mask_embedding") == "zero")
    model, tokens = toy.make_model(task, **options), batch(task)
    with torch.no_grad():
        full = model(tokens)[0]
        low = getattr(model, cast)()(tokens)[0]
    assert low.dtype != torch.float32
    where = tokens != PAD
    assert (low.float() - full)[where].abs().max() < (0.02 if cast == "half" else 0.15)


def test_scalar_quantisation_noise_without_a_gpu_or_with_learned_positions_is_refused(task):
    with toy.refused("--quant-noise-scalar"):
        toy.make_model(task, quant_noise_scalar=0.5)


@pytest.mark.parametrize("option", [{"checkpoint_activations": True}, {"offload_activations": True}])
def test_recomputed_activations_change_no_gradient(task, option):
    tokens = batch(task)
    gradients = []
    for options in ({}, {"checkpoint_activations": True, **option}):
        model = toy.make_model(task, dropout=0.0, attention_dropout=0.0, **options).train()
        model(tokens, masked_tokens=tokens != PAD)[0].sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_each_option_of_the_layers_reaches_its_place(task):
    model = toy.make_model(
        task, dropout=0.1, attention_dropout=0.2, activation_dropout=0.3, encoder_layerdrop=0.4, norm_eps=1e-3,
        activation_fn="relu", head_activation_fn="tanh", head="roberta", encoder_normalize_before=True,
        scale_embeddings=True, positions="alibi", alibi_dtype="float32", alibi_bos="zero",
    )  # fmt: skip
    encoder = model.encoder.sentence_encoder
    assert (encoder.dropout.p, encoder.layer_drop, encoder.token_embedding.scale) == (0.1, 0.4, 32**0.5)
    for layer in encoder.layers:
        assert (layer.dropout.p, layer.self_attn.dropout, layer.activation_dropout.p) == (0.1, 0.2, 0.3)
        assert layer.activation is F.relu and layer.pre_norm and layer.final_layer_norm.eps == 1e-3
    assert encoder.layer_norm.eps == encoder.layernorm_embedding.eps == model.encoder.lm_head.layer_norm.eps == 1e-3
    assert model.encoder.lm_head.activation is torch.tanh
    assert encoder.positions.float32 and encoder.positions.bos == "zero"
    assert not encoder.checkpoint_activations and not encoder.flex_attention and encoder.compiled_stack is None


def test_options_that_are_off_leave_their_parts_out(task):
    model = toy.make_model(task, layernorm_embedding=False, head="roberta", activation_fn="relu", positions="alibi")
    encoder = model.encoder.sentence_encoder
    assert encoder.layernorm_embedding is None and encoder.layer_norm is None and encoder.quant_noise is None
    assert encoder.token_embedding.scale == 1 and not encoder.token_embedding.normalize
    assert model.encoder.lm_head.activation is F.relu  # as the layers'
    assert not encoder.positions.float32 and encoder.embed_tokens.padding_idx == PAD
    assert toy.make_model(task).encoder.sentence_encoder.embed_tokens.padding_idx is None


@pytest.mark.parametrize("offloaded", [False, True])
def test_offloaded_activations_are_recomputed_by_fairseqs_wrapper_and_others_by_the_encoder(task, offloaded):
    model = toy.make_model(task, checkpoint_activations=True, offload_activations=offloaded)
    encoder = model.encoder.sentence_encoder
    assert encoder.checkpoint_activations is not offloaded
    assert ("forward" in vars(encoder.layers[0])) is offloaded  # the wrapper replaces it


def test_quantization_noise_is_in_all_linear_parts(task):
    model = toy.make_model(task, quant_noise_pq=0.5, quant_noise_pq_block_size=4)
    model.register_classification_head("mood", num_classes=4)
    encoder, layer = model.encoder.sentence_encoder, model.encoder.sentence_encoder.layers[0]
    parts = [layer.fc1, layer.fc2, *(getattr(layer.self_attn, f"{name}_proj") for name in ("q", "k", "v", "out"))]
    parts += [encoder.quant_noise, model.classification_heads["mood"].out_proj]
    assert all(len(part._forward_pre_hooks) == 1 for part in parts)
    assert not layer.self_attn_layer_norm._forward_pre_hooks


def test_a_classification_head_has_the_options_of_its_model(task):
    model = toy.make_model(task, pooler_dropout=0.3, pooler_activation_fn="relu", pooler_type="mean",
                           spectral_norm_classification_head=True)  # fmt: skip
    model.register_classification_head("mood", num_classes=3, inner_dim=7)
    head = model.classification_heads["mood"]
    assert (head.dropout.p, head.pooler_type, head.activation) == (0.3, "mean", F.relu)
    assert head.dense.weight.shape == (7, 32) and head.out_proj.weight.shape == (3, 7)
    assert hasattr(head.out_proj, "weight_orig")  # spectral norm
    plain = toy.make_model(task)
    plain.register_classification_head("mood", num_classes=3)
    assert plain.classification_heads["mood"].dense.weight.shape == (32, 32)
    assert not hasattr(plain.classification_heads["mood"].out_proj, "weight_orig")


@pytest.mark.parametrize("pooler", ["bos", "mean"])
def test_a_classification_head_reads_the_features_without_padding(task, pooler):
    model, tokens = toy.make_model(task, pooler_type=pooler), batch(task)
    model.register_classification_head("mood", num_classes=3)
    features = model(tokens, features_only=True)[0]
    pooled = features[:, 0] if pooler == "bos" else torch.stack([features[0, :10].mean(0), *features[1:].mean(1)])
    expected = model.classification_heads["mood"].classify(pooled)
    for hidden in (False, True):
        found, extra = model(tokens, return_all_hiddens=hidden, classification_head_name="mood")
        torch.testing.assert_close(found, expected)
        assert (extra["inner_states"] is not None) == hidden


def test_the_loss_is_that_of_the_logits_wherever_the_masked_positions_come_from(task):
    model, tokens = toy.make_model(task), batch(task)
    masked, target = (tokens != PAD) & (torch.arange(16) % 5 == 2), tokens.roll(1, 1)
    expected = F.cross_entropy(model(tokens)[0][masked], target[masked], reduction="sum")
    rows = masked.flatten().nonzero().squeeze(1)
    for given in (None, {"rows": rows, "most": int(masked.sum(1).max())}):
        for has_padding in (None, True):
            out, extra = model(tokens, masked_tokens=masked, target=target, predicted=given, has_padding=has_padding)
            assert out is None and torch.equal(extra["masked_tokens"], masked)
            torch.testing.assert_close(extra["loss"], expected, atol=1e-4, rtol=1e-5)
    every = model(tokens[1:], masked_tokens=torch.ones_like(tokens[1:]).bool(), predicted={"rows": None, "most": None})
    torch.testing.assert_close(every[0], model(tokens[1:])[0].flatten(0, 1), atol=1e-5, rtol=1e-4)


def test_the_head_gets_its_options(task):
    head = toy.make_model(task, initial_beta=3.0, beta_reference_dim=128, max_logit_scale=50.0).encoder.lm_head
    assert head.beta.tolist() == [3.0] and head.width_factor == 2.0 and head.max_beta == 50 / 32**0.5
    assert head.normalize and head.excluded is None
    assert not toy.make_model(task, normalize_embeddings=False).encoder.lm_head.normalize
    excluded = toy.make_model(task, exclude_unused=True).encoder.lm_head.excluded
    assert PAD in excluded.tolist() and task.dictionary.index("madeupword0000") in excluded.tolist()


def test_either_the_task_or_the_model_masks(task, unmasked_task):
    with toy.refused("--self-mask-prob 0.5", "--mask-prob 0", 0.15):
        toy.make_model(task, self_mask_prob=0.5)
    with toy.refused("--mask-prob 0", "--self-mask-prob"):
        toy.make_model(unmasked_task)


def test_fillers_need_a_dictionary_of_this_package():
    from fairseq.data import Dictionary

    from plugins.models.clap_roberta import pad

    dictionary = Dictionary()
    pad(dictionary, 1)
    assert len(dictionary) == 4
    with toy.refused("--vocab-multiple 8", "clap_masked_lm"):
        pad(dictionary, 8)


def test_noise_of_quantization_adds_only_a_matrix(task):
    encoder = toy.make_model(task, quant_noise_pq=0.5, quant_noise_pq_block_size=4).encoder.sentence_encoder
    assert [name for name, _ in encoder.quant_noise.named_parameters()] == ["weight"]
    assert encoder.quant_noise.weight.shape == (32, 32)

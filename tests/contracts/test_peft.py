"""The contract of parameter-efficient fine-tuning, for every method and model. A new method is a row of METHODS."""

import copy

import peft_models
import pytest
import torch
import toy
from peft_models import METHODS, MODELS, logits, make_base, save, tokens_for, train

from plugins import peft
from plugins.errors import UserError

CASES = [(model, method) for model in MODELS for method in METHODS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("peft")


@pytest.fixture(scope="module")
def bases(folder):
    """{model: (path of its checkpoint, the model)}."""
    found = {}
    for name in MODELS:
        path = make_base(folder, name)
        model, _ = peft_models.build(name)
        model.load_state_dict(torch.load(path)["model"])
        found[name] = path, model
    return found


@pytest.fixture(scope="module")
def tuned(bases):
    """Return {(model, method): (fresh model, its options, trained model)}; each is built and trained once."""
    found = {}

    def get(name, method):
        if (name, method) not in found:
            fresh, cfg = peft_models.build(name, finetune_from_model=str(bases[name][0]), **METHODS[method])
            trained = copy.deepcopy(fresh)
            before = peft_models.snapshot(trained)
            optimizer = train(trained, tokens_for(name))
            found[name, method] = fresh, cfg, trained, before, optimizer
        return found[name, method]

    return get


@pytest.fixture(params=CASES, ids=[f"{model}-{method}" for model, method in CASES])
def case(request, bases, tuned):
    name, method = request.param
    fresh, cfg, trained, before, optimizer = tuned(name, method)
    return peft_models.SimpleNamespace(
        name=name, method=method, path=bases[name][0], base=bases[name][1], fresh=fresh, cfg=cfg, trained=trained,
        before=before, optimizer=optimizer, tokens=tokens_for(name, seed=2),
    )  # fmt: skip


def test_an_untrained_adapter_equals_its_base(case):
    if case.method != "prompt":
        torch.testing.assert_close(logits(case.fresh, case.tokens), logits(case.base, case.tokens), rtol=0, atol=2e-5)


def test_training_changes_the_output(case):
    assert not torch.allclose(logits(case.trained, case.tokens), logits(case.fresh, case.tokens), atol=1e-2)


def test_disabled_it_is_its_base_to_the_bit(case):
    after = logits(case.trained, case.tokens)
    with peft.disabled(case.trained):
        assert torch.equal(logits(case.trained, case.tokens), logits(case.base, case.tokens))
    assert torch.equal(logits(case.trained, case.tokens), after)


def test_only_its_own_parameters_are_trained_and_have_optimizer_state(case):
    after, tuned = peft.whole_state(case.trained), peft.tuned_names(case.trained)
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, case.before[name])}
    assert moved == tuned
    own = {p for p in case.trained.parameters() if p.requires_grad}
    assert {p for p in case.trained.parameters() if p.grad is not None} == own
    assert set(case.optimizer.optimizer.state) == own
    assert sum(p.numel() for p in own) == peft.count(case.trained).trainable


def test_the_loss_of_training_is_that_of_the_logits(case):
    """A fused head that reads weights directly would not see what was learned."""
    fused, _ = peft_models.loss(case.trained, case.tokens)
    output = logits(case.trained, case.tokens)
    if case.name.startswith("clap"):
        target = torch.where(case.tokens == 1, 1, case.tokens.roll(1, 1))
        expected = torch.nn.functional.cross_entropy(output[target != 1], target[target != 1], reduction="sum")
    else:
        expected = torch.nn.functional.cross_entropy(
            output[:, :-1].flatten(0, 1), case.tokens[:, 1:].flatten(), reduction="sum"
        )
    torch.testing.assert_close(fused.detach(), expected, rtol=1e-4, atol=1e-3)


def test_merged_it_is_the_same_function(case):
    expected = logits(case.trained, case.tokens)
    if case.method == "prompt":
        with pytest.raises(UserError, match="cannot be merged"):
            peft.merge(case.trained)
        return
    merged = copy.deepcopy(case.trained)
    peft.merge(merged)
    torch.testing.assert_close(logits(merged, case.tokens), expected, rtol=1e-4, atol=1e-4)
    peft.unmerge(merged)
    torch.testing.assert_close(logits(merged, case.tokens), expected, rtol=1e-4, atol=1e-4)


def test_only_its_own_parameters_are_saved_and_load_onto_the_base(case, tmp_path):
    path = save(tmp_path / "adapter.pt", case.trained, case.cfg)
    state = torch.load(path)
    assert set(state["model"]) == peft.tuned_names(case.trained) | {peft.IDENTITY}
    resumed, _ = peft_models.build(case.name, seed=5, restore_file=str(path), save_dir="elsewhere")
    resumed.load_state_dict(state["model"])
    assert torch.equal(logits(resumed, case.tokens), logits(case.trained, case.tokens))
    assert peft.tuned_names(resumed) == peft.tuned_names(case.trained)


def test_an_adapter_of_another_base_is_refused_by_both_hashes(case, tmp_path):
    other = make_base(tmp_path, case.name, seed=9)
    model, _ = peft_models.build(case.name, finetune_from_model=str(other), **METHODS[case.method])
    hashes = {peft.fingerprint(torch.load(path)["model"]).hex() for path in (case.path, other)}
    with toy.refused("--peft-base", *hashes, error=peft.WrongBase):
        model.load_state_dict(case.trained.state_dict())


def test_the_base_loads_into_it_and_no_other_does(case, tmp_path):
    model = copy.deepcopy(case.fresh)
    model.load_state_dict(torch.load(case.path)["model"])
    assert torch.equal(logits(model, case.tokens), logits(case.fresh, case.tokens))
    with pytest.raises(peft.WrongBase, match="not the base of this adapter"):
        model.load_state_dict(torch.load(make_base(tmp_path, case.name, seed=9))["model"])


def test_a_damaged_adapter_is_refused(case):
    state = case.trained.state_dict()
    lost = sorted(set(state) - {peft.IDENTITY})[0]
    del state[lost]
    with pytest.raises(RuntimeError, match="Missing key"):
        copy.deepcopy(case.fresh).load_state_dict(state)


def test_the_parameters_of_the_base_keep_their_names(case):
    assert set(case.base.state_dict()) <= set(peft.whole_state(case.trained))

"""lm-eval's interface to masked LMs, without lm-eval: pseudo-log-likelihoods, counted by hand."""

from types import SimpleNamespace

import pytest
import torch
import toy

from plugins import hub
from plugins.hub import harness

FIRST, SECOND = "the river", "a garden"


@pytest.fixture(scope="module")
def lm(toy_data, tmp_path_factory):
    return hub.load(toy.save_masked_lm(tmp_path_factory.mktemp("lm"), toy_data))


@pytest.fixture
def scorer(lm, monkeypatch):
    monkeypatch.setattr(harness, "LM", harness.MaskedLM)  # as if lm-eval were installed
    return lambda longest=None: harness.MaskedLM(lm, longest)


@torch.inference_mode()
def by_hand(lm, ids, places):
    """Return the log-probability of each token at its place, masked by itself, and whether it is the likeliest."""
    found = []
    for place in places:
        tokens = torch.tensor([0, *ids, 2])
        tokens[place + 1] = lm.dictionary.index("<mask>")
        logits = lm.model(tokens[None])[0][0, place + 1].double().log_softmax(-1)
        found.append((logits[ids[place]].item(), logits.argmax().item() == ids[place]))
    return found


def test_tokens_of_a_continuation_are_scored_one_by_one(lm, scorer):
    context, ids = (lm.encode(text).tolist()[1:-1] for text in (FIRST, f"{FIRST} {SECOND}"))
    assert ids[: len(context)] == context
    rows = by_hand(lm, ids, range(len(context), len(ids)))
    score, greedy = scorer().score(FIRST, f" {SECOND}")
    assert score == pytest.approx(sum(value for value, _ in rows), abs=1e-4)
    assert greedy == all(likeliest for _, likeliest in rows)
    requests = [SimpleNamespace(args=(FIRST, f" {SECOND}")), SimpleNamespace(args=("", FIRST))]
    assert scorer().loglikelihood(requests, disable_tqdm=True)[0] == (score, greedy)


def test_the_likeliest_token_is_recognized(lm, scorer):
    """A single token that the model would choose itself."""
    word = max(range(4, len(lm.dictionary) - 1), key=lambda i: by_hand(lm, [i], [0])[0][0])
    logits = lm.model(torch.tensor([[0, lm.dictionary.index("<mask>"), 2]]))[0][0, 1]
    assert scorer().sum_of([word], 0)[1] == (logits.argmax().item() == word)
    assert scorer().sum_of([logits.argmax().item()], 0)[1] is True
    assert scorer().sum_of([logits.argmin().item()], 0)[1] is False


def test_the_context_is_cut_on_the_left(lm, scorer):
    ids = lm.encode(f"{FIRST} {SECOND}").tolist()[1:-1]
    context = len(lm.encode(FIRST)) - 2
    room = len(ids) - context + 1  # the continuation and a token before it
    expected = sum(value for value, _ in by_hand(lm, ids[-room:], range(1, room)))
    assert scorer(room + 2).score(FIRST, f" {SECOND}")[0] == pytest.approx(expected, abs=1e-4)


def test_a_whole_text_is_read_in_blocks(lm, scorer):
    ids = lm.encode(f"{FIRST} {SECOND}").tolist()[1:-1]
    blocks = [ids[start : start + 5] for start in range(0, len(ids), 5)]
    expected = sum(value for block in blocks for value, _ in by_hand(lm, block, range(len(block))))
    (found,) = scorer(7).loglikelihood_rolling([SimpleNamespace(args=(f"{FIRST} {SECOND}",))], disable_tqdm=True)
    assert found == pytest.approx(expected, abs=1e-4)


def test_nothing_to_score_is_certain(scorer):
    assert scorer().score(FIRST, "") == (0.0, True) and scorer().score_whole("") == 0


def test_the_longest_input_is_that_of_training(lm, scorer):
    assert scorer().longest == 32 and scorer(10).longest == 10 and scorer(100).longest == 32


def test_what_it_cannot_do_is_an_error(lm, scorer, monkeypatch, make_char_lm):
    with toy.refused("rank or score"):
        scorer().generate_until([])
    with toy.refused("CharLM"):
        harness.MaskedLM(make_char_lm())
    monkeypatch.setattr(harness, "LM", object)
    with toy.refused("pip install lm-eval"):
        harness.MaskedLM(lm)

"""Head patterns: attention matrices with known scores, models whose heads are set by hand, and the flow of texts."""

import numpy as np
import pytest
import torch
import toy

from plugins import hub
from plugins.analysis.attention import head_scores, names, patterns
from plugins.analysis.attention.head_scores import excess, score_heads, uniform_excess
from plugins.analysis.attention.patterns import BOTH_WAYS, CAUSAL, REPEATED, Batch


def batch_of(text, both_ways=False):
    """Return a batch of texts of equal length, one or several: letters are words, the rest are delimiters."""
    texts = [text] if isinstance(text, str) else text
    words = [patterns.word_starts(text, [False] * len(text)) for text in texts]
    delimiters = [[not c.isalnum() for c in text] for text in texts]
    ids = torch.tensor([[ord(c) for c in text] for text in texts])
    return Batch(ids, torch.tensor(words), torch.tensor(delimiters), both_ways)


def one_hot(keys):
    """Return attention (1, 1, T, T) that puts all of a query's weight on one key."""
    return torch.eye(len(keys))[keys][None, None]


def uniform(length, both_ways=False):
    weights = torch.ones(1, 1, length, length)
    weights = weights if both_ways else weights.tril()
    return weights / weights.sum(-1, keepdim=True)


def score(attention, batch, name):
    """Return (score, queries) of the only head."""
    pattern = {**BOTH_WAYS, **REPEATED}[name]
    sums, queries = excess([attention], batch, {name: pattern})
    return sums[0, 0, 0, 0] / queries[0, 0], int(queries[0, 0])


# Which head, on which text, has which score over how many queries. A head that attends as in the pattern scores 1
# less the mean share of the visible keys that those are.
KNOWN = {
    # a b c d: rows 1-3 have 2, 3 and 4 visible keys
    "previous": ("previous_token_head", "abcd", [0, 0, 1, 2], 1 - (1 / 2 + 1 / 3 + 1 / 4) / 3, 3),
    "the query itself": ("current_token_head", "abcd", [0, 1, 2, 3], 1 - (1 / 2 + 1 / 3 + 1 / 4) / 3, 3),
    "first": ("first_token_head", "abcd", [0, 0, 0, 0], 1 - (1 / 2 + 1 / 3 + 1 / 4) / 3, 3),
    # a b a b: rows 2 and 3 have an earlier occurrence, of 3 and 4 visible keys
    "seen before": ("duplicate_token_head", "abab", [0, 0, 0, 1], 1 - (1 / 3 + 1 / 4) / 2, 2),
    # a b a a: row 2 may look at 2 keys of 3, row 3 at 3 of 4
    "seen before or itself": ("same_token_head", "abaa", [0, 0, 2, 0], 1 - (2 / 3 + 3 / 4) / 2, 2),
    # "a bcd": c is one behind its word's start and left out, d is two behind it and sees 5 keys
    "start of word": ("word_start_head", "a bcd", [0, 0, 0, 0, 2], 1 - 1 / 5, 1),
    # a b a b: row 2 looks at b behind the first a, row 3 at a behind the first b
    "induction": ("induction_head", "abab", [0, 0, 1, 2], 1 - (1 / 3 + 1 / 4) / 2, 2),
}


@pytest.mark.parametrize("name, text, keys, expected, queries", KNOWN.values(), ids=KNOWN)
def test_a_head_that_attends_only_to_the_pattern_has_the_score_computed_by_hand(name, text, keys, expected, queries):
    assert score(one_hot(keys), batch_of(text), name) == (pytest.approx(expected), queries)


@pytest.mark.parametrize("name", [*CAUSAL, *REPEATED])
def test_a_uniform_head_scores_nothing(name):
    value, queries = score(uniform(8), batch_of("abc cabd"), name)
    assert value == pytest.approx(0, abs=1e-6) and queries > 0


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_a_uniform_head_has_score_zero_in_both_directions(name):
    value, queries = score(uniform(8, both_ways=True), batch_of("abc, cab", both_ways=True), name)
    assert value == pytest.approx(0, abs=1e-6) and queries > 0


def test_half_of_a_heads_attention_counts_half():
    half = (one_hot([0, 0, 1, 2]) + one_hot([0, 1, 2, 3])) / 2
    expected = 0.5 - (1 / 2 + 1 / 3 + 1 / 4) / 3
    assert score(half, batch_of("abcd"), "previous_token_head")[0] == pytest.approx(expected)
    assert score(half, batch_of("abcd"), "current_token_head")[0] == pytest.approx(expected)


def test_heads_that_avoid_a_pattern_score_below_zero():
    value, _ = score(one_hot([0, 1, 2, 3]), batch_of("abab"), "duplicate_token_head")
    assert value == pytest.approx(-(1 / 3 + 1 / 4) / 2)


def test_patterns_of_a_masked_lm_count_keys_on_both_sides():
    batch = batch_of("abca", both_ways=True)
    assert score(one_hot([3, 0, 0, 0]), batch, "duplicate_token_head") == (pytest.approx(3 / 4), 2)
    assert score(one_hot([1, 2, 3, 0]), batch, "next_token_head") == (pytest.approx(3 / 4), 3)
    assert score(one_hot([0, 0, 1, 2]), batch, "previous_token_head") == (pytest.approx(3 / 4), 3)
    assert score(one_hot([1, 0, 0, 0]), batch, "first_token_head") == (pytest.approx(3 / 4), 3)


def test_delimiters_are_punctuation():
    batch = batch_of("ab,c.", both_ways=True)
    assert score(one_hot([2, 2, 4, 4, 2]), batch, "delimiter_head") == (pytest.approx(1 - 2 / 5), 5)


def test_a_text_without_the_pattern_has_no_queries():
    for name in ("duplicate_token_head", "same_token_head", "word_start_head", "induction_head"):
        sums, queries = excess([uniform(4)], batch_of("a b."), {name: {**CAUSAL, **REPEATED}[name]})
        assert queries.tolist() == [[0]] and sums.item() == 0


def test_texts_heads_and_layers_are_distinguished():
    batch = batch_of(["abcd", "aaaa"])
    a, b = one_hot([0, 0, 1, 2]), uniform(4)
    layers = [torch.cat([torch.cat([a, b], 1), torch.cat([b, a], 1)]), torch.cat([torch.cat([b, b], 1)] * 2)]
    sums, queries = excess(layers, batch, {"previous_token_head": patterns.previous_token_head})
    full = 3 - (1 / 2 + 1 / 3 + 1 / 4)
    np.testing.assert_allclose(sums[:, 0], [[[full, 0], [0, 0]], [[0, full], [0, 0]]], atol=1e-6)
    assert queries.tolist() == [[3], [3]]


def test_uniform_is_what_is_shared_with_a_uniform_head_beyond_one_key():
    batch = batch_of("abcd")
    sums, queries = uniform_excess([torch.cat([uniform(4), one_hot([0, 0, 1, 2])], 1)], batch)
    assert queries.tolist() == [[3]]
    np.testing.assert_allclose(sums[0, 0, 0], [(1 / 2 + 2 / 3 + 3 / 4), 0], atol=1e-6)
    # a head that splits evenly between two keys of four shares 1/4 + 1/4 with the uniform one
    split = (one_hot([0, 0, 0, 0]) + one_hot([0, 1, 1, 1])) / 2
    assert uniform_excess([split], batch)[0].item() == pytest.approx(1 / 2 + 1 / 3 + 1 / 4)


@pytest.mark.parametrize(
    "tokens, special, expected",
    [
        (list("to be"), "", [0, 0, -1, 3, 3]),
        (list("a--b1"), "", [0, -1, -1, 3, 3]),
        (list("שָׁלוֹם, ב"), "", [0] * 7 + [-1, -1, 9]),  # vowel points belong to their word
        (["<s>", " the", " riv", "er", ",", "er", "<mask>", "s", "</s>"], "<", [-1, 1, 2, 2, -1, 5, -1, 7, -1]),
    ],
)
def test_words_are_runs_of_letters_and_a_space_starts_another(tokens, special, expected):
    names = [bool(special) and token.startswith(special) for token in tokens]
    assert patterns.word_starts(tokens, names) == expected


# Models


def set_heads_by_hand(lm):
    """Give the first layer of a model of width 64 a head for the previous token and one for the same token; the heads
    of the others are uniform.

    Tokens and positions are orthogonal vectors of one norm and mean 0, so that layer norms change nothing.
    """
    decoder = lm.model.decoder.transformer
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.zero_()
        hadamard = torch.tensor([[1.0]])
        while len(hadamard) < 64:
            hadamard = torch.cat([torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)])
        rows = hadamard[1:]  # orthogonal, each with mean 0
        decoder.wpe.weight.copy_(rows[:16])
        decoder.wte.weight.copy_(rows[20 : 20 + len(decoder.wte.weight)])
        for block in decoder.h:
            block.ln_1.weight.fill_(1)
        q, k, _ = decoder.h[0].attn.c_attn.weight.view(3, 2, 32, 64)  # channels of each head, from the width
        q[0, :16], k[0, 1:16] = 5 * rows[:16], 5 * rows[:15]  # query t asks in channel t, where key t - 1 answers
        tokens = len(decoder.wte.weight)
        q[1, :tokens] = k[1, :tokens] = rows[20 : 20 + tokens]
    return lm


@pytest.fixture
def by_hand(make_char_lm):
    return set_heads_by_hand(make_char_lm(decoder_embed_dim=64, block_size=16))


TEXTS = ["abacabad", "gag hag ", "dad cab a", "face bad", "bead cafe"]


def test_heads_that_are_set_by_hand_are_found(by_hand):
    scores = score_heads(by_hand, TEXTS, sequences=4)
    best = {name: divmod(int(found["score"].argmax()), 2) for name, found in scores.items()}
    assert best["previous_token_head"] == (0, 0) and best["same_token_head"] == (0, 1)
    previous = scores["previous_token_head"]
    # eight or nine tokens: 1 less the mean of 1/2, ..., 1/8 over 7 queries, or 1/9 over 8
    sums = 3 * (7 - sum(1 / n for n in range(2, 9))) + 2 * (8 - sum(1 / n for n in range(2, 10)))
    assert previous["items"] == 37 and previous["texts"] == 5
    assert previous["score"][0, 0] == pytest.approx(sums / 37, abs=0.01)
    assert (previous["low"] <= previous["score"]).all() and (previous["score"] <= previous["high"]).all()
    np.testing.assert_allclose(scores["first_token_head"]["score"][1], 0, atol=1e-6)  # layer 1 is uniform
    assert scores["uniform_head"]["score"][1].min() > scores["uniform_head"]["score"][0].max()


def test_an_induction_head_is_scored_on_repeated_random_sequences(make_char_lm, monkeypatch):
    """A causal head on the second copy's keys: attending as in the pattern scores 1 less the uniform share."""
    lm = make_char_lm()

    def ideal(lm, ids):
        half, weights = ids.size(1) // 2, torch.zeros(len(ids), 1, ids.size(1), ids.size(1))
        for query in range(ids.size(1)):
            weights[:, :, query, max(0, query - half + 1)] = 1
        return [weights], Batch.of(lm, ids)

    monkeypatch.setattr(head_scores, "observe", ideal)
    found = score_heads(lm, ["abc"], sequences=3)["induction_head"]
    # CHARACTERS has ten: sixteen tokens are eight, twice
    assert found["items"] == 3 * 8 and found["texts"] == 3
    assert found["score"].item() == pytest.approx(1 - sum(1 / n for n in range(9, 17)) / 8)


def test_random_sequences_repeat_distinct_ordinary_tokens(make_char_lm, toy_data, tmp_path):
    (row,) = head_scores.repeated(make_char_lm(), 12, 1, seed=0)
    assert len(row) == 12 and row[:6].tolist() == row[6:].tolist() and len(set(row.tolist())) == 6
    lm = hub.load(toy.save_masked_lm(tmp_path, toy_data))
    dictionary = lm.task.source_dictionary
    for row in head_scores.repeated(lm, 15, 20, seed=1):
        assert (row[0], row[-1]) == (dictionary.bos(), dictionary.eos()) and len(row) == 14
        assert row[1:7].tolist() == row[7:13].tolist()
        assert not {*range(dictionary.nspecial), dictionary.index("<mask>")} & set(row[1:-1].tolist())


def test_a_masked_lm_is_scored_on_keys_in_both_directions(toy_data, tmp_path):
    lm = hub.load(toy.save_masked_lm(tmp_path, toy_data))
    scores = score_heads(lm, toy.sentences(6), length=20, sequences=4)
    assert {"next_token_head", "delimiter_head", "induction_head"} <= scores.keys()
    assert all(found["score"].shape == (2, 4) for found in scores.values())
    assert scores["next_token_head"]["items"] == 6 * 19  # cut to 20 tokens


def test_the_order_of_the_texts_and_the_size_of_batches_change_no_score(make_char_lm):
    lm = make_char_lm()
    one = score_heads(lm, TEXTS, batch_size=1, sequences=3)
    other = score_heads(lm, TEXTS[::-1], batch_size=4, sequences=3)
    for name in one:
        np.testing.assert_allclose(one[name]["score"], other[name]["score"], atol=1e-6)
        assert one[name]["items"] == other[name]["items"]


def test_texts_are_read_one_at_a_time(make_char_lm, monkeypatch):
    """For any number of texts, at most one batch of each length is in memory."""
    read, most = 0, 0

    def texts():
        nonlocal read
        for i in range(100):
            read += 1
            yield "abcd"[: 2 + i % 3] * 2

    original, done = head_scores.observe, 0

    def observe(lm, ids):
        nonlocal most, done
        most, done = max(most, read - done), done + len(ids)
        return original(lm, ids)

    monkeypatch.setattr(head_scores, "observe", observe)
    score_heads(make_char_lm(), texts(), batch_size=4, sequences=2)
    assert most <= 3 * 4


def test_the_same_call_gives_the_same_numbers(make_char_lm):
    one, other = (score_heads(make_char_lm(), TEXTS, seed=3) for _ in range(2))
    for name in one:
        np.testing.assert_array_equal(one[name]["low"], other[name]["low"])


def test_nothing_to_score_on_is_one_line(make_char_lm):
    for texts in ([], [""], ["a", "b"]):
        with toy.refused():
            score_heads(make_char_lm(), texts)


def test_scores_are_those_of_evaluation_mode_and_the_model_stays_in_its_own(make_char_lm):
    lm = make_char_lm(dropout=0.5, attention_dropout=0.5)
    expected = score_heads(lm, TEXTS, sequences=3)
    lm.model.train()
    found = score_heads(lm, TEXTS, sequences=3)
    assert lm.model.training
    for name in expected:
        np.testing.assert_array_equal(found[name]["score"], expected[name]["score"])


def test_fillers_are_not_drawn(toy_data, tmp_path):
    lm = hub.load(toy.save_masked_lm(tmp_path, toy_data))
    fillers = range(10, 20)
    for i in fillers:
        lm.dictionary.symbols[i] = f"madeupword{i:04d}"
        lm.dictionary.indices[lm.dictionary.symbols[i]] = i
    drawn = {i for row in head_scores.repeated(lm, 15, 40, seed=1) for i in row.tolist()}
    assert not drawn & set(fillers)


def test_another_seed_draws_other_sequences(make_char_lm):
    one, same, other = (next(head_scores.repeated(make_char_lm(), 12, 1, seed=seed)).tolist() for seed in (0, 0, 1))
    assert one == same != other


def test_random_sequences_need_two_tokens_and_fit_the_length(make_char_lm):
    lm = make_char_lm()
    assert list(head_scores.repeated(lm, 3, 5, seed=0)) == []
    assert [len(row) for row in head_scores.repeated(lm, 5, 2, seed=0)] == [4, 4]


def test_batches_are_of_one_length_and_short_texts_are_left_out():
    texts = [torch.zeros(n) for n in (3, 1, 2, 3, 3, 0, 2)]
    assert [tuple(batch.shape) for batch in head_scores.batches(texts, 2)] == [(2, 3), (2, 2), (1, 3)]


def test_fifty_sequences_and_a_thousand_replicates_unless_requested_otherwise(make_char_lm, monkeypatch):
    made = []
    kept = head_scores.StreamingBootstrap

    def bootstrap(resamples, seed):
        made.append((resamples, seed))
        return kept(5, seed)

    monkeypatch.setattr(head_scores, "StreamingBootstrap", bootstrap)
    found = score_heads(make_char_lm(), ["abc"])
    assert made == [(1000, 0)] * 2 and found["induction_head"]["texts"] == 50
    assert found["previous_token_head"]["texts"] == 1


def test_heads_are_named_from_the_highest_score_down():
    found = {"score": np.array([[0.1, np.nan], [0.3, 0.1]]), "low": np.array([[0.05, 0.1], [0.0, np.nan]])}
    assert names.heads_in_order(found) == [(0, 0), (1, 1)], "an interval that reaches 0 does not count"
    assert names.heads_in_order(found, 0.1) == [(0, 0), (1, 1)] and names.heads_in_order(found, 0.11) == []
    low = {"score": np.array([[0.01, 0.0099]]), "low": np.array([[0.001, 0.001]])}
    assert names.heads_in_order(low) == [(0, 0)]
    assert names.readable("my_own_head") == "my own" and names.readable("induction_head") == "induction"

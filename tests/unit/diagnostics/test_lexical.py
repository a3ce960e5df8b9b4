"""Words and labels, against values computed by hand, and a probe of planted words."""

import numpy as np
import pytest
from scipy import sparse

from plugins.diagnostics import divergence, lexical


def test_z_of_17_in_20():
    assert lexical.z_score(np.array(17 / 20), np.array(0.5), np.array(20)) == pytest.approx(3.13049517)


def planted(rows=1000, seed=0):
    """Texts of two classes; ``film`` occurs in 170 of 200 texts of class 1, the rest is chance."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    texts = []
    for label in labels:
        words = [f"w{i}" for i in random.integers(60, size=8)]
        if random.random() < (0.34 if label else 0.06):
            words.append("film")
        texts.append(words)
    return divergence.count_words(texts), labels


def test_the_planted_word_is_the_most_significant_and_the_rest_is_not():
    words, labels = planted()
    found = lexical.associations(words.counts, labels, 2)
    film = words.vocabulary.index("film")
    assert np.nanargmin(found.q[:, 1]) == film and found.q[film, 1] < 1e-10
    assert (np.delete(found.q[:, 1], film) > 0.05).mean() > 0.95
    assert found.pmi[film, 1] == pytest.approx(np.log2(0.85 / 0.5), abs=0.1)
    assert np.nanargmax(found.log_odds[:, 1]) == film and np.nanargmax(found.lmi[:, 1]) == film


def test_a_word_counts_once_a_text_and_rare_words_are_not_judged():
    counts = sparse.csr_matrix(np.array([[3, 0], [5, 1]] * 20))
    found = lexical.associations(counts, np.array([0, 1] * 20), 2, min_count=30)
    assert found.count.tolist() == [40, 20]
    assert found.p[0].tolist() == [0.5, 0.5] and np.isnan(found.p[1]).all()


def test_false_discovery_rates():
    """statsmodels' multipletests(..., method='fdr_bh')."""
    found = lexical.false_discovery(np.array([0.01, 0.04, 0.03, 0.005, np.nan]))
    np.testing.assert_allclose(found, [0.02, 0.04, 0.04, 0.02, np.nan])


def test_the_probe_scores_the_information_in_few_words():
    words, labels = planted(3000)
    found = lexical.probe(words.counts, labels, 2, sizes=(1, 10))
    assert found.accuracy[0] > 0.6 > 0.56 > found.random_accuracy[0]
    assert found.bits[0] > 0.8 * found.all_bits > 0 and found.words_for(0.8) == 1


def test_the_probe_of_meaningless_labels_learns_nothing():
    words, labels = planted(2000)
    found = lexical.probe(words.counts, np.random.default_rng(0).permutation(labels), 2, sizes=(10,))
    assert abs(found.all_bits) < 0.02 and found.prior == pytest.approx(0.5)


def test_words_of_equal_frequency_are_others():
    counts = np.arange(100)
    chosen = lexical.same_frequency(np.array([10, 50, 51]), counts, np.random.default_rng(0))
    assert len(set(chosen.tolist()) - {10, 50, 51}) == 3
    assert np.abs(chosen - [10, 50, 51]).max() <= 10


def test_pairs_by_side():
    first, second = (divergence.count_words(texts) for texts in ([["a", "b"]], [["b", "c"]]))
    found = lexical.presence_by_side(first, second)
    present = {found.vocabulary[i] for i in found.counts.indices[found.counts.data > 0]}
    assert present == {"1:a", "1:b", "2:b", "2:c", "both:b"}


def test_log_odds_with_an_informative_prior():
    """Monroe et al. (2008), equations 16, 19 and 22; the first word by hand: 1.7320 / 0.4888."""
    table = np.array([[10, 1, 3], [2, 8, 0], [5, 5, 20]], float)
    np.testing.assert_allclose(lexical.monroe(table, 9.0), [
        [3.54306012, -1.63564552, -1.78841638], [-0.78708705, 3.57584101, -2.43227904],
        [-3.00867366, -1.96939853, 5.46172311],
    ])  # fmt: skip


def test_without_words_the_logits_are_the_prior_of_the_training_rows():
    train = np.array([True, True, True, False])
    found = lexical.linear(sparse.csr_matrix((4, 0)), np.array([0, 0, 1, 1]), train, ~train, 2)
    np.testing.assert_allclose(np.exp(found), [[2.5 / 4, 1.5 / 4]])


def test_a_class_that_was_not_seen_gets_the_lowest_logit():
    features = sparse.csr_matrix(np.eye(40)[:, :3].repeat(1, 0) + 0.0)
    labels, train = np.array([0, 1] * 20), np.arange(40) < 30
    logits = lexical.linear(features, labels, train, ~train, 3)
    assert logits.shape == (10, 3) and (logits.argmin(1) == 2).all()
    only = lexical.linear(features, np.zeros(40, int), train, ~train, 2)
    assert (only[:, 0] > only[:, 1]).all()

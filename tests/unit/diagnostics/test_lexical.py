"""Words and labels, against values computed by hand, and a probe of planted words."""

import numpy as np
import pytest
import toy
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
    assert found.bits[0] > 0.8 * found.all_bits > 0


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


def test_statistics_of_two_words_by_hand():
    """Of eight texts, half of either class: one word in 3 and 1 of them, one in 0 and 4."""
    counts = sparse.csr_matrix(np.array([[2, 1, 1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 5, 1, 1, 1]]).T)
    found = lexical.associations(counts, np.array([0] * 4 + [1] * 4), 2, min_count=4)
    assert found.count.tolist() == [4, 4] and found.p.tolist() == [[0.75, 0.25], [0, 1]]
    np.testing.assert_allclose(found.z, [[1, -1], [-2, 2]])
    np.testing.assert_allclose(found.pmi, np.log2([[3.5 / 5 / 0.5, 1.5 / 5 / 0.5], [0.5 / 5 / 0.5, 4.5 / 5 / 0.5]]))
    np.testing.assert_allclose(
        found.lmi, np.log2([[1.4, 1], [1, 1.8]]) * [[3 / 8, 0], [0, 4 / 8]] + [[0, np.log2(0.6) / 8], [0, 0]]
    )
    np.testing.assert_allclose(found.q, [[0.31731051] * 2, [0.09100053] * 2], atol=1e-8)  # 2 of 4, then 4 of 4
    assert np.isnan(lexical.associations(counts, np.array([0] * 4 + [1] * 4), 2, min_count=5).log_odds).all()


def test_a_class_without_rows_has_no_deviation():
    found = lexical.associations(sparse.csr_matrix(np.ones((4, 1))), np.array([0, 1, 0, 1]), 3, min_count=1)
    assert np.isnan(found.z[0, 2]) and found.z[0, :2].tolist() == [0, 0]


def probe_of(presence, labels, **options):
    return lexical.probe(sparse.csr_matrix(presence), np.array(labels), 2, **options)


def test_the_probe_needs_ten_rows_of_two_classes():
    presence = np.eye(10)
    assert probe_of(presence, [0, 1] * 5).rows == 10
    with toy.refused("ten rows"):
        probe_of(presence[:9], [0, 1, 0, 1, 0, 1, 0, 1, 0])
    with toy.refused("two classes"):
        probe_of(presence, [0] * 10)
    with toy.refused("labels"):
        probe_of(presence, [0, 2] * 5)
    with toy.refused("--label"):
        lexical.probe(sparse.csr_matrix(presence), np.arange(10), 10)


def test_words_of_single_texts_are_not_used_and_the_null_is_the_prior_of_the_other_folds():
    labels, fold = np.array([0, 0, 0, 1] * 3), np.repeat([0, 1, 2], 4)
    labels[:4] = 1
    found = lexical.held_out_logits(sparse.csr_matrix(np.eye(12, dtype=np.float32)), labels, 2, np.array([1]), fold,
                                    np.random.default_rng(0))  # fmt: skip
    strong, matched, every, null = found
    assert strong.shape == matched.shape == (1, 12, 2)
    np.testing.assert_allclose(2 ** null[[0, 4, 8]], [[6.5 / 9, 2.5 / 9], [3.5 / 9, 5.5 / 9], [3.5 / 9, 5.5 / 9]])
    np.testing.assert_allclose(every, null * np.log(2))


def test_numbers_of_words_beyond_the_vocabulary_are_left_out(monkeypatch):
    seen = []

    def linear(features, labels, train, test, num_classes):
        seen.append((features.shape[1], features.max()))
        return np.zeros((test.sum(), num_classes))

    monkeypatch.setattr(lexical, "linear", linear)
    presence = np.tile(5 * np.eye(6), (6, 1))
    presence = np.concatenate([presence, np.eye(36)[:, :2]], 1)  # two words of one text each
    found = probe_of(presence, [0, 0, 1] * 12, sizes=(7, 10))
    assert found.sizes.tolist() == [6] and found.prior == pytest.approx(2 / 3) and found.rows == 36
    assert seen == [(6, 1), (6, 1), (2, 1)] * 3, "all words, the strongest, and what is left of others; once a text"
    some = probe_of(presence, [0, 1] * 18, sizes=(2, 6, 7), most_rows=30, folds=2)
    assert some.sizes.tolist() == [2, 6] and some.rows == 30 and len(seen) == 9 + 2 * 5


def test_a_class_of_one_row_does_not_affect_a_probe():
    presence = np.repeat(np.eye(2), 30, axis=0)
    presence, labels = np.concatenate([presence, [[1, 1]]]), np.repeat([0, 1, 2], [30, 30, 1])
    found = lexical.probe(sparse.csr_matrix(presence), labels, 3, sizes=(1, 2))
    assert found.rows == 60 and found.all_bits == pytest.approx(1, abs=0.15) and found.all_accuracy == 1


def test_words_in_five_texts_come_first_and_rarer_ones_by_their_association():
    presence = np.zeros((12, 5), int)
    presence[[0, 2, 4, 6, 8], 0] = presence[[0, 1, 2, 3, 4], 1] = 1  # in five texts: of one class, and of both
    presence[[0, 1, 2, 3], 2] = presence[[0, 2, 4, 6], 3] = 1  # in four texts: of both classes, and of one
    presence[0, 4] = 1
    labels = np.array([0, 1] * 6)
    assert lexical.strongest(sparse.csr_matrix(presence), labels, 2).tolist() == [0, 1, 3, 2, 4]


def test_words_of_similar_frequency_are_near_in_the_order_and_far_if_none_is_left():
    counts = np.random.default_rng(0).permutation(1000)  # the word of frequency k has rank k
    by_rank = np.argsort(counts)
    for taken, draws, most in ((4, 60, 10), (11, 100, 50), (51, 10, 250), (251, 3, 999)):
        found = [
            lexical.same_frequency(by_rank[:taken], counts, np.random.default_rng(seed))[0] for seed in range(draws)
        ]
        assert taken <= counts[found].min() and counts[found].max() <= most
        assert draws < 60 or (counts[found].min(), counts[found].max()) == (taken, most)
        assert draws >= 60 or counts[found].max() > most / 2
    last = [lexical.same_frequency(by_rank[-4:][::-1], counts, np.random.default_rng(seed))[0] for seed in range(60)]
    assert counts[last].min() == 989 and counts[last].max() == 995
    assert lexical.same_frequency(np.arange(3), np.ones(3), np.random.default_rng(0)).tolist() == []
    assert len(lexical.same_frequency(np.arange(3), np.ones(5), np.random.default_rng(0))) == 2


def test_the_regularization_is_what_serves_the_held_out_tenth():
    """A word decides every label but those of the first tenth, where it is the other way round: weights stay small."""
    labels = np.arange(100) % 2
    features = sparse.csr_matrix(np.eye(2)[labels])
    train = np.arange(100) < 90
    sure = lexical.linear(features, labels, train, ~train, 2)
    assert (sure.argmax(1) == labels[90:]).all() and np.exp(sure.max(1)).min() > 0.9
    changed = labels.copy()
    changed[:9] = 1 - changed[:9]
    unsure = lexical.linear(features, changed, train, ~train, 2)
    assert np.exp(unsure.max(1)).max() < 0.6

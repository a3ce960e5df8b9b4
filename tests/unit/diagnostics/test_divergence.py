"""Divergence between classes, against scipy, and its value by chance."""

import numpy as np
import pytest
import toy
from scipy.spatial.distance import jensenshannon

from plugins.diagnostics import divergence

#                 good bad film plot the
COUNTS = np.array([[3, 0, 1, 1, 0], [0, 3, 1, 1, 0], [0, 0, 2, 1, 1]])


def test_js_of_three_classes():
    """scipy.spatial.distance.jensenshannon(base=2) ** 2, on smoothed counts."""
    expected = [[0, 0.139035953, 0.092446036], [0.139035953, 0, 0.092446036], [0.092446036, 0.092446036, 0]]
    np.testing.assert_allclose(divergence.js(COUNTS), expected, atol=1e-9)
    assert divergence.js(COUNTS)[0, 1] * np.log(2) == pytest.approx(0.096372379, abs=1e-9)  # nats
    assert divergence.js(COUNTS)[0, 1] ** 0.5 == pytest.approx(0.372875251, abs=1e-9)  # the distance


def test_js_of_the_vocabulary_of_a_pair():
    assert divergence.js(COUNTS[:2, :4])[0, 1] == pytest.approx(0.154484392, abs=1e-9)
    assert divergence.js(COUNTS[[0, 2]][:, [0, 2, 3, 4]])[0, 1] == pytest.approx(0.103155567, abs=1e-9)


def test_bounds():
    far = divergence.js(np.array([[5, 0], [0, 5]]), smoothing=0)
    np.testing.assert_allclose(far, [[0, 1], [1, 0]], atol=1e-12)


def test_contributions_sum_to_the_divergence():
    shares = divergence.smoothed(COUNTS)
    parts = divergence.contributions(shares[0], shares[1])
    assert np.abs(parts).sum() == pytest.approx(0.139035953, abs=1e-9)
    assert parts[0] > 0 > parts[1]


def zipf_texts(rows, random, length=12, vocabulary=800):
    shares = 1 / np.arange(1, vocabulary + 1)
    words = random.choice(vocabulary, (rows, length), p=shares / shares.sum())
    return divergence.count_words([[f"w{i}" for i in row] for row in words])


def test_the_floor_covers_random_halves():
    """In at least 90 of 100 draws of labels that mean nothing; 95 are expected."""
    random = np.random.default_rng(0)
    texts = zipf_texts(200, random)
    labels = [random.permutation(200) % 2 for _ in range(100)]
    found = divergence.class_divergence(texts, labels[0], draws=200)
    halves = [divergence.js(divergence.by_class(texts.counts, y, 2))[0, 1] for y in labels]
    assert np.mean(np.array(halves) <= found.floor_high[0, 1]) >= 0.9


def test_the_floor_grows_for_small_samples():
    random = np.random.default_rng(1)
    texts = zipf_texts(1000, random)
    labels = (np.arange(1000) < 30).astype(int)  # 30 texts against 970, of one source
    found = divergence.class_divergence(texts, labels)
    assert found.raw[0, 1] > 0.05
    assert abs(found.raw[0, 1] - found.floor[0, 1]) < 0.02 and abs(found.above_floor[0, 1]) < 0.02


def test_texts_as_strings_and_words_in_lower_case():
    found = divergence.class_divergence(["Good film.", "good plot", "bad film", "bad plot!"], [0, 0, 1, 1])
    assert found.raw[0, 1] > 0 and found.words.shape[0] == 2
    assert divergence.tokens("It's a state-of-the-art film!") == ["it's", "a", "state-of-the-art", "film", "!"]


def test_a_class_without_texts_is_named():
    with toy.refused("labels", "[1]"):
        divergence.class_divergence(["a", "b"], [0, 2])


def test_bad_counts_are_refused():
    with toy.refused("counts"):
        divergence.js(np.array([[1, -1], [0, 2]]))
    with toy.refused("counts", "[1]"):
        divergence.js(np.array([[1, 1], [0, 0]]), smoothing=0)


@pytest.mark.parametrize("counts", [np.ones(3), np.zeros((2, 0)), [[np.nan, 1], [1, 1]], [[np.inf, 1], [1, 1]]])
def test_counts_of_another_shape_or_without_a_value_are_refused(counts):
    with toy.refused("counts"):
        divergence.js(np.array(counts))


def test_words_are_counted_and_vocabularies_joined():
    one, two = (divergence.count_words(texts) for texts in ([["b", "a", "b"], []], [["c", "a"]]))
    assert one.vocabulary == ["b", "a"] and one.counts.toarray().tolist() == [[2, 1], [0, 0]]
    (first, second), vocabulary = divergence.aligned([one, two])
    assert vocabulary == ["b", "a", "c"]
    assert first.toarray().tolist() == [[2, 1, 0], [0, 0, 0]] and second.toarray().tolist() == [[0, 1, 1]]
    assert divergence.by_class(first, np.array([2, 0]), 3).tolist() == [[0, 0, 0], [0, 0, 0], [2, 1, 0]]


def test_the_smoothing_reaches_the_divergence_and_the_words():
    texts, labels = ["a a b", "c"], [0, 1]
    bare = divergence.class_divergence(texts, labels, smoothing=0)
    np.testing.assert_allclose(bare.raw, [[0, 1], [1, 0]], atol=1e-12)
    np.testing.assert_allclose(bare.words, [[2 / 3, 1 / 3, 0], [0, 0, 1]])
    found = divergence.class_divergence(texts, labels)
    np.testing.assert_allclose(found.words, [[3 / 6, 2 / 6, 1 / 6], [1 / 4, 1 / 4, 2 / 4]])
    np.testing.assert_allclose(found.raw, found.equal)  # classes of equal size are drawn as a whole
    assert found.raw[0, 1] == pytest.approx(jensenshannon([3, 2, 1], [1, 1, 2], base=2) ** 2)


def pair(*texts):
    """The divergence of two texts."""
    return divergence.js(divergence.count_words([text.split() for text in texts]).counts.toarray(), 0)[0, 1]


def test_samples_of_equal_size_are_half_the_draws_and_the_floor_has_them_all():
    """Two texts of class 0, one of class 1: a sample has either of the two, a shuffle one of three assignments."""
    texts, labels = ["a a x", "b c d x", "e x"], np.array([0, 0, 1])
    samples = sorted([pair(texts[0], texts[2]), pair(texts[1], texts[2])])
    shuffles = [pair(" ".join(texts[:i] + texts[i + 1 :]), texts[i]) for i in range(3)]
    seen = set()
    for seed in range(12):
        one, two, four = (divergence.class_divergence(texts, labels, 0, draws, seed) for draws in (1, 2, 4))
        for found in (one, two):
            assert np.isclose(found.equal[0, 1], samples).any()
        assert np.isclose(four.equal[0, 1], [*samples, np.mean(samples)]).any()
        seen.add(round(four.equal[0, 1], 6))
        assert np.isclose(one.floor[0, 1], shuffles).any() and one.floor_high[0, 1] == one.floor[0, 1]
        pairs = [((a + b) / 2, max(a, b) - 0.05 * abs(a - b)) for a in shuffles for b in shuffles]
        assert np.isclose(pairs, [two.floor[0, 1], two.floor_high[0, 1]]).all(1).any()
    assert len(seen) == 3


def test_floors_follow_the_seed_and_equal_samples_have_each_row_once():
    texts, labels = zipf_texts(60, np.random.default_rng(2)), np.arange(60) % 3
    one, two, other = (divergence.class_divergence(texts, labels, draws=2, seed=seed) for seed in (1, 1, 2))
    assert (one.floor == two.floor).all() and (one.floor != other.floor).any() and (one.raw == other.raw).all()
    labels = np.array([1, 0, 1, 1, 0, 3])
    rows = divergence.equal_sample(labels, 1, np.random.default_rng(0))
    assert labels[rows].tolist() == [0, 1, 3]
    assert sorted(divergence.equal_sample(labels[:5], 2, np.random.default_rng(0))[:2]) == [1, 4]


def gothate(*classes):
    words = divergence.count_words([text.split() for text in classes])
    return divergence.gothate(words, np.arange(len(classes)))


def test_divergence_as_by_kulkarni():
    """Shares (3, 2, 1) / 6 of good, film and bad, and (1, 2, 2) / 5."""
    found = gothate("good the film ! good", "bad , film and", "bad film")
    assert found[0, 1] == found[1, 0] == pytest.approx(jensenshannon([3, 2, 1], [1, 2, 2]) ** 2) and found[0, 0] == 0
    assert found[1, 2] == pytest.approx(0, abs=1e-12)


def test_only_the_500_most_and_the_750_least_frequent_words_count():
    often, middle, seldom = ([f"{name}{i}" for i in range(n)] for name, n in (("o", 500), ("m", 40), ("s", 750)))
    with_middle, without = " ".join(often * 3 + middle * 2 + seldom), " ".join(often * 3 + seldom)
    other = "o1 o1 m3 s7 more"
    assert gothate(with_middle, other)[0, 1] == pytest.approx(gothate(without, other)[0, 1], abs=1e-12)

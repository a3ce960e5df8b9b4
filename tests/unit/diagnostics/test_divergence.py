"""Divergence between classes, against scipy, and its value by chance."""

import numpy as np
import pytest
import toy

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

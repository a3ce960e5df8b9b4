"""Bootstrap intervals over texts that are not kept in memory."""

import numpy as np
import pytest

from plugins.analysis.metrics.bootstrap import StreamingBootstrap


def test_items_weigh_the_same_whichever_text_they_are_in():
    boot = StreamingBootstrap(10)
    boot.add(np.array([[3.0, 1.0]]), np.array([[1.0, 1.0]]))
    boot.add(np.array([[6.0, 0.0]]), np.array([[5.0, 0.0]]))  # six items in two texts; one item in one
    result = boot.result()
    assert result["score"].tolist() == [1.5, 1.0]
    assert result["items"].tolist() == [6, 1] and result["texts"].tolist() == [2, 1]
    assert not np.isnan(result["low"][0]) and np.isnan(result["low"][1]) and np.isnan(result["high"][1])


def test_the_mean_of_no_values_is_nan():
    boot = StreamingBootstrap(10)
    boot.add(np.zeros((3, 1, 2, 2)), np.zeros((3, 1)))
    assert np.isnan(boot.result()["score"]).all() and boot.result()["score"].shape == (1, 2, 2)


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_the_interval_is_the_one_that_drawing_texts_with_replacement_gives(batch):
    draws = np.random.default_rng(5)
    items = draws.integers(1, 20, 60).astype(float)
    sums = items * draws.normal(0.3, 0.2, 60)
    boot = StreamingBootstrap(4000, seed=1)
    for start in range(0, 60, batch):
        boot.add(sums[start : start + batch, None], items[start : start + batch, None])
    chosen = draws.integers(0, 60, (4000, 60))
    expected = np.quantile(sums[chosen].sum(1) / items[chosen].sum(1), [0.025, 0.975])
    result = boot.result()
    width = expected[1] - expected[0]
    np.testing.assert_allclose([result["low"][0], result["high"][0]], expected, atol=0.08 * width)


def test_nineteen_of_twenty_intervals_contain_the_true_value():
    """Of 2,000 intervals over 40 texts each the share is 95 % less the little that a bootstrap of so few lacks."""
    draws = np.random.default_rng(2)
    boot = StreamingBootstrap(500, seed=3)
    sums = draws.exponential(2.0, (40, 1, 2000))  # one item a text: the mean is 2
    boot.add(sums, np.ones((40, 1)))
    result = boot.result()
    held = ((result["low"] <= 2) & (2 <= result["high"])).mean()
    assert 0.90 < held < 0.96


def test_the_same_seed_gives_the_same_interval_and_no_text_is_kept():
    def run(seed, texts):
        boot = StreamingBootstrap(50, seed)
        for i in range(texts):
            boot.add(np.array([[float(i % 7)]]), np.ones((1, 1)))
        return boot

    assert run(1, 30).result()["low"] == run(1, 30).result()["low"] != run(2, 30).result()["low"]
    assert run(1, 2000).sums.nbytes == run(1, 2).sums.nbytes

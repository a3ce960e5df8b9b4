"""Bootstrap intervals over texts that are not kept in memory."""

import numpy as np
import pytest
import toy

from plugins.analysis.metrics.bootstrap import StreamingBootstrap, interval


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


# Intervals of stored values

VALUES = np.random.default_rng(3).exponential(size=40)


def test_a_percentile_interval_is_that_of_scipy():
    from scipy import stats

    expected = stats.bootstrap((VALUES,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    found = interval(VALUES, resamples=4000)
    width = expected.high - expected.low
    np.testing.assert_allclose(found, (expected.low, expected.high), atol=0.06 * width)
    narrow = interval(VALUES, resamples=4000, level=0.5)
    assert narrow[1] - narrow[0] == pytest.approx(0.6745 / 1.96 * width, rel=0.1)


def test_an_interval_depends_on_its_seed_alone():
    assert interval(VALUES) == interval(VALUES, None, 1000, 0, 0.95) == interval(VALUES, np.arange(40))
    assert interval(VALUES) != interval(VALUES, seed=1) and interval(VALUES) != interval(VALUES, resamples=999)


def test_rows_of_a_group_are_drawn_together():
    """Two groups of equal rows: the mean is that of none, one or both; all of one group in a quarter of the draws."""
    low, high = interval(np.array([0.0, 0, 0, 3]), np.array([7, 7, 7, 9]))
    assert (low, high) == (0, 3)
    low, high = interval(np.array([1.0, 1, 4]), np.array([0, 0, 1]), level=0.1)
    assert low == high == 2, "the mean of both groups in half of the draws, by their sizes"


def test_seeds_are_drawn_where_there_are_several():
    values = np.array([[1.0] * 5, [3.0] * 5])
    assert interval(values) == (1, 3) and interval(values[:1]) == (1, 1)


def test_no_rows_have_no_interval():
    with toy.refused("rows"):
        interval(np.zeros((2, 0)))


def test_a_stream_counts_texts_and_has_a_thousand_replicates():
    boot = StreamingBootstrap()
    boot.add(np.ones((3, 2)), np.array([[1.0, 0], [2, 1], [0, 0]]))
    boot.add(np.ones((1, 2)), np.ones((1, 2)))
    assert boot.count == 4 and boot.result()["texts"].tolist() == [3, 2]
    assert boot.items.shape == (1001, 2) and boot.resamples == 1000
    other = StreamingBootstrap(1000, 0)
    other.add(np.ones((3, 2)), np.array([[1.0, 0], [2, 1], [0, 0]]))
    other.add(np.ones((1, 2)), np.ones((1, 2)))
    assert (boot.items == other.items).all()


def test_replicates_that_took_no_text_are_left_out_of_the_interval():
    """Of two texts each replicate takes none in one of seven cases, which has no mean."""
    boot = StreamingBootstrap(300)
    boot.add(np.array([[1.0], [1.0]]), np.ones((2, 1)))
    result = boot.result()
    assert (boot.items == 0).any() and (result["low"], result["high"]) == (1, 1)

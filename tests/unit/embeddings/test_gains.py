"""Gains of transfer: collapsed runs, intervals, tables, and how methods rank the sources."""

import numpy as np
import pytest

from plugins.embeddings import figures, gains


def row(source, target, score, seed=1, collapsed=False):
    return {"source": source, "target": target, "size": "full", "seed": seed, "score": score, "collapsed": collapsed}


def test_a_gain_relative_to_a_collapsed_run_is_none():
    rows = [row("direct", "a", 0.5), row("b", "a", 0.6), row("direct", "b", 0.3, collapsed=True), row("a", "b", 0.9)]
    values = [found["gain"] for found in gains.with_gains(rows)]
    assert values[:2] == pytest.approx([0, 0.1])
    assert np.isnan(values[2:]).all()
    assert "collapsed" in gains.summary(gains.with_gains(rows))


def test_methods_are_compared_with_the_largest_source_and_chance():
    rows = [row("direct", "t", 0.5), row("a", "t", 0.8), row("b", "t", 0.6)]
    one = {"target": "t", "method": "TextEmb", "rank": 0}
    similar = [one | {"source": "a", "score": 2}, one | {"source": "b", "score": 1}]
    found = {each["method"]: each for each in gains.judge(similar, rows, {"a": 10, "b": 99})}
    assert found["TextEmb"]["regret_at_1"] == 0
    assert found["largest source"]["regret_at_1"] == pytest.approx(0.25)
    assert found["random"]["regret_at_1"] == pytest.approx(0.125)


def test_a_gain_counts_if_its_interval_excludes_zero():
    """t(0.975, 2) is 4.303: of a deviation of .01 over three seeds, a mean above .0248 counts."""
    assert gains.excludes_zero(np.array([0.02, 0.03, 0.04]))
    assert not gains.excludes_zero(np.array([0.01, 0.02, 0.03]))
    assert not gains.excludes_zero(np.array([0.5]))
    rows = [row("direct", "a", 0.5, seed) for seed in (1, 2, 3)] + [row("b", "a", 0.6, seed) for seed in (1, 2, 3)]
    assert "| +0.100 ± 0.000* |" in gains.summary(gains.with_gains(rows))


def test_mean_gains_have_a_row_per_target():
    rows = [row("direct", "a", 0.5), row("b", "a", 0.6), row("direct", "a", 0.5, 2), row("b", "a", 0.8, 2)]
    rows = gains.with_gains(rows)
    means, errors = gains.mean_gains(rows, "full", ["a", "b"])
    assert means[0, 1] == pytest.approx(0.2) and np.isnan(means).sum() == 3
    assert errors[0, 1] == pytest.approx(0.1)


def test_the_judgment_averages_over_targets():
    one = {"method": "m", "regret_at_2": 0, "regret_at_3": 0, "rank_of_best": 1, "ndcg": float("nan")}
    rows = [one | {"regret_at_1": regret} for regret in (0.1, 0.3)]
    assert gains.judgment(rows).splitlines()[2] == "| m | 0.200 | 0.000 | 0.000 | 1.000 |  |"


def test_places_on_a_map_keep_distances_in_the_plane():
    places = np.array([[0, 0], [3, 0], [0, 4.0]])
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    found = figures.scaled(distances)
    assert np.linalg.norm(found[:, None] - found, axis=-1) == pytest.approx(distances)


def test_the_summary_has_a_column_for_each_source_and_a_row_for_each_target():
    rows = gains.with_gains(
        [row("direct", "a", 0.5), row("b", "a", 0.625), row("direct", "b", 0.25), row("a", "b", 0.125)]
    )
    lines = gains.summary(rows).splitlines()
    assert lines[0] == "| target | rows | direct | b | a |"
    assert lines[2:] == ["| a | full | 0.500 | +0.125 |  |", "| b | full | 0.250 |  | -0.125 |"]
    assert [row["gain"] for row in rows] == [0, 0.125, 0, -0.125]


def test_two_sources_are_ranked_and_one_is_not():
    rows = [
        row("direct", "t", 0.5),
        row("a", "t", 0.8),
        row("b", "t", 0.6),
        row("direct", "u", 0.5),
        row("a", "u", 0.5),
    ]
    found = gains.judge([], rows, {"a": 10, "b": 99})
    assert [(each["method"], each["target"], each["size"]) for each in found] == [
        ("largest source", "t", "full"), ("random", "t", "full"),
    ]  # fmt: skip
    assert found[0]["rank_of_best"] == 2 and found[1]["rank_of_best"] == 1.5 and np.isnan(found[1]["ndcg"])
    assert found[0]["regret_at_2"] == found[0]["regret_at_3"] == 0 == found[1]["regret_at_2"] == found[1]["regret_at_3"]


def test_an_interval_of_two_seeds():
    """t(0.975, 1) is 12.706, t(0.75, 1) is 1."""
    assert not gains.excludes_zero(np.array([0.08, 0.1])) and gains.excludes_zero(np.array([-0.1, -0.1001]))
    assert gains.excludes_zero(np.array([0.0401, 0.1]), 0.5) and not gains.excludes_zero(np.array([0.0, 0.1]), 0.5)
    assert not gains.excludes_zero(np.array([0.1, np.nan]))

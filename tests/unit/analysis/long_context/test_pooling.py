"""Pooling of runs: means, differences from the trained length, and tables that end."""

import pytest

from plugins.analysis.long_context.pooling import pool


def row(times, losses, **more):
    found = {kind: {"losses": losses} for kind in ("windows", "sliding")}
    return {"length": int(16 * times), "times": times, "tokens_per_second": 10.0 * losses[0], "peak_mb": losses[0],
            "by_position": [1], **found, **more}  # fmt: skip


def test_one_run_keeps_its_bins_and_is_compared_with_the_length_nearest_to_the_trained_one():
    short, near, long = pool([[row(0.25, [5.0, 6]), row(1.5, [2.0, 3]), row(4.0, [2.5, 4.5])]])
    assert (near["windows"]["mean"], near["runs"], near["by_position"]) == (2.5, 1, [1])
    assert near["change"] == {"from": 1.5, "mean": 0, "low": 0, "high": 0, "n": 2}
    assert (long["change"]["from"], long["change"]["mean"]) == (1.5, 1.0)
    assert 0.5 <= long["change"]["low"] < long["change"]["high"] <= 1.5 and short["change"]["mean"] == 3
    assert "cache" not in long and "losses" not in long["sliding"]


def test_several_runs_are_averaged_without_their_bins():
    (found,) = pool([[row(1.0, [1.0, 2])], [row(1.0, [3.0, 4])]])
    assert found["sliding"]["mean"] == 2.5 and found["runs"] == 2 and "by_position" not in found
    assert (found["tokens_per_second"], found["peak_mb"]) == (20, 3)


def test_a_length_beyond_the_table_of_a_run_has_its_limit_only():
    ended = {"length": 64, "times": 4.0, "limit": 16}
    first, last = pool([[row(1.0, [1.0, 2]), ended], [row(1.0, [1.0, 2]), row(4.0, [1.0, 2])]])
    assert last == ended and first["change"]["mean"] == 0
    assert pool([[ended]]) == [ended]


def test_a_cache_counts_where_all_runs_have_one():
    cache = {"cache": {"losses": [1.0, 3.0]}}
    assert pool([[row(1.0, [1.0, 2], **cache)]])[0]["cache"]["mean"] == 2
    assert "cache" not in pool([[row(1.0, [1.0, 2], **cache)], [row(1.0, [1.0, 2])]])[0]


def test_runs_of_other_lengths_are_not_pooled():
    with pytest.raises(ValueError):
        pool([[row(1.0, [1.0])], []])

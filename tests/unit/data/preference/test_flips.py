"""Reversed comparisons: which ones, and what is written."""

import json

import numpy as np
import pytest
import toy

from plugins.data.preference import flips, rows


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_reversals_follow_the_seed():
    first, again, other = (flips.reversed_pairs(np.ones(100), 0.5, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert (flips.reversed_pairs(np.ones(100), 0.5) == first).all()


@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_equal_gaps_are_ordered_at_random(which):
    masks = [flips.reversed_pairs(np.ones(100), 0.5, which, seed) for seed in (1, 2)]
    assert (masks[0] != masks[1]).any() and masks[0][:50].sum() not in (0, 50)


@pytest.mark.parametrize(("share", "count"), [(0, 0), (1, 3), (0.5, 2), (0.4, 1)])
def test_the_share_is_rounded(share, count):
    assert flips.reversed_pairs(np.arange(3), share).sum() == count


def test_an_unknown_choice_is_named():
    with toy.refused("--which best"):
        flips.reversed_pairs(np.ones(3), 0.5, "best")
    with toy.refused("--share -0.1"):
        flips.reversed_pairs(np.ones(3), -0.1)


def test_the_better_text_of_a_comparison_comes_first(tmp_path):
    records = [{"text_a": "x", "text_b": "y", "preference": p, "margin": m} for p, m in (("a", 1), ("b", 3))]
    found, pairs, gaps = flips.comparisons(write(tmp_path / "p.jsonl", records))
    assert pairs.tolist() == [[0, 1], [1, 0]] and gaps.tolist() == [1, 3] and found.texts == ["x", "y"]


def test_ratings_become_pairs_and_their_differences(tmp_path):
    path = write(tmp_path / "p.jsonl", [{"text": t, "score": s} for t, s in (("x", 1), ("y", 4), ("z", 1.2))])
    _, pairs, gaps = flips.comparisons(path)
    assert pairs.tolist() == [[1, 0], [1, 2]] and gaps.tolist() == pytest.approx([3, 2.8])
    assert flips.comparisons(path, min_gap=2.9)[1].tolist() == [[1, 0]]
    with toy.refused("--min-gap 3.5"):
        flips.comparisons(path, 3.5)


def test_ties_are_refused(tmp_path):
    with toy.refused("p.jsonl"):
        flips.comparisons(write(tmp_path / "p.jsonl", [{"text_a": "x", "text_b": "y", "preference": "tie"}]))


def test_reversed_comparisons_are_written_with_their_mark(tmp_path):
    records = [{"chosen": "é", "rejected": "y", "margin": 2, "weight": 0.5}, {"chosen": "y", "rejected": "z"}]
    found, pairs, _ = flips.comparisons(write(tmp_path / "p.jsonl", records))
    flips.write(tmp_path / "o.jsonl", found, pairs, np.array([True, False]))
    text = (tmp_path / "o.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == [
        {"chosen": "y", "rejected": "é", "margin": 2, "weight": 0.5, "flipped": 1},
        {"chosen": "y", "rejected": "z", "margin": 0, "weight": 1, "flipped": 0},
    ]
    assert "é" in text and text.endswith("}\n")


def test_ratings_are_compared_with_the_options(tmp_path, monkeypatch):
    path, seen, compare = (
        write(tmp_path / "p.jsonl", [{"text": str(i), "score": i} for i in range(3)]),
        [],
        rows.compare,
    )
    monkeypatch.setattr(rows, "compare", lambda found, *given: seen.append(given) or compare(found, *given))
    flips.comparisons(path)
    flips.comparisons(path, 1.5, 2, 7)
    assert seen == [(0.5, 4, 1), (1.5, 2, 7)]

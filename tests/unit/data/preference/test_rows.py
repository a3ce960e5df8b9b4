"""Comparisons and ratings: three kinds of columns, splits by text, comparisons from ratings, reversals."""

import json

import numpy as np
import pytest
import toy

from plugins.data.preference import flips, rows


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_trl_columns(tmp_path):
    found = rows.read(write(tmp_path / "p.jsonl", [
        {"prompt": "Q", "chosen": "good", "rejected": "bad", "margin": 2, "weight": 0.5},
        {"prompt": "Q", "chosen": "fine", "rejected": "bad"},
    ]))  # fmt: skip
    assert found.texts == ["Q\ngood", "Q\nbad", "Q\nfine"]
    assert found.pairs.tolist() == [[0, 1], [2, 1]] and found.outcomes.tolist() == [0, 0]
    assert found.margins.tolist() == [2, 0] and found.weights.tolist() == [0.5, 1]


def test_sides_and_ties(tmp_path):
    (tmp_path / "p.tsv").write_text("text_a\ttext_b\tpreference\nx\ty\tb\ny\tz\tTie\n")
    assert rows.read(tmp_path / "p.tsv").outcomes.tolist() == [1, 2]


def test_ratings_become_comparisons_of_the_better_with_the_worse(tmp_path):
    found = rows.read(write(tmp_path / "p.jsonl", [{"text": str(i), "score": i} for i in range(10)]))
    compared = rows.compare(found, min_gap=3, per_text=2)
    gaps = found.scores[compared.pairs[:, 0]] - found.scores[compared.pairs[:, 1]]
    assert gaps.min() >= 3 and len(compared.pairs) >= 10
    with toy.refused("--min-gap 20"):
        rows.compare(found, min_gap=20)


def test_ratings_of_different_lists_are_not_compared(tmp_path):
    records = [{"text": f"{q}{i}", "score": i, "query": q} for q in "ab" for i in range(5)]
    compared = rows.compare(rows.read(write(tmp_path / "p.jsonl", records)), 1, 4)
    assert (compared.groups[compared.pairs[:, 0]] == compared.groups[compared.pairs[:, 1]]).all()


def test_a_single_file_is_split_by_text(tmp_path):
    draw = np.random.default_rng(0)
    pairs = [draw.choice(60, 2, replace=False) for _ in range(400)]
    path = write(tmp_path / "p.jsonl", [{"chosen": f"text {a}", "rejected": f"text {b}"} for a, b in pairs])
    train, valid = (rows.load(str(path), split, 0.3) for split in ("train", "valid"))
    assert rows.shared_texts(train, valid) == 0
    assert len(train.pairs) > len(valid.pairs) > 0


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"chosen": "x", "rejected": ""}, "'rejected'"),
        ({"chosen": "x", "rejected": "x"}, "p.jsonl:1"),
        ({"chosen": "x", "rejected": "y", "margin": "wide"}, "'wide'"),
        ({"chosen": "x", "rejected": "y", "weight": -1}, "-1"),
        ({"text_a": "x", "text_b": "y", "preference": "c"}, "'c'"),
        ({"text": "x", "score": "nan"}, "'nan'"),
        ({"question": "x"}, "chosen"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, record, named):
    path = write(tmp_path / "p.jsonl", [record])
    with toy.refused("p.jsonl:1", named):
        rows.read(path)


def test_a_text_that_is_rated_twice_is_refused(tmp_path):
    path = write(tmp_path / "p.jsonl", [{"text": "x", "score": 1}, {"text": "x", "score": 2}])
    with toy.refused("p.jsonl", 1):
        rows.read(path)


@pytest.mark.parametrize(("which", "expected"), [("largest", {3, 4}), ("smallest", {0, 1})])
def test_reversals_by_gap(which, expected):
    mask = flips.reversed_pairs(np.array([1, 2, 3, 4, 5.0]), 0.4, which)
    assert set(np.flatnonzero(mask)) == expected


def test_random_reversals_have_the_share():
    assert flips.reversed_pairs(np.ones(100), 0.3).sum() == 30
    with toy.refused("--share 2"):
        flips.reversed_pairs(np.ones(3), 2)

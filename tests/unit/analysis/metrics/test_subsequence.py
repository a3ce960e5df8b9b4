"""Longest common subsequences: literals, rouge-score's choice among them, and time."""

import random
import time

import pytest

from plugins.analysis.metrics import subsequence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("abcbdab", "bdcaba", 4), ("", "abc", 0), ("abc", "", 0), ("abc", "abc", 3), ("abc", "xyz", 0), ("aaaa", "aa", 2)],
)
def test_literal_lengths(first, second, expected):
    assert subsequence.length(first, second) == expected
    found = subsequence.indices(first, second)
    assert len(found) == expected and found == sorted(set(found))


@pytest.mark.parametrize("seed", range(50))
def test_the_choice_is_that_of_rouge_score(seed):
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    draw = random.Random(seed)
    first, second = ([draw.choice("abcde") for _ in range(draw.randrange(80))] for _ in range(2))
    assert subsequence.indices(first, second) == scorer.lcs_ind(first, second)


def test_the_time_is_far_from_quadratic():
    draw = random.Random(1)

    def seconds(count):
        first, second = ([draw.randrange(1000) for _ in range(count)] for _ in range(2))
        times = []
        for _ in range(3):
            start = time.process_time()
            subsequence.indices(first, second)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(4000) < 45 * seconds(400)  # 100 times if it were quadratic

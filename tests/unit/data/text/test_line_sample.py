"""The sample of lines that a tokenizer is trained on."""

import numpy as np
import pytest

from plugins.data.text.line_sample import Lines, LineSample, draw

BLOCKS = [[f"line {number} é" for number in range(start, start + 50)] for start in range(0, 1000, 50)]


def sample(size, order=None, seed=1):
    found = LineSample(size)
    for index, lines in enumerate(BLOCKS):
        found.add(draw(lines, np.full(50, index), (seed, index), found.limit))
    return found


def test_every_line_of_a_small_corpus_is_in_the_sample_in_order():
    assert list(sample(10**6).lines()) == sum(BLOCKS, [])


def test_a_sample_has_the_size_and_the_order_of_the_corpus():
    lines = list(sample(3000).lines())
    assert 2900 <= sum(len(line.encode()) for line in lines) <= 3000
    assert lines == sorted(lines, key=lambda line: int(line.split()[1])) and len(set(lines)) == len(lines)


def test_a_sample_is_uniform():
    chosen = [int(line.split()[1]) for seed in range(40) for line in sample(3000, seed=seed).lines()]
    counts = np.histogram(chosen, bins=10, range=(0, 1000))[0]
    # 40 samples of about 240 of 1000 lines: about 960 in each tenth, standard deviation 27; four of them
    assert (abs(counts - counts.mean()) < 110).all()


def test_lines_of_excluded_documents_are_left_out():
    excluded = np.arange(20) % 2 == 1
    assert list(sample(10**6).lines(excluded)) == sum(BLOCKS[::2], [])


def test_lines_are_a_sequence():
    lines = Lines("aéb".encode(), np.array([1, 3, 0]))
    assert (len(lines), lines[0], lines[1], lines[-1], lines[0:2]) == (3, "a", "éb", "", ["a", "éb"])
    with pytest.raises(IndexError):
        lines[3]


def test_a_sample_is_shrunk_at_one_and_a_half_times_its_size():
    found = LineSample(20)
    found.add(draw(["x" * 10] * 3, np.arange(3), (1,), np.inf))
    assert found.limit == np.inf
    found.add(draw(["x"], np.array([3]), (2,), np.inf))
    assert 0 < found.limit < 1 and len(found.lines()) in (2, 3)


def test_a_block_keeps_lines_up_to_the_limit():
    lines = [str(i) for i in range(1000)]
    everything, half = (draw(lines, np.arange(1000), (1,), limit) for limit in (np.inf, 0.5))
    chosen = everything.draws <= 0.5
    assert 400 < chosen.sum() < 600
    assert half.draws.tolist() == everything.draws[chosen].tolist()
    assert half.documents.tolist() == np.flatnonzero(chosen).tolist()
    assert list(Lines(half.text, half.sizes)) == [str(i) for i in half.documents]


def test_an_empty_sample_has_no_lines():
    assert list(LineSample().lines()) == [] and list(LineSample().lines(np.zeros(0, bool))) == []


def test_lines_are_indexed_from_both_ends():
    lines = Lines(b"abbccc", np.array([1, 2, 3]))
    assert (lines[-3], lines[-1], lines[1:], lines[::-1]) == ("a", "ccc", ["bb", "ccc"], ["ccc", "bb", "a"])
    for index in (3, -4):
        with pytest.raises(IndexError):
            lines[index]

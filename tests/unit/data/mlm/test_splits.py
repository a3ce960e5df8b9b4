"""The split of each document, and separators between documents."""

import numpy as np
import pytest

from plugins.data.mlm import splits
from plugins.data.mlm.splits import DROPPED, TRAIN, VALID, Router, SplitWriter, held_out

EOS = 2


@pytest.mark.parametrize("chunk", [10**6, 70])
def test_the_number_held_out_does_not_depend_on_how_it_is_drawn(monkeypatch, chunk):
    monkeypatch.setattr(splits, "_CHUNK", chunk)
    chosen = np.concatenate(list(held_out(300, 0.1, seed=1)))
    assert (len(chosen), chosen.sum()) == (300, 30)
    assert (chosen == np.concatenate(list(held_out(300, 0.1, seed=1)))).all()


def test_documents_of_a_large_corpus_are_held_out_uniformly(monkeypatch):
    monkeypatch.setattr(splits, "_CHUNK", 100)
    counts = sum(np.concatenate(list(held_out(400, 0.25, seed))).astype(int) for seed in range(400))
    # 400 draws of 0.25: 100 expected, standard deviation 8.7
    assert counts.min() > 100 - 5 * 8.7 and counts.max() < 100 + 5 * 8.7
    assert abs(counts[:100].sum() - 10_000) < 5 * np.sqrt(400 * 18.9)  # hypergeometric variance of a chunk: 18.8


@pytest.mark.parametrize(("documents", "expected"), [(0, 0), (1, 0), (2, 1)])
def test_no_document_is_held_out_of_one(documents, expected):
    assert np.concatenate(list(held_out(documents, 0.5, 1))).sum() == expected


def test_dropped_documents_are_not_held_out():
    dropped = np.array([False, True, False, False, True])
    valid = iter([np.array([True, False]), np.array([True])])
    router = Router(valid, dropped)
    assert router.take(2).tolist() == [VALID, DROPPED]
    assert router.take(0).tolist() == []
    assert router.take(3).tolist() == [TRAIN, VALID, DROPPED]


def written(tmp_path, blocks, **options):
    options = {"separated": True, "leading": False} | options
    writer = SplitWriter(tmp_path / "a", np.dtype(np.uint16), EOS, 10, **options)
    for sizes, begins in blocks:
        writer.add(np.full(sum(sizes), 5), np.array(sizes), np.array(begins))
    writer.close()
    return np.fromfile(tmp_path / "a.sizes", np.int32).tolist(), writer


BLOCKS = [([3, 2], [True, True]), ([2], [False]), ([0, 4], [True, False]), ([0], [True]), ([2, 0], [True, False])]


def test_one_separator_precedes_each_document_with_text_but_the_first(tmp_path):
    sizes, writer = written(tmp_path, BLOCKS)
    assert sizes == [3, 1, 2, 2, 1, 4, 1, 2]
    assert (writer.documents, writer.lines, writer.items.tokens) == (5, 8, 16)
    assert writer.counts.tolist() == [0, 0, 3, 0, 0, 13, 0, 0, 0, 0]


def test_a_later_shard_begins_with_a_separator(tmp_path):
    assert written(tmp_path, [([0], [True]), ([3], [True])], leading=True)[0] == [1, 3]


def test_whole_documents_have_no_separators(tmp_path):
    assert written(tmp_path, [([3, 0, 2], [True] * 3)], separated=False)[0] == [3, 2]


def test_without_held_out_and_dropped_documents_all_are_for_training():
    assert Router().take(3).tolist() == [TRAIN] * 3
    assert Router(iter([np.array([True, False, True])])).take(3).tolist() == [VALID, TRAIN, VALID]


@pytest.mark.parametrize(("fraction", "expected"), [(0.001, 1), (0.999, 9), (0.5, 5)])
def test_each_side_has_a_document(fraction, expected):
    assert np.concatenate(list(held_out(10, fraction, 1))).sum() == expected

"""fairseq's indexed data sets, written in constant memory."""

import hashlib

import numpy as np
import pytest
import torch
from fairseq.data import indexed_dataset

from plugins.data.mlm import indexed
from plugins.data.mlm.indexed import RawItems, write_indexed


@pytest.mark.parametrize("vocabulary", [1000, 65_499, 65_500, 100_000])
def test_the_files_are_those_of_fairseqs_builder(tmp_path, vocabulary, monkeypatch):
    monkeypatch.setattr(indexed, "_CHUNK", 7)
    random = np.random.default_rng(0)
    items = [random.integers(vocabulary, size=size) for size in (3, 1, 10, 0, 4, 1, 1, 1, 8)]
    builder = indexed_dataset.make_builder(str(tmp_path / "a.bin"), impl="mmap", vocab_size=vocabulary)
    for item in items:
        builder.add_item(torch.from_numpy(item))
    builder.finalize(str(tmp_path / "a.idx"))

    dtype = indexed_dataset.best_fitting_int_dtype(vocabulary)
    for name, part in (("one", items[:4]), ("two", items[4:])):
        raw = RawItems(tmp_path / name, dtype)
        raw.add(np.concatenate(part), np.array([len(item) for item in part]))
        raw.close()
    parts = [tmp_path / "one", tmp_path / "two"]
    files = write_indexed(tmp_path / "b", parts, dtype, np.arange(vocabulary), dtype)
    for suffix in ("bin", "idx"):
        expected = (tmp_path / f"a.{suffix}").read_bytes()
        assert (tmp_path / f"b.{suffix}").read_bytes() == expected
        assert files[f"b.{suffix}"]["bytes"] == len(expected)


@pytest.mark.parametrize("raw", [np.uint16, np.int32])
@pytest.mark.parametrize("final", [np.uint16, np.int32])
@pytest.mark.parametrize("order", [[2, 0, 1], [0, 1, 2]])
def test_ids_are_renumbered_and_converted(tmp_path, raw, final, order):
    items = RawItems(tmp_path / "raw", raw)
    items.add(np.array([0, 1, 2]), np.array([2, 1]))
    items.add(np.array([1]), np.array([1]))
    items.close()
    assert (items.items, items.tokens) == (3, 4)
    files = write_indexed(tmp_path / "a", [tmp_path / "raw"], raw, np.array(order), final)
    found = indexed_dataset.MMapIndexedDataset(str(tmp_path / "a"))
    assert [item.tolist() for item in found] == [[order[0], order[1]], [order[2]], [order[1]]]
    for name, record in files.items():
        assert record["sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

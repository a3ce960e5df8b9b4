"""Files of embeddings: written in blocks, matched by text, and damaged ones refused."""

import tracemalloc

import numpy as np
import pytest
import toy

from plugins.data.embedding import vectors

BLOCKS = [(np.eye(3)[:2], ["0", "1"], ["a", "b"]), (np.eye(3)[2:], ["2"], ["c"])]


def test_blocks_are_one_array_that_numpy_reads(tmp_path):
    assert vectors.write(tmp_path / "v.npz", BLOCKS) == (3, 3)
    found = vectors.read(tmp_path / "v.npz")
    assert (found.vectors == np.eye(3)).all() and found.vectors.dtype == np.float32
    assert found.index.tolist() == ["0", "1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]


def test_vectors_of_another_model_are_refused_at_any_length():
    ours = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]])
    vectors.check_model("v.npz", ours * [[0.1], [1], [7]], ours + 0.01, "abc", "model.pt")
    with toy.refused("v.npz", "model.pt", "c"):
        vectors.check_model("v.npz", ours, ours * [[1, 1], [1, 1], [1, -1]], "abc", "model.pt")


def test_names_of_any_length_and_characters_are_kept(tmp_path):
    names = ["", "two\nlines", "é" * 70, "a\udcffb"]
    vectors.write(tmp_path / "v.npz", [(np.ones((1, 2)), [name], ["text"]) for name in names])
    assert vectors.read(tmp_path / "v.npz").index.tolist() == names


def test_memory_does_not_grow_with_the_number_of_vectors(tmp_path):
    def peak(blocks):
        tracemalloc.start()
        vectors.write(tmp_path / "v.npz", ((np.ones((500, 2)), ["f.txt:1"] * 500, ["a"] * 500) for _ in range(blocks)))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(120) < peak(40) + 100_000  # 40,000 more names take 3 MB in a list


def test_vectors_are_matched_by_text_and_not_by_place(tmp_path):
    vectors.write(tmp_path / "v.npz", BLOCKS)
    assert vectors.match(tmp_path / "v.npz", ["c", "a"]).tolist() == [[0, 0, 1], [1, 0, 0]]
    with toy.refused("v.npz", "'d'"):
        vectors.match(tmp_path / "v.npz", ["d"])


def test_the_hash_of_a_text_does_not_change():
    assert vectors.text_hash("a") == 0xCABD1BCA128197CA


def test_vectors_are_float32_whatever_they_were(tmp_path):
    hashes = np.array([1, vectors.text_hash("a")], np.uint64)
    np.savez(tmp_path / "v.npz", vectors=np.eye(2), index=["0", "1"], text_hash=hashes)
    found = vectors.match(tmp_path / "v.npz", ["a"])
    assert found.tolist() == [[0, 1]] and found.dtype == np.float32


def test_the_text_without_a_vector_is_named_not_the_first(tmp_path):
    vectors.write(tmp_path / "v.npz", BLOCKS)
    with toy.refused("v.npz", "'" + "d" * 60 + "'"):
        vectors.match(tmp_path / "v.npz", ["a", "d" * 61])


def test_a_file_of_more_than_one_block_is_whole(tmp_path):
    """Names are copied 10,000 at a time, numbers 1 MiB."""
    count = 70_000
    numbers = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    assert vectors.write(tmp_path / "v.npz", [(numbers, range(count), ["a"] * count)]) == (count, 4)
    found = vectors.read(tmp_path / "v.npz")
    assert (found.vectors == numbers).all() and len(found) == count
    assert found.index.tolist() == [str(i) for i in range(count)]
    assert set(found.text_hash.tolist()) == {vectors.text_hash("a")}


def test_an_empty_list_of_vectors_writes_no_file(tmp_path):
    with toy.refused("v.npz"):
        vectors.write(tmp_path / "v.npz", [])
    assert not list(tmp_path.iterdir())


def damaged(path, kind):
    if kind == "text":
        path.write_text("no archive")
    elif kind == "other arrays":
        np.savez(path, x=np.zeros(3))
    elif kind == "pickle":
        np.savez(path, vectors=np.array([{}], object), index=np.zeros(1), text_hash=np.zeros(1, np.uint64))
    elif kind == "sizes":
        np.savez(path, vectors=np.zeros((2, 2)), index=np.array(["a"]), text_hash=np.zeros(1, np.uint64))
    elif kind == "fewer hashes":
        np.savez(path, vectors=np.zeros((1, 2)), index=np.array(["a"]), text_hash=np.zeros(0, np.uint64))
    elif kind == "no vectors":
        np.savez(path, vectors=np.zeros((0, 2)), index=np.array([], str), text_hash=np.zeros(0, np.uint64))
    elif kind == "one dimension":
        np.savez(path, vectors=np.zeros(1), index=np.array(["a"]), text_hash=np.zeros(1, np.uint64))
    elif kind == "integers":
        np.savez(path, vectors=np.zeros((1, 2), int), index=np.array(["a"]), text_hash=np.zeros(1, np.uint64))
    elif kind == "hashes in columns":
        np.savez(path, vectors=np.zeros((1, 2)), index=np.array(["a"]), text_hash=np.zeros((1, 1), np.uint64))
    elif kind == "hashes as text":
        np.savez(path, vectors=np.zeros((1, 2)), index=np.array(["a"]), text_hash=np.array(["1"]))
    elif kind == "beyond float32":
        np.savez(path, vectors=np.full((1, 2), 1e300), index=np.array(["a"]), text_hash=np.zeros(1, np.uint64))
    elif kind == "not finite":
        np.savez(path, vectors=np.full((1, 2), np.nan), index=np.array(["a"]), text_hash=np.zeros(1, np.uint64))


@pytest.mark.parametrize("kind", ["missing", "text", "other arrays", "pickle", "sizes", "fewer hashes", "no vectors",
                                  "one dimension", "integers", "not finite", "hashes in columns", "hashes as text",
                                  "beyond float32"])  # fmt: skip
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, kind):
    damaged(tmp_path / "v.npz", kind)
    with toy.refused("v.npz"):
        vectors.read(tmp_path / "v.npz")

"""Files of embeddings: written in blocks, matched by text, and damaged ones refused."""

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


def test_vectors_are_matched_by_text_and_not_by_place(tmp_path):
    vectors.write(tmp_path / "v.npz", BLOCKS)
    assert vectors.match(tmp_path / "v.npz", ["c", "a"]).tolist() == [[0, 0, 1], [1, 0, 0]]
    with toy.refused("v.npz", "'d'"):
        vectors.match(tmp_path / "v.npz", ["d"])


def test_the_hash_of_a_text_does_not_change():
    assert vectors.text_hash("a") == 0xCABD1BCA128197CA


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
        np.savez(path, vectors=np.array([{}], object), index=np.zeros(1), text_hash=np.zeros(1))
    elif kind == "sizes":
        np.savez(path, vectors=np.zeros((2, 2)), index=np.array(["a"]), text_hash=np.zeros(1))
    elif kind == "not finite":
        np.savez(path, vectors=np.full((1, 2), np.nan), index=np.array(["a"]), text_hash=np.zeros(1))


@pytest.mark.parametrize("kind", ["missing", "text", "other arrays", "pickle", "sizes", "not finite"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, kind):
    damaged(tmp_path / "v.npz", kind)
    with toy.refused("v.npz"):
        vectors.read(tmp_path / "v.npz")

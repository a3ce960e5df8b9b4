"""The file of planted labels: a round trip, files joined, and damaged ones named."""

import dataclasses

import numpy as np
import pytest

from plugins.diagnostics import planted
from plugins.errors import UserError


def example(kind="pair", seed=0, rows=6):
    random = np.random.default_rng(seed)
    labels = np.array([0, 1, 2, 0, 1, 2])[:rows]
    plantings = [planted.Planting(kind, 0.25, n, (labels + n) % 3) for n in (1, 2)]
    logits = [random.normal(size=(2, rows, 3)).astype(np.float32) for _ in plantings]
    return planted.Planted(labels, ["a", "b", "c"], np.arange(rows) % 2, plantings, logits)


def test_written_plantings_are_read_back(tmp_path):
    one, other = example("pair"), example("cyclic", 1)
    planted.write(tmp_path / "1.npz", one)
    planted.write(tmp_path / "2.npz", other)
    found = planted.read([tmp_path / "1.npz", tmp_path / "2.npz"])
    assert found.classes == ["a", "b", "c"] and found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert [p.name for p in found.plantings] == ["pair-0.25-1", "pair-0.25-2", "cyclic-0.25-1", "cyclic-0.25-2"]
    assert found.plantings[1].given.tolist() == [2, 0, 1, 2, 0, 1]
    np.testing.assert_array_equal(found.logits[2], other.logits[0])


@pytest.mark.parametrize(("name", "value", "named"), [
    ("logits", np.full((2, 2, 6, 3), np.nan), "NaN"), ("given", np.full((2, 6), 3), "class id"),
    ("folds", np.zeros(5), "folds"), ("kind", np.array(["x"]), "kind"), ("labels", np.array(["x"] * 6), "number"),
    ("logits", np.zeros((6, 3)), "logits"),
    ("given", np.full((2, 6), -1), "class id"), ("labels", np.full(6, 3), "class id"),
    ("labels", np.zeros(7), "labels"),
    ("classes", np.array(["a", "b"]), "classes"), ("given", np.zeros((2, 5), int), "given"),
    ("rate", np.zeros(3), "rate"), ("number", np.zeros(1), "number"), ("number", np.array([np.nan, 1]), "number"),
    ("labels", np.zeros((6, 1)), "labels"), ("logits", np.full((2, 2, 6, 3), np.inf), "infinite"),
])  # fmt: skip
def test_a_bad_array_is_named(tmp_path, name, value, named):
    path = tmp_path / "planted.npz"
    planted.write(path, example())
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(path, **arrays | {name: value})
    with pytest.raises(UserError, match=rf"planted\.npz: .*{named}"):
        planted.read([path])


def test_other_rows_are_refused(tmp_path):
    planted.write(tmp_path / "1.npz", example())
    planted.write(tmp_path / "2.npz", example(rows=5))
    with pytest.raises(UserError, match=r"2\.npz: other rows"):
        planted.read([tmp_path / "1.npz", tmp_path / "2.npz"])
    with pytest.raises(UserError, match=r"1\.npz: has a planting of another file"):
        planted.read([tmp_path / "1.npz", tmp_path / "1.npz"])


def test_missing_arrays_and_empty_files_are_named(tmp_path):
    path = tmp_path / "planted.npz"
    np.savez(path, labels=np.zeros(6), classes=np.array(["a"]))
    with pytest.raises(UserError, match=r"planted\.npz: no array folds, kind, rate, number, given, logits"):
        planted.read([path])
    np.savez(path, labels=np.zeros(0), classes=np.array(["a", "b"]), folds=np.zeros(0), kind=np.array(["x"]),
             rate=np.zeros(1), number=np.zeros(1), given=np.zeros((1, 0)), logits=np.zeros((1, 1, 0, 2)))  # fmt: skip
    with pytest.raises(UserError, match="no plantings or rows"):
        planted.read([path])


def test_files_with_other_folds_or_classes_are_refused(tmp_path):
    first = example()
    planted.write(tmp_path / "1.npz", first)
    for name, changed in (("folds", {"folds": first.folds[::-1]}), ("classes", {"classes": ["a", "b", "z"]}),
                          ("rows", {"labels": first.labels[::-1]})):  # fmt: skip
        planted.write(tmp_path / "2.npz", dataclasses.replace(example("cyclic", 1), **changed))
        with pytest.raises(UserError, match=rf"2\.npz: other .*{name}.* than .*1\.npz"):
            planted.read([tmp_path / "1.npz", tmp_path / "2.npz"])


def test_folds_rates_and_numbers_are_read_back(tmp_path):
    planted.write(tmp_path / "1.npz", example())
    found = planted.read([tmp_path / "1.npz"])
    assert found.folds.tolist() == [0, 1] * 3 and [(p.kind, p.rate, p.number) for p in found.plantings] == [
        ("pair", 0.25, 1),
        ("pair", 0.25, 2),
    ]
    assert found.labels.dtype == np.int64 == found.plantings[0].given.dtype

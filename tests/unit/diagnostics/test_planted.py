"""The file of planted labels: a round trip, files joined, and damaged ones named."""

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

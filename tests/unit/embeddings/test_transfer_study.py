"""The files of a study of transfer, with stubs in place of trainings."""

import csv

import numpy as np
import pytest

from plugins.embeddings import transfer_study
from plugins.embeddings.transfer import Features


@pytest.fixture
def tasks(monkeypatch):
    """Three tasks, whose information and vectors are known; no model runs."""
    random = np.random.default_rng(0)
    found = {name: Features([], np.arange(20) % 2, random.normal(size=(20, 3)) + shift)
             for name, shift in (("a", [9, 0, 0]), ("b", [9, 9, 0]), ("c", [0, 0, 9]))}  # fmt: skip
    monkeypatch.setattr(transfer_study.transfer, "features", lambda embedder, task, rows: found[task])
    monkeypatch.setattr(
        transfer_study.transfer, "fisher", lambda embedder, task: {"layers.0.fc1.weight": task.vectors.mean(0) ** 2}
    )
    return {name: name for name in found}


def table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_rankings_without_training_and_their_files(tasks, tmp_path, monkeypatch):
    maps = []
    monkeypatch.setattr(transfer_study.figures, "task_maps", lambda path, names, panels: maps.append((names, panels)))
    monkeypatch.setattr(
        transfer_study.figures, "similarities", lambda path, names, rows, method, title: maps.append((names, method))
    )
    prediction = transfer_study.predict(None, tasks, 20)
    assert not list(tmp_path.iterdir())  # the runs of other data may be in the folder
    prediction.write(tmp_path)
    similar = prediction.similar
    best = {(row["method"], row["target"]): row["source"] for row in similar if row["rank"] == 1}
    assert best["TextEmb", "a"] == "b" == best["TaskEmb", "a"] and len(similar) == 3 * 6
    assert [row["source"] for row in table(tmp_path / "similarity.csv")] == [row["source"] for row in similar]
    assert [row["task"] for row in table(tmp_path / "features.csv")] == ["a", "b", "c"]
    with np.load(tmp_path / "task_embeddings.npz") as file:
        assert sorted(file) == sorted(
            [f"TextEmb/{n}" for n in "abc"] + [f"TaskEmb/{n}/layers.0.fc1.weight" for n in "abc"]
        )
        assert file["TextEmb/b"] == pytest.approx([9, 9, 0], abs=1)
    (names, panels), (_, method) = maps
    assert names == ["a", "b", "c"] and method == "TaskEmb, mean cosine"
    for cosines in panels.values():
        cosines = np.array(cosines)
        np.testing.assert_allclose(cosines, cosines.T)
        np.testing.assert_allclose(np.diag(cosines), 1)
        assert cosines[0, 1] > 0.5 > cosines[0, 2]


def test_gains_are_written_with_a_judgment_if_sources_can_be_ranked(tmp_path, monkeypatch):
    same = {"size": "full", "seed": 1, "collapsed": False}
    rows = [{"source": source, "target": target, "score": score, "gain": score - 0.5, **same}
            for target in "ab" for source, score in (("direct", 0.5), ("c", 0.75), ("d", 0.625))]  # fmt: skip
    drawn, asked = [], []
    monkeypatch.setattr(
        transfer_study.figures,
        "gains",
        lambda path, tasks, means, errors, size: drawn.append((path.name, tasks, means)),
    )
    monkeypatch.setattr(transfer_study.transfer, "count_rows", lambda task: {"A": 5, "B": 6, "C": 7, "D": 8}[task])
    monkeypatch.setattr(transfer_study.transfer, "matrix", lambda *given: asked.append(given) or found)
    tasks = {"a": "A", "b": "B", "c": "C", "d": "D"}
    given = dict(sizes=["full", "10"], seeds=2, checkpoint="x.pt", options=["--cpu"], updates=30, resources="r")
    found = rows
    text = transfer_study.measure(tasks, [], tmp_path, **given)
    assert asked == [(tasks, ["full", "10"], 2, "x.pt", ["--cpu"], 30, tmp_path, "r")]
    assert "| a | full | 0.500 | +0.250 | +0.125 |" in text and "| largest source |" in text
    assert (tmp_path / "gains.md").read_text() == text + "\n" and len(table(tmp_path / "transfer.csv")) == 6
    assert [row["method"] for row in table(tmp_path / "judgment.csv")] == ["largest source", "random"] * 2
    assert [name for name, *_ in drawn] == ["gains-full.png", "gains-10.png"] and drawn[0][1] == list("abcd")
    assert drawn[0][2][0, 2] == 0.25 and np.isnan(drawn[1][2]).all()
    found = [row for row in rows if row["source"] != "d"]
    text = transfer_study.measure(tasks, [], tmp_path / "few", **given)
    assert "method" not in text and not (tmp_path / "few" / "judgment.csv").exists()

"""A preference model in use: scores of labeled texts, and the threshold in its checkpoint."""

import json

import pytest
import torch
import toy

from plugins import checkpoints
from plugins.embeddings import deployment


class Scorer:
    def score(self, texts):
        return [float(len(text)) for text in texts]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_scores_and_classes_of_texts(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": "aaa", "score": 1}, {"text": "b", "score": "0"}])
    scores, labels = deployment.labeled_scores(Scorer(), path)
    assert scores.tolist() == [3, 1] and labels.tolist() == [1, 0]


@pytest.mark.parametrize("rows", [[{"text": "a", "score": 2}], [{"text": "a", "score": 0.5}],
                                  [{"chosen": "a", "rejected": "b"}]])  # fmt: skip
def test_other_files_are_refused(tmp_path, rows):
    with toy.refused("a.jsonl", "score"):
        deployment.labeled_scores(Scorer(), write(tmp_path / "a.jsonl", rows))


def test_a_file_with_one_class_is_named_where_both_are_needed(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"text": "a", "score": 1}, {"text": "b", "score": 1}])
    assert deployment.labeled_scores(Scorer(), path)[1].tolist() == [1, 1]
    with toy.refused("a.jsonl"):
        deployment.labeled_scores(Scorer(), path, both=True)


@pytest.mark.parametrize("state", [{"task_state": {"styles": ["x"]}}, {"task_state": None}, {}])
def test_a_threshold_is_stored_and_the_rest_stays(tmp_path, state):
    path = tmp_path / "model.pt"
    torch.save({"model": {"weight": torch.ones(2)}, **state}, path)
    for value in (0.5, 0.25):  # a second one replaces the first
        deployment.store_threshold(path, {"threshold": value})
    found = checkpoints.read_state(path)
    assert found["task_state"] == {**(state.get("task_state") or {}), "threshold": {"threshold": 0.25}}
    assert found["model"]["weight"].tolist() == [1, 1] and [p.name for p in tmp_path.iterdir()] == ["model.pt"]

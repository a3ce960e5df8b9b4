"""Evaluation of vectors: TF-IDF, frozen triplets, files."""

import csv
import json

import numpy as np
import pytest
import toy

from plugins.embeddings import evaluation

LABELS = np.array([0, 0, 1, 1, 1])
TEXTS = ["a", "b", "c", "d", "e"]
VECTORS = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [0, 1.0]])


def test_hard_triplets_are_written_once_and_read_afterwards(tmp_path):
    path = tmp_path / "hard.npy"
    found = evaluation.frozen_triplets(path, VECTORS, TEXTS, LABELS)
    assert (evaluation.frozen_triplets(path, VECTORS[::-1], TEXTS, LABELS) == found).all()  # not from the new vectors
    assert (np.load(path) == found).all() and found.shape == (5, 3)


@pytest.mark.parametrize(
    "content",
    [np.array([[0, 1, 1]]), np.array([[0, 2, 3]]), np.array([[0, 1, 99]]), np.array([[0, 1]]), np.array([0, 1, 2]),
     np.array([["a", "b", "c"]]), b"text", b""],
)  # fmt: skip
def test_triplets_of_other_rows_are_refused(tmp_path, content):
    path = tmp_path / "hard.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with toy.refused("hard.npy"):
        evaluation.frozen_triplets(path, VECTORS, TEXTS, LABELS)


def test_triplets_of_other_texts_with_the_same_labels_are_refused(tmp_path):
    path = tmp_path / "hard.npy"
    found = evaluation.frozen_triplets(path, VECTORS, TEXTS, LABELS)
    with toy.refused("hard.npy"):
        evaluation.frozen_triplets(path, VECTORS, [*TEXTS[1::-1], *TEXTS[2:]], LABELS)
    (tmp_path / "hard.json").unlink()  # as version 0.2.0 writes it
    assert (evaluation.frozen_triplets(path, VECTORS, TEXTS, LABELS) == found).all()


def test_all_metrics_of_vectors():
    hard = np.array([[0, 1, 2], [1, 0, 2], [2, 4, 1], [4, 2, 3]])
    found = evaluation.evaluate(VECTORS, LABELS, hard, seeds=2)
    assert found["hard_triplets"] == 0.5  # the negatives of the last two are nearer
    assert found["knn_accuracy_1"] == pytest.approx(0.8) and found["mean_norm"] == pytest.approx(0.90364, abs=1e-4)
    assert {"random_triplets", "ami", "ari", "v_measure_std", "map_at_r", "isoscore"} <= set(found)


def test_tfidf_has_few_dimensions_and_finds_equal_texts():
    texts = [f"word{i} word{i + 1} shared" for i in range(300)]
    found = evaluation.tfidf([*texts, texts[7]])
    assert found.shape == (301, evaluation.COMPONENTS)
    assert found[7] == pytest.approx(found[300], abs=1e-6)
    assert evaluation.tfidf(["sea tide", "sea boat", "garden"]).shape == (3, 2)
    assert evaluation.tfidf(["sea", "sea"]).tolist() == [[1], [1]]
    with toy.refused("TF-IDF"):
        evaluation.tfidf(["?", "!"])


def test_geometry_has_a_row_for_each_pooling_and_layer():
    found = evaluation.geometry_by_layer({"mean": np.stack([VECTORS, 2 * VECTORS]), "bos": VECTORS[None]})
    assert [(row["pooling"], row["layer"]) for row in found] == [("mean", 0), ("mean", 1), ("bos", 0)]
    assert found[1]["mean_norm"] == pytest.approx(2 * found[0]["mean_norm"])


def test_files_of_an_evaluation(tmp_path):
    scores = {"ours": {"hard_triplets": 0.5, "random_triplets": 0.75}, "TF-IDF": dict.fromkeys(
        ("hard_triplets", "random_triplets"), 0.25)}  # fmt: skip
    evaluation.write(tmp_path, scores, epoch=2, steps=30)
    assert json.loads((tmp_path / "metrics.json").read_text()) == scores
    with open(tmp_path / "embedding_metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(r["representation"], r["epoch"], r["updates"], r["hard_triplets"]) for r in rows] == [
        ("ours", "2", "30", "0.5"), ("TF-IDF", "2", "30", "0.25"),
    ]  # fmt: skip
    for kind, value in (("hard", 0.5), ("random", 0.75)):
        text = (tmp_path / f"triplet_evaluation_{kind}_results.csv").read_text()
        assert text == f"epoch,steps,accuracy_cosine\n2,30,{value}\n"
    evaluation.write(tmp_path, scores)
    assert (tmp_path / "triplet_evaluation_hard_results.csv").read_text().splitlines()[1].startswith("-1,-1,")


def test_the_table_has_the_shown_metrics():
    lines = evaluation.table({"ours": {"a": 0.5, "b": 2 / 3, "c": 9}}, ["a", "b"]).splitlines()
    assert lines[0] == "| representation | a | b |" and lines[2] == "| ours | 0.500 | 0.667 |"


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [1]])
def test_rows_without_triplets_are_named(labels):
    with toy.refused("folder (valid)"):
        evaluation.check_classes(np.array(labels), "folder (valid)")

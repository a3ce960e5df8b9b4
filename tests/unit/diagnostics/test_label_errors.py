"""Rows to review: what a diagnosis wrote is read back, orders, neighbors, and the columns of the table."""

import shutil

import numpy as np
import pytest
import toy

from plugins.diagnostics import diagnosis, diagnosis_report, label_errors

CLASSES = ["bad", "fine", "good"]
LOG_P = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.25, 0.5, 0.25], [0.05, 0.9, 0.05]])
TEXTS = [["a cat sat", "a cat ran", "dogs bark", "a cat sat"]]


def rows():
    pvi, score = np.array([0.5, -1, 0.2, -2]), np.array([0.4, 0.1, 0.3, 0.1])
    return label_errors.Listed(TEXTS, ["r0", "r1", "r2", "r3"], np.array([0, 1, 1, 2]), CLASSES, LOG_P, pvi, score,
                               np.array([False, True, False, True]), np.array([0, 1, 2, 0]))  # fmt: skip


def test_the_lowest_scores_come_first_and_equal_ones_in_their_order():
    assert rows().order.tolist() == [1, 3, 2, 0]


def test_orders_by_name():
    assert label_errors.order_by(rows(), "ranks").tolist() == [0.4, 0.1, 0.3, 0.1]
    assert label_errors.order_by(rows(), "pvi").tolist() == [0.5, -1, 0.2, -2]
    np.testing.assert_allclose(label_errors.order_by(rows(), "self_confidence"), [0.7, 0.3, 0.5, 0.05])
    np.testing.assert_allclose(label_errors.order_by(rows(), "normalized_margin"), [0.75, 0.35, 0.625, 0.075])


def test_columns_of_some_rows():
    found = label_errors.columns(rows(), np.array([3, 0]))
    found["label_quality"] = found["label_quality"].round(6).tolist()
    assert {name: list(values) for name, values in found.items()} == {
        "row": [3, 0], "index": ["r3", "r0"], "sentence1": ["a cat sat", "a cat sat"], "given_label": ["good", "bad"],
        "suggested_label": ["fine", "fine"], "predicted_label": ["fine", "bad"], "is_label_issue": [True, False],
        "label_quality": [0.075, 0.75], "PVI": [-2, 0.5], "rank_score": [0.1, 0.4],
    }  # fmt: skip


def test_neighbors_share_words_and_are_never_the_row_itself():
    found = label_errors.neighbors(TEXTS[0], np.array([0, 2]), 2)
    assert found.tolist() == [[3, 1], [-1, -1]]
    assert label_errors.neighbors(["x", "x"], np.array([1])).tolist() == [[0, -1, -1]]


def test_neighbors_are_those_of_the_whole_similarity_matrix():
    from sklearn.feature_extraction.text import TfidfVectorizer

    random = np.random.default_rng(0)
    texts = [" ".join(random.choice([f"w{i}" for i in range(30)], 9)) for _ in range(400)]
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+").fit_transform(texts).toarray()
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    found = label_errors.neighbors(texts, np.arange(400))
    np.testing.assert_allclose(np.take_along_axis(similarity, found, 1), -np.sort(-similarity, 1)[:, :3], atol=1e-6)


def test_of_equally_similar_rows_the_first_are_neighbors():
    texts = ["one two", *["three four"] * 5, "one", *["one two"] * 40, "two"]
    found = label_errors.neighbors(texts, np.array([0, 1, 20]))
    assert found.tolist() == [[7, 8, 9], [2, 3, 4], [0, 7, 8]]


def test_texts_without_words_have_no_neighbors():
    assert label_errors.neighbors(["--", "!"], np.array([1, 0])).tolist() == [[-1] * 3] * 2


@pytest.fixture
def folder(tmp_path):
    """A diagnosis of 12 rows, whose last two texts are equal."""
    random = np.random.default_rng(0)
    labels = np.arange(12) % 3
    logits = random.normal(0, 1, (2, 12, 3)) + 3 * np.eye(3)[labels]
    d = diagnosis.diagnose(logits, labels, CLASSES, np.arange(12) % 2)
    texts = [[f"word{i} of a text, 'quoted'\n\"twice\"" for i in range(11)] + ["word10 of a text, 'quoted' \"twice\""]]
    table = diagnosis_report.columns(d, texts, [f"n{i}" for i in range(12)])
    diagnosis_report.write(tmp_path / "d", d, table, diagnosis_report.summarized(d, resamples=10))
    return tmp_path / "d", d, texts


def test_a_written_diagnosis_is_read_back(folder):
    path, d, texts = folder
    found = label_errors.load(path)
    assert found.texts == texts and found.index[:2] == ["n0", "n1"] and found.classes == CLASSES and len(found) == 12
    assert found.labels.tolist() == d.labels.tolist() and found.groups[10] == found.groups[11] != found.groups[0]
    np.testing.assert_allclose(found.log_probabilities, d.log_probabilities, atol=1e-5)
    np.testing.assert_allclose(found.pvi, d.pvi_calibrated.mean(0), atol=1e-5)
    assert found.flags.tolist() == d.flags["prune_by_noise_rate"].tolist()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda lines: lines[:-1], "11 rows"),
        (lambda lines: [lines[0], *(line.replace(",bad,", ",good,", 1) for line in lines[1:])], "labels"),
        (lambda lines: [lines[0], *reversed(lines[1:])], "order"),
        (lambda lines: [lines[0].replace("idx", "id"), *lines[1:]], "idx"),
        (lambda lines: [*lines[:2], lines[2] + ",more", *lines[3:]], "record 2"),
        (lambda lines: [*lines[:-1], '"open'], "diagnosis.csv"),
    ],
)
def test_a_table_that_does_not_fit_the_predictions_is_refused(tmp_path, change, named):
    labels = np.array([0, 1, 2] * 4)
    d = diagnosis.diagnose(np.random.default_rng(0).normal(size=(1, 12, 3)), labels, CLASSES, np.arange(12) % 2)
    table = diagnosis_report.columns(d, [["x"] * 12], [str(i) for i in range(12)])
    diagnosis_report.write(tmp_path, d, table, diagnosis_report.summarized(d, resamples=10))
    path = tmp_path / "diagnosis.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    if "order" in named:  # equal labels in both orders: only the names of the rows show it
        shutil.copy(tmp_path / "probabilities.npz", tmp_path / "p.npz")
        arrays = dict(np.load(tmp_path / "p.npz"))
        arrays["labels"] = arrays["labels"][::-1].copy()
        np.savez(tmp_path / "probabilities.npz", **arrays)
    with toy.refused(named, str(tmp_path)):
        label_errors.load(tmp_path)


def test_a_folder_without_predictions_is_named(tmp_path):
    with toy.refused("probabilities.npz", "diagnose.py"):
        label_errors.load(tmp_path)


def test_tables_are_strict_csv_with_the_needed_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"x, ""y""",1\n')
    assert label_errors.read_table(path, ("b",)) == {"a": ['x, "y"'], "b": ["1"]}
    with toy.refused("t.csv:1", "idx, label"):
        label_errors.read_table(path)
    for content in ('a,b\n"x"y,1\n', "", "a,b\n1\n"):
        path.write_text(content)
        with toy.refused("t.csv"):
            label_errors.read_table(path, ("b",))


def test_neighbors_of_many_rows_are_found_in_blocks():
    texts = [f"left{i // 2} right{i // 2}" for i in range(600)]
    found = label_errors.neighbors(texts, np.arange(599, -1, -1), 1)
    assert found[:, 0].tolist() == [i ^ 1 for i in range(599, -1, -1)]


def test_a_diagnosis_without_texts_and_of_pairs(tmp_path):
    labels = np.arange(12) % 3
    d = diagnosis.diagnose(np.random.default_rng(0).normal(size=(1, 12, 3)), labels, CLASSES, np.arange(12) % 2)
    for texts in ([], [["x"] * 12, [f"y{i}" for i in range(12)]]):
        table = diagnosis_report.columns(d, texts, [str(i) for i in range(12)])
        diagnosis_report.write(tmp_path, d, table, diagnosis_report.summarized(d, resamples=10))
        assert label_errors.load(tmp_path).texts == (texts or [[""] * 12])

"""The comparison of losses: its grid, the choice of settings, its table."""

from dataclasses import replace

import numpy as np
import toy

from plugins.embeddings import comparison
from plugins.embeddings.comparison import LossSetting


def test_every_rate_is_tried_and_margins_where_there_are_some():
    found = comparison.grid(["batch_hard", "cosent"], [1e-3, 1e-4], [1.0])
    assert [setting.name for setting in found] == [
        "batch_hard-lr0.001", "batch_hard-lr0.001-m1", "batch_hard-lr0.0001", "batch_hard-lr0.0001-m1",
        "cosent-lr0.001", "cosent-lr0.0001",
    ]  # fmt: skip


def test_fourteen_losses_learn_from_labeled_texts_only():
    assert len(comparison.comparable()) == 14
    assert "margin_mse" not in comparison.comparable()


def test_the_best_setting_is_the_first_of_equal_ones():
    scores = {LossSetting("a", 1): {comparison.CHOICE: 0.5}, LossSetting("a", 2): {comparison.CHOICE: 0.5}}
    assert comparison.best_settings(scores) == {"a": LossSetting("a", 1)}


def test_the_table_has_means_and_deviations_best_first():
    row = {"knn_accuracy_1": 0.5, "ami": 0.2, "hard_triplets": 0.3}
    better = [row | {"knn_accuracy_1": value} for value in (0.6, 0.8)]
    lines = comparison.table({"a": [row], "b": better}, {}).split("\n")
    assert lines[2].startswith("| b |  | 0.700 ± 0.141 |")
    assert lines[3] == "| a |  | 0.500 | 0.200 | 0.300 | 1 |"


def test_a_setting_is_a_folder_and_options_of_training():
    assert LossSetting("batch_hard", 3e-4, 0.2).name == "batch_hard-lr0.0003-m0.2"
    assert LossSetting("batch_hard", 3e-4, 0.2).options() == (
        "--metric-loss",
        "batch_hard",
        "--lr",
        3e-4,
        "--margin",
        0.2,
    )
    assert LossSetting("cosent", 1.0).options() == ("--metric-loss", "cosent", "--lr", 1.0)
    finish = comparison.Evaluation("data", 16, None, "hard.npy", 10)
    found = comparison.job(LossSetting("cosent", 1e-3), 2, ["--cpu"], 60, finish)
    assert (found.name, found.updates, found.finish) == ("cosent-lr0.001-seed2", 60, finish)
    assert found.command == ("fairseq-train", "data", "--cpu", "--metric-loss", "cosent", "--lr", "0.001", "--seed",
                             "2", "--max-update", "60")  # fmt: skip
    for other in ((finish, "other data"), (replace(finish, limit=9),)):
        assert found.key() != comparison.job(LossSetting("cosent", 1e-3), 2, ["--cpu"], 60, *other).key()


def test_even_rows_choose_and_odd_rows_score():
    """The classes of even rows are apart; those of odd rows have the same vectors."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [0, 1], [0, 1.0]])
    found = comparison.Evaluation.score(vectors, labels, np.array([[0, 1, 2], [0, 2, 1]]))
    assert found[comparison.CHOICE] == 1
    assert found["knn_accuracy_1"] == 0 and found["hard_triplets"] == 0.5


def test_validation_rows_are_sampled_up_to_a_limit(tmp_path):
    for name in ("river", "garden"):
        (tmp_path / f"{name}.txt").write_text(" ".join(f"{name}{i}" for i in range(800)))
    rows = {limit: comparison.Evaluation(str(tmp_path), 4, None, "", limit).rows() for limit in (10, 99)}
    texts, labels = rows[99]
    assert len(texts) == 40 and labels.tolist() == [0] * 20 + [1] * 20  # the last tenth of each file, in order
    few, theirs = rows[10]
    assert len(few) == 10 and [texts.index(text) for text in few] == sorted(texts.index(text) for text in few)
    assert [text.startswith("river") for text in few] == theirs.astype(bool).tolist() and 0 < theirs.sum() < 10


def test_validation_rows_of_one_class_are_refused(tmp_path):
    for name in ("river", "garden"):
        (tmp_path / f"{name}.txt").write_text(" ".join(f"{name}{i}" for i in range(800)))
    with toy.refused(tmp_path, "2 validation rows"):
        comparison.Evaluation(str(tmp_path), 4, None, "", 2).rows()


def test_the_files_of_a_comparison_are_those_that_it_reads(tmp_path):
    for name in ("a.txt", "train.csv", "valid.csv", "note.md"):
        (tmp_path / name).write_text("text,label\nx,y\n")
    spec = tmp_path / "rows.yaml"
    spec.write_text(
        "name: x\nfiles: {train: train.csv, valid: valid.csv}\ntext: [text]\nlabel: label\nlabels: [y, z]\n"
    )
    assert comparison.Evaluation(str(tmp_path), 4, None, "", 9).files() == [tmp_path / "a.txt"]
    found = comparison.Evaluation(str(tmp_path), 4, str(spec), "", 9).files()
    assert found == [spec, tmp_path / "train.csv", tmp_path / "valid.csv"]


def test_a_better_setting_replaces_a_worse_one_of_its_loss():
    scores = {LossSetting("a", 1): 0.4, LossSetting("b", 1): 0.9, LossSetting("a", 2): 0.5, LossSetting("a", 3): 0.3}
    found = comparison.best_settings({setting: {comparison.CHOICE: score} for setting, score in scores.items()})
    assert found == {"a": LossSetting("a", 2), "b": LossSetting("b", 1)}


def test_the_table_names_the_chosen_settings_and_counts_the_seeds():
    row = {"knn_accuracy_1": 0.5, "ami": 0.25, "hard_triplets": 0.3}
    lines = comparison.table({"a": [row, row], "TF-IDF": [row]}, {"a": "a-lr1"}).split("\n")
    assert lines[0] == "| representation | setting | knn_accuracy_1 | ami | hard_triplets | seeds |"
    assert lines[2] == "| a | a-lr1 | 0.500 ± 0.000 | 0.250 ± 0.000 | 0.300 ± 0.000 | 2 |"
    assert lines[3] == "| TF-IDF |  | 0.500 | 0.250 | 0.300 | 1 |"

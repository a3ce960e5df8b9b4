"""The comparison of losses: its grid, the choice of settings, its table."""

from plugins.embeddings import comparison
from plugins.embeddings.comparison import Setting


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
    scores = {Setting("a", 1): {comparison.CHOICE: 0.5}, Setting("a", 2): {comparison.CHOICE: 0.5}}
    assert comparison.best_settings(scores) == {"a": Setting("a", 1)}


def test_the_table_has_means_and_deviations_best_first():
    row = {"knn_accuracy_1": 0.5, "ami": 0.2, "hard_triplets": 0.3}
    better = [row | {"knn_accuracy_1": value} for value in (0.6, 0.8)]
    lines = comparison.table({"a": [row], "b": better}, {}).split("\n")
    assert lines[2].startswith("| b |  | 0.700 ± 0.141 |")
    assert lines[3] == "| a |  | 0.500 | 0.200 | 0.300 | 1 |"

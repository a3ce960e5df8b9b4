"""An augmentation experiment: training of the arms, and the tables."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import toy

from plugins.diagnostics.augmentation import Arm, Evaluated
from plugins.diagnostics.datasets import Rows
from plugins.glue import augmentation, cross_fitting
from plugins.jobs import Resources

TEXTS = [f"{word} {i % 3}" for i in range(6) for word in ("good", "bad")]
ON = Evaluated(["bad 1", "good 2", "good 0"], np.array([0, 1, 1]), {"training": slice(0, 3)})
ARM = Arm("M1", 7, TEXTS, np.array([1, 0] * 6), 2)


def test_linear_models_answer_the_evaluation_rows():
    found = augmentation.linear([(ARM, ON), (ARM, ON)], 2)
    assert [answers.tolist() for answers in found] == [[0, 1, 1]] * 2


def test_fine_tuned_models_hold_the_evaluation_rows_out(monkeypatch):
    seen = []

    def run(cells, setting, resources):
        seen.extend(cells)
        assert (setting, resources) == ("setting", Resources())
        logits = np.zeros((1, 15, 2))
        logits[0, 12:] = [[3, 1], [1, 3], [1, 3]]
        return {cell.name: SimpleNamespace(held_out=["earlier", logits]) for cell in cells}

    monkeypatch.setattr(cross_fitting, "run", run)
    (answers,) = augmentation.fine_tuned([(ARM, ON)], ["no", "yes"], "setting", Resources())
    assert answers.tolist() == [0, 1, 1]
    (cell,) = seen
    assert (cell.name, list(cell.seeds)) == ("M1-7", [7])
    assert cell.folds.tolist() == [-1] * 12 + [0] * 3, "rows of the arm are in every training set"
    assert cell.rows.texts == [[*TEXTS, *ON.texts]] and cell.rows.labels.tolist() == [1, 0] * 6 + [0, 1, 1]
    assert not cell.rows.splits.any() and len(set(cell.rows.index)) == 15


def test_two_texts_are_refused():
    rows = Rows(("a", "b"), [["x"], ["y"]], np.zeros(1, int), ["no"], np.zeros(1, int), ["train"], ["0"])
    with toy.refused("--text"):
        augmentation.run(rows, [], 1, None, "random", [1], 0.1, None, Resources())


def result(arm, on, rate, added, relevant=None):
    return {"arm": arm, "on": on, "seed": 1, "failure_rate": rate, "added": added, "relevant": relevant}


def test_tables_have_an_arm_in_each_row_and_a_part_in_each_column(tmp_path):
    rows = [
        result(arm, on, rate, added, 0.75 if arm == "M2" else None)
        for arm, added in (("M0", 0), ("M1", 5), ("M2", 5), ("M3", 1))
        for on, rates in (("training", (0.25, 0.75)), ("spec", (0.5, 0.5)))
        for rate in rates
    ]
    text = augmentation.write(tmp_path / "out", rows, "the command")
    lines = text.splitlines()
    assert lines[0] == "    the command" and "| arm | rows added | training | spec |" in lines
    assert "| M1: and random rows | 5 | 50.0 % ± 25.0 | 50.0 % ± 0.0 |" in lines
    assert "75 %" in lines[-1] and (tmp_path / "out" / "results.md").read_text() == text
    with (tmp_path / "out" / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 16 and (table[0]["relevant"], table[8]["relevant"]) == ("", "0.75")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["command"], summary["relevant"], len(summary["means"])) == ("the command", 0.75, 8)


def test_nothing_selected_has_no_relevance(tmp_path):
    rows = [result(arm, "training", 0.5, 0) for arm in ("M0", "M1", "M2", "M3")]
    assert "specification" not in augmentation.write(tmp_path, rows, "x")


def test_each_seed_has_its_own_held_out_rows_and_all_arms(monkeypatch):
    rows = Rows(("t",), [TEXTS * 4], np.array([1, 0] * 24), ["no", "yes"], np.repeat([0, 1], [24, 24]),
                ["train", "pool"], [str(i) for i in range(48)])  # fmt: skip
    seen, pools = [], []

    def linear(planned, classes):
        assert classes == 2
        seen.extend(planned)
        return [on.labels for _, on in planned]

    def arms(own, pool, classes, specs, chosen, seed):
        assert len(own[0]) == len(own[1]) == 18 and len(pool[0]) == len(pool[1]) == 24 and chosen == "chosen"
        return [Arm(name, seed, *own, 0) for name in ("M0", "M1")]

    monkeypatch.setattr(augmentation, "linear", linear)
    monkeypatch.setattr(augmentation.augmentation, "arms", arms)
    monkeypatch.setattr(augmentation.augmentation, "select", lambda texts, *_: pools.append(len(texts)) or "chosen")
    found = augmentation.run(rows, [], 3, None, "random", [1, 2], 0.25, None, Resources())
    assert pools == [24] and [(arm.name, arm.seed) for arm, _ in seen] == [("M0", 1), ("M1", 1), ("M0", 2), ("M1", 2)]
    assert all(len(on.texts) == 6 for _, on in seen), "a quarter of the training rows"
    assert [(row["arm"], row["failure_rate"]) for row in found if row["on"] == "training"] == [("M0", 0), ("M1", 0)] * 2

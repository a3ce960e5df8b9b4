"""Files of other tools: kawine's tables, allenai's dynamics, arrays; and malformed ones."""

import json

import numpy as np
import pytest
import toy

from plugins.diagnostics import dynamics, formats

LOGITS = np.array([[[2, 0.0], [0, 1]], [[3, 0], [0.5, 0]]])  # (2, 2, 2): epochs, rows, classes


def test_probabilities_and_logits_of_an_npz(tmp_path):
    labels = np.array([0, 1])
    formats.write_npz(tmp_path / "p.npz", {"pred_probs": np.array([[0.9, 0.1], [0.25, 0.75]]), "labels": labels})
    found = formats.read(tmp_path / "p.npz")
    assert found.logits.shape == (1, 2, 2) and found.classes == ["0", "1"] and found.folds is None
    np.testing.assert_allclose(np.exp(found.logits[0]), [[0.9, 0.1], [0.25, 0.75]])
    formats.write_npz(tmp_path / "l.npz", {"logits": LOGITS, "labels": labels, "classes": np.array(["a", "b"])})
    found = formats.read(tmp_path / "l.npz", "logits")
    assert found.logits.shape == (2, 2, 2) and found.classes == ["a", "b"]


def test_names_of_classes_are_labels_and_a_null_serves_all_rows(tmp_path):
    arrays = {"probs": np.full((3, 2), 0.5), "labels": np.array(["b", "a", "b"]), "classes": np.array(["a", "b"])}
    np.savez(tmp_path / "p.npz", **arrays, null_log2=np.array([-1.0, -2.0]), folds=np.array([0, 1, 1], np.uint8))
    found = formats.read(tmp_path / "p.npz")
    assert found.labels.tolist() == [1, 0, 1] and found.null_log2.tolist() == [[-1, -2]] * 3
    assert found.folds.tolist() == [0, 1, 1]


def test_a_probability_of_zero_stays_finite():
    assert np.isfinite(formats.as_logits(np.array([[[1.0, 0.0]]]), "x")).all()


def test_a_table_of_kawines(tmp_path):
    """With the unnamed first column and without predictions, as some of the published tables are."""
    lines = ["Unnamed: 0,sentence1,sentence2,label,H_yb,H_yx,correct_yx"]
    lines += ["0,a,b,1,0.9,0.4,True", "1,c,d,0,1.1,2.0,False"]
    (tmp_path / "v.csv").write_text("\n".join(lines) + "\n")
    found = formats.read(tmp_path / "v.csv")
    np.testing.assert_allclose(found.bits, [[0.9, 1.1], [0.4, 2.0]])
    assert found.labels.tolist() == [1, 0] and found.correct.tolist() == [True, False]
    assert found.texts["sentence2"] == ["b", "d"] and found.logits is None


def test_dynamics_come_back_as_they_were_written(tmp_path):
    labels = np.array([0, 1])
    found = dynamics.data_map(LOGITS, labels)
    formats.write_dynamics(tmp_path / "training_dynamics", LOGITS, labels, ["x", "y"], found)
    logits, gold, index = formats.read_dynamics(tmp_path)
    np.testing.assert_allclose(logits, LOGITS)
    assert gold.tolist() == [0, 1] and index == ["x", "y"]
    rows = [json.loads(line) for line in (tmp_path / "training_dynamics" / "td_metrics.jsonl").read_text().splitlines()]
    assert {row["guid"]: row["correctness"] for row in rows} == {"x": 2, "y": 1}
    assert list(rows[0])[:3] == ["index", "threshold_closeness", "confidence"]


def test_rows_of_other_order_are_matched_by_name_and_missing_ones_named(tmp_path):
    def write(epoch, order):
        key = f"logits_epoch_{epoch}"
        lines = [json.dumps({"guid": g, key: [g, 0.0], "gold": 0}) for g in order]
        (tmp_path / f"dynamics_epoch_{epoch}.jsonl").write_text("\n".join(lines))

    write(0, [1, 2]), write(1, [2, 1])
    assert formats.read_dynamics(tmp_path)[0][1].tolist() == [[1, 0], [2, 0]]
    write(1, [2])
    with toy.refused("dynamics_epoch_1.jsonl"):
        formats.read_dynamics(tmp_path)
    write(1, [2, 3])
    with toy.refused("dynamics_epoch_1.jsonl:2", "row 3"):
        formats.read_dynamics(tmp_path)


@pytest.mark.parametrize(
    ("epoch", "changed", "named"),
    [
        (0, {"gold": 0.5}, "dynamics_epoch_0.jsonl:2"),
        (0, {"gold": "x"}, "dynamics_epoch_0.jsonl:2"),
        (0, {"logits_epoch_0": "12"}, "dynamics_epoch_0.jsonl:2"),
        (0, {"guid": 0}, "row 0"),
        (1, {"guid": 0}, "row 0"),
        (1, {"gold": 1}, "row 1"),
    ],
)
def test_rows_of_dynamics_that_contradict_are_named(tmp_path, epoch, changed, named):
    for number in range(2):
        rows = [{"guid": i, f"logits_epoch_{number}": [1.0, 2.0], "gold": 0} for i in range(3)]
        rows[1] |= changed if number == epoch else {}
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"dynamics_epoch_{number}.jsonl").write_text(text)
    with toy.refused(named, f"dynamics_epoch_{epoch}.jsonl:2"):
        formats.read_dynamics(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"labels": np.zeros(2)}, "probabilities"),
        ({"probs": np.full((2, 2), 0.5)}, "labels"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(3)}, "labels"),
        ({"probs": np.full((2, 2), 0.9), "labels": np.zeros(2)}, "--logits"),
        ({"probs": np.full((2, 2), np.nan), "labels": np.zeros(2)}, "NaN"),
        ({"probs": np.zeros(2), "labels": np.zeros(2)}, "probs"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(2), "classes": np.array(["a"])}, "classes"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(2), "classes": np.array(["a", "a"])}, "classes"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.array(["a", "b"])}, "classes"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.array(["0", "1"])}, "classes"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.array(["a", "c"]), "classes": np.array(["a", "b"])}, "'c'"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(2), "folds": np.array(["x", "y"])}, "folds"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(2), "folds": np.zeros(2)}, "folds"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(2), "null_log2": np.zeros((3, 2))}, "null_log2"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(2), "null_log2": np.array([np.nan, 0])}, "null_log2"),
        ({"probs": np.full((2, 2), 0.5), "labels": np.zeros(2), "null_log2": np.array(["a", "b"])}, "null_log2"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, named):
    np.savez(tmp_path / "p.npz", **arrays)
    with toy.refused("p.npz", named):
        formats.read(tmp_path / "p.npz")


def test_other_bad_files_are_named(tmp_path):
    (tmp_path / "p.npz").write_bytes(b"PK nonsense")
    np.savez(tmp_path / "o.npz", probs=np.array([{}], object), labels=np.zeros(1))
    (tmp_path / "t.csv").write_text("label,H_yb\n0,1\n")
    (tmp_path / "u.csv").write_text("label,H_yb,H_yx\n0,1,x\n")
    (tmp_path / "n.csv").write_text("label,H_yb,H_yx\n0,1,1\n1,nan,1\n")
    (tmp_path / "e.csv").write_text("label,H_yb,H_yx\n")
    (tmp_path / "d.csv").write_text("label,H_yb,H_yb,H_yx\n0,1,1,1\n")
    cases = {"p.npz": "p.npz", "o.npz": "o.npz", "t.csv": "H_yx", "u.csv": "u.csv:2", "v.csv": "v.csv",
             "n.csv": "n.csv:3", "e.csv": "e.csv", "d.csv": "d.csv:1"}  # fmt: skip
    for name, named in cases.items():
        with toy.refused(named):
            formats.read(tmp_path / name)


def test_the_last_epoch_of_dynamics_is_the_prediction(tmp_path):
    labels = np.array([0, 1])
    formats.write_dynamics(tmp_path, LOGITS, labels, ["x", "y"], dynamics.data_map(LOGITS, labels))
    found = formats.read(tmp_path)
    assert found.logits.tolist() == [[[3, 0], [0.5, 0]]] and found.classes == ["0", "1"] and found.index == ["x", "y"]
    assert found.labels.tolist() == [0, 1]


def test_written_dynamics_are_sorted_by_confidence_and_lack_unseen_rows(tmp_path):
    logits = np.array([[[4, 0], [np.nan, np.nan], [0, 1.0]], [[4, 0], [np.nan, np.nan], [0, 1]]])
    metrics = {name: np.array([0.98, np.nan, 0.27]) for name in dynamics.COLUMNS}
    formats.write_dynamics(tmp_path, logits, np.array([0, 1, 0]), ["a", "b", "c"], metrics)
    rows = [json.loads(line) for line in (tmp_path / "td_metrics.jsonl").read_text().splitlines()]
    assert [(row["guid"], row["index"], row["confidence"]) for row in rows] == [("c", "c", 0.27), ("a", "a", 0.98)]
    rows = [json.loads(line) for line in (tmp_path / "dynamics_epoch_1.jsonl").read_text().splitlines()]
    assert rows == [
        {"guid": "a", "logits_epoch_1": [4, 0], "gold": 0},
        {"guid": "c", "logits_epoch_1": [0, 1], "gold": 0},
    ]


def test_epochs_are_in_the_order_of_their_numbers_and_other_files_are_ignored(tmp_path):
    for epoch in (10, 9):
        row = {"guid": "a", f"logits_epoch_{epoch}": [float(epoch), 0.0], "gold": 1}
        (tmp_path / f"dynamics_epoch_{epoch}.jsonl").write_text(json.dumps(row))
    (tmp_path / "dynamics_epoch_x.jsonl").write_text("nothing")
    logits, gold, _ = formats.read_dynamics(tmp_path)
    assert logits[:, 0, 0].tolist() == [9, 10] and gold.tolist() == [1]
    with toy.refused("dynamics_epoch_0.jsonl"):
        formats.read_dynamics(tmp_path / "none")


def test_rows_and_epochs_with_other_numbers_of_logits_are_refused(tmp_path):
    def write(epoch, *widths):
        rows = [{"guid": i, f"logits_epoch_{epoch}": [0.0] * width, "gold": 0} for i, width in enumerate(widths)]
        (tmp_path / f"dynamics_epoch_{epoch}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(0, 2, 3)
    with toy.refused("dynamics_epoch_0.jsonl"):
        formats.read_dynamics(tmp_path)
    write(0, 2, 2), write(1, 3, 3)
    with toy.refused("epochs"):
        formats.read_dynamics(tmp_path)


def test_of_two_arrays_the_wanted_kind_is_read(tmp_path):
    arrays = {"logits": np.array([[5.0, 1]]), "probabilities": np.array([[0.25, 0.75]]), "labels": np.array([1])}
    np.savez(tmp_path / "B.NPZ", **arrays)
    path = next(tmp_path.iterdir())
    assert formats.read(path, "logits").logits.tolist() == [[[5, 1]]]
    np.testing.assert_allclose(formats.read(path).logits, np.log([[[0.25, 0.75]]]))
    np.savez(tmp_path / "l.npz", logits=arrays["logits"], labels=arrays["labels"], index=np.array([9]))
    assert formats.read(tmp_path / "l.npz").logits.tolist() == [[[5, 1]]], "the only kind there is"
    assert formats.read(tmp_path / "l.npz").index == ["9"] and formats.read(tmp_path / "l.npz").null_log2 is None


def test_probabilities_may_be_rounded_to_a_hundredth():
    formats.as_logits(np.array([[0.505, 0.503], [0.495, 0.497]]), "x")
    for bad in ([[0.51, 0.5]], [[1.2, -0.2]]):
        with toy.refused("x", "--logits"):
            formats.as_logits(np.array(bad), "x")
    assert formats.as_logits(np.array([[1.0, 0.0]]), "x")[0, 1] == pytest.approx(np.log(2.0**-126))


def test_names_and_answers_of_a_table(tmp_path):
    lines = ["idx,label,H_yb,H_yx,correct_yx", "r7,b,1,2,1", "r9,a,1,2,1.0", "r8,b,1,2,0", "r6,a,1,2,TRUE"]
    (tmp_path / "v.csv").write_text("\n".join(lines) + "\n")
    found = formats.read(tmp_path / "v.csv")
    assert found.index == ["r7", "r9", "r8", "r6"] and found.correct.tolist() == [True, True, False, True]
    assert found.classes == ["a", "b"] and found.labels.tolist() == [1, 0, 1, 0] and found.texts == {}
    (tmp_path / "v.csv").write_text("label,H_yb,H_yx\nb,1,2\n")
    found = formats.read(tmp_path / "v.csv")
    assert found.index == ["0"] and found.correct is None
    (tmp_path / "v.csv").write_text("label,H_yb,H_yx\nb,1,2\nb,1\n")
    with toy.refused("v.csv:3", "2 columns"):
        formats.read(tmp_path / "v.csv")


def test_columns_are_written_with_eight_digits(tmp_path):
    formats.write_csv(tmp_path / "x.csv", {"a": ["x, y", 'q"'], "b": [1 / 3, np.float64(1e-9)], "c": [7, True]})
    assert (tmp_path / "x.csv").read_text() == 'a,b,c\n"x, y",0.33333333,7\n"q""",1e-09,True\n'
    with pytest.raises(ValueError):
        formats.write_csv(tmp_path / "x.csv", {"a": [1], "b": [1, 2]})

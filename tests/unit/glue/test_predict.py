"""Predictions of a model, and the files they are written to."""

import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy

from plugins.data.glue import specs
from plugins.glue import predict

RTE, STSB = specs.SPECS["RTE"], specs.SPECS["STS-B"]
LOGITS = np.array([[2, 0], [0, 1], [3, -1]], np.float32)
CLASSES = predict.Answers(RTE, np.array(["0", "1", "2"]), LOGITS, np.array([0, 0, 0]), 0.5)
SCORES = predict.Answers(STSB, np.array(["a", "b"]), np.array([[5.5], [1.25]], np.float32), np.array([5.0, 1.0]), 0.1)


def test_classes_are_the_highest_logits_and_scores_the_outputs():
    assert CLASSES.predictions.tolist() == [0, 1, 0] and SCORES.predictions.tolist() == [5.5, 1.25]
    assert CLASSES.scores() == {"accuracy": pytest.approx(2 / 3)}


def test_a_regression_has_its_losses_next_to_the_official_metrics():
    found = SCORES.scores()
    assert set(STSB.metrics) < set(found) and found["mse"] == pytest.approx((0.25 + 0.0625) / 2)
    assert found["published_loss"] == pytest.approx(0.15625 / 25 / np.log(2))


def test_a_run_has_collapsed_if_one_class_is_predicted():
    assert not CLASSES.collapsed() and not SCORES.collapsed()
    assert replace(CLASSES, outputs=LOGITS[[0, 2]]).collapsed()
    assert replace(SCORES, outputs=np.full((2, 1), 2.0)).collapsed()


def test_the_loss_is_in_nats_or_squared():
    targets = np.array([0, 1, 1])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS).double(), torch.from_numpy(targets))
    assert predict.loss_of(RTE, LOGITS, targets) == pytest.approx(expected.item())
    assert predict.loss_of(STSB, SCORES.outputs, SCORES.targets) == pytest.approx(0.15625)
    assert predict.loss_of(RTE, LOGITS, None) is None


def test_predictions_are_written_by_name_and_scores_within_their_scale(tmp_path):
    predict.write_predictions(tmp_path / "a", CLASSES)
    assert (tmp_path / "a").read_text() == "index\tprediction\n0\tentailment\n1\tnot_entailment\n2\tentailment\n"
    assert predict.prediction_lines(SCORES, ()) == ["index\tprediction", "a\t5.000", "b\t1.250"]


def test_validation_predictions_are_written_with_their_labels_in_full(tmp_path):
    predict.write_valid(tmp_path / "a", CLASSES)
    predict.write_valid(tmp_path / "b", SCORES)
    assert (tmp_path / "a").read_text() == "index\tprediction\tlabel\n0\t0\t0\n1\t1\t0\n2\t0\t0\n"
    assert (tmp_path / "b").read_text() == "index\tprediction\tlabel\na\t5.5\t5.0\nb\t1.25\t1.0\n"


def test_a_submission_has_the_labels_of_the_official_files(tmp_path):
    predict.write_submission(tmp_path / "s.zip", {"RTE.tsv": CLASSES, "STS-B.tsv": SCORES})
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.namelist() == ["RTE.tsv", "STS-B.tsv"]
        lines = archive.read("RTE.tsv").decode().splitlines()
    assert lines[1:] == [f"{i}\t{RTE.labels[k]}" for i, k in enumerate((0, 1, 0))]


def fake(spec):
    """A model that was fine-tuned on a task."""
    return SimpleNamespace(task=SimpleNamespace(spec=spec))


def test_a_head_of_another_task_is_refused_unless_its_labels_are_the_same():
    with toy.refused("RTE", "CoLA"):
        predict.answers(fake(RTE), "nowhere", "valid", specs.SPECS["CoLA"])
    with toy.refused("nowhere"):
        predict.answers(fake(RTE), "nowhere", "valid", replace(RTE, name="other"))


def test_a_model_of_scores_has_no_logits():
    with toy.refused("STS-B"):
        predict.logits_of_texts(fake(STSB), ["a"])


def test_a_checkpoint_without_a_head_is_refused():
    with toy.refused("--task glue"):
        predict.spec_of(SimpleNamespace(task=object()))

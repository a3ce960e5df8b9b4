"""Results derived from the logits of runs."""

import numpy as np
import pytest
import toy

from plugins.diagnostics.datasets import Rows
from plugins.errors import UserError
from plugins.glue import diagnose


def test_validation_rows_come_from_the_second_split():
    """Two runs, three validation rows with the labels 1, 1, 0, which the models find, against a prior of one half."""
    labels, splits = np.array([0, 1, 1, 1, 0]), np.array([0, 0, 1, 1, 1])
    texts = [[str(i) for i in range(5)]]
    rows = Rows(("x",), texts, labels, ["no", "yes"], splits, ["train", "dev"], texts[0], None)
    right = np.where(np.arange(2) == labels[splits == 1][:, None], 4.0, -4.0)  # (3, 2)
    found = diagnose.on_valid(np.stack([right, right]), rows, labels[splits == 0])
    assert found["split"] == "dev" and found["accuracy"] == 1
    wrong = diagnose.on_valid(np.stack([-right, -right]), rows, labels[splits == 0])
    assert wrong["accuracy"] == pytest.approx(0)


def test_calibration_of_predictions_by_a_bias(tmp_path):
    """A useless model of unequal classes: with a bias V is that of the prior, 0; a temperature leaves it below."""
    random = np.random.default_rng(0)
    labels = (random.random(800) < 0.1).astype(np.int64)
    np.savez(tmp_path / "x.npz", logits=random.normal(size=(800, 2)), labels=labels)
    plain, shifted = (
        diagnose.diagnose_file(str(tmp_path / "x.npz"), "logits", tmp_path / f"out{bias}", figures=False, bias=bias)
        for bias in (False, True)
    )
    assert plain["calibration"] == "temperature" and plain["V_calibrated"] < -0.4
    assert shifted["calibration"] == "temperature and bias"
    assert shifted["V_calibrated"] == pytest.approx(0, abs=0.02) and shifted["V"] == plain["V"]


@pytest.mark.parametrize("kinds", [("good",), ("good", "entirely different and bad")])
def test_near_duplicates_that_leave_a_fold_empty_are_an_error(kinds):
    lines = [f"the {kind} sentence about a thing that is long enough" for kind in kinds for _ in range(30)]
    labels = np.arange(len(lines)) * 2 // len(lines)
    rows = Rows(("x",), [lines], labels, ["no", "yes"], np.zeros(len(lines), np.int64), ["train"], lines, None)
    for folds in (2, 3):
        try:
            cells, _ = diagnose.cells_of(rows, diagnose.DiagnosisRequest(folds))
            assert np.bincount(cells["full"].folds, minlength=folds).all()
        except UserError as error:
            toy.names(error, f"--folds {folds}")

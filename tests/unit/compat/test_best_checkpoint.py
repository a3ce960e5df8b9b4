"""The best checkpoint and early stopping: ties, zero, small improvements, NaN, resuming, two runs in one process."""

import sys
from types import SimpleNamespace

import pytest
from fairseq import checkpoint_utils
from fairseq_cli import train

import plugins  # noqa: F401 (installs the repairs)
from plugins.compat import best_checkpoint

NAN = float("nan")


class Trainer:
    """Records which files are written."""

    data_parallel_rank, checkpoint_suffix, should_save_checkpoint_on_current_rank = 0, "", True
    always_call_state_dict_during_save_checkpoint = False

    def __init__(self, min_delta=0.0):
        self.cfg = SimpleNamespace(task=SimpleNamespace(min_delta=min_delta))
        self.task, self.saved, self.updates = object(), [], 0

    def consolidate_optimizer(self):
        pass

    def get_num_updates(self):
        return self.updates

    def save_checkpoint(self, filename, extra_state):
        best_checkpoint.store(lambda self, name, state: self.saved.append((name, state)), self, filename, extra_state)


@pytest.fixture
def best_of(tmp_path, monkeypatch):
    """Return the numbers, from 0, of the scores whose checkpoint became the best, and the stored best scores."""

    def run(scores, maximize=True, min_delta=0.0):
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        trainer = Trainer(min_delta)
        monkeypatch.setattr(checkpoint_utils.PathManager, "copy", lambda *args, **kwargs: True)
        cfg = SimpleNamespace(
            save_dir=str(tmp_path), maximize_best_checkpoint_metric=maximize, no_save=False, no_epoch_checkpoints=True,
            save_interval=1, save_interval_updates=0, keep_best_checkpoints=0, best_checkpoint_metric="x",
            no_last_checkpoints=False, write_checkpoints_asynchronously=False, keep_interval_updates=-1,
            keep_last_epochs=-1, keep_interval_updates_pattern=-1,
        )  # fmt: skip
        epoch = SimpleNamespace(epoch=1, end_of_epoch=lambda: True, state_dict=dict)
        kept = []
        for number, score in enumerate(scores):
            trainer.updates = number
            checkpoint_utils.save_checkpoint(cfg, trainer, epoch, score)
            if trainer.saved[-1][0].endswith("checkpoint_best.pt"):
                kept.append(number)
        return kept, [state.get("best") for _, state in trainer.saved]

    yield run
    vars(checkpoint_utils.save_checkpoint).pop("best", None)


def test_the_first_of_equal_scores_is_kept(best_of):
    """fairseq keeps the last."""
    assert best_of([0.5, 0.5, 0.6, 0.6, 0.5]) == ([0, 2], [0.5, 0.5, 0.6, 0.6, 0.6])
    assert best_of([2.0, 2.0, 1.0, 1.0], maximize=False)[0] == [0, 2]


def test_zero_is_a_score(best_of):
    """A Matthews correlation of 0 is the best of [0, -0.1], and what follows has to exceed it."""
    assert best_of([0.0, -0.1, 0.0, 0.1]) == ([0, 3], [0.0, 0.0, 0.0, 0.1])


def test_an_improvement_has_to_exceed_min_delta(best_of):
    kept, stored = best_of([0.50, 0.55, 0.59, 0.61], min_delta=0.1)
    assert kept == [0, 3]
    assert stored == [0.50, 0.50, 0.50, 0.61]


def test_any_number_is_better_than_nan(best_of):
    assert best_of([NAN, 0.1, NAN])[0] == [1]


# Patience


def config(patience=2, maximize=True, min_delta=0.0):
    checkpoint = SimpleNamespace(patience=patience, maximize_best_checkpoint_metric=maximize)
    return SimpleNamespace(checkpoint=checkpoint, task=SimpleNamespace(min_delta=min_delta))


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(best_checkpoint, "PATIENCE", {"best": None, "num_runs": 0})


def stops(scores, **options):
    return [best_checkpoint.should_stop_early(None, config(**options), score) for score in scores]


def test_patience_counts_validations_without_improvement(fresh):
    assert stops([0.0, 0.0, 0.1, 0.1, None, 0.1]) == [False, False, False, False, False, True]


def test_patience_counts_small_improvements_as_none(fresh):
    assert stops([0.5, 0.55, 0.58], min_delta=0.1) == [False, False, True]


def test_patience_continues_after_a_resume(fresh):
    """fairseq starts counting again."""
    states = []
    stops([0.5, 0.4], patience=3)
    best_checkpoint.store(lambda self, name, state: states.append(state), object(), "x.pt", {})
    best_checkpoint.PATIENCE.update(best=None, num_runs=0)  # another process
    best_checkpoint.restore(lambda *args: states[0], None, "x.pt")
    assert stops([0.4, 0.4], patience=3) == [False, True]


def test_fine_tuning_resets_the_best_score_and_patience(fresh):
    state = {best_checkpoint.KEY: {"best": 0.9, "num_runs": 5}}
    best_checkpoint.restore(lambda *args: state, None, "x.pt", True)
    assert best_checkpoint.PATIENCE == {"best": None, "num_runs": 0}


def test_fairseq_train_stops_by_these_rules(fresh):
    assert sys.modules["fairseq_cli.train"] is train
    checkpoint_utils.save_checkpoint.best = 0.9
    best_checkpoint.start_run(lambda *args: None, None, None)
    assert train.should_stop_early.__wrapped__
    assert not hasattr(checkpoint_utils.save_checkpoint, "best")  # of an earlier run in this process


def test_a_checkpoint_without_a_score_leaves_the_best_score_as_it_is(best_of):
    kept, stored = best_of([5.0, None, 4.0, None, 6.0])
    assert kept == [0, 4] and stored[-1] == 6.0


@pytest.mark.parametrize("score, best, maximize, expected", [
    (0.5, None, True, True), (NAN, None, True, False), (0.5, NAN, False, True), (NAN, NAN, False, False),
    (0.75, 0.5, True, False), (0.8, 0.5, True, True), (0.25, 0.5, False, False), (0.2, 0.5, False, True),
    (0.2, 0.5, True, False), (NAN, 0.5, True, False),
])  # fmt: skip
def test_a_score_improves_by_more_than_the_minimum(score, best, maximize, expected):
    assert best_checkpoint.improves(score, best, maximize, min_delta=0.25) is expected


def test_any_difference_is_an_improvement_by_default():
    assert best_checkpoint.improves(0.5 + 1e-9, 0.5, True) and not best_checkpoint.improves(0.5, 0.5, True)


def test_a_loss_has_to_fall_by_more_than_min_delta(best_of):
    kept, stored = best_of([0.50, 0.45, 0.41, 0.39], maximize=False, min_delta=0.1)
    assert (kept, stored) == ([0, 3], [0.50, 0.50, 0.50, 0.39])
    assert best_of([NAN, NAN, 0.5, NAN, 0.6], maximize=False)[0] == [2]


def test_without_patience_a_run_does_not_stop_and_a_foreign_task_has_no_minimum(fresh):
    assert stops([0.5, 0.4, 0.3, 0.2], patience=0) == [False] * 4
    assert stops([0.5, 0.4], patience=1) == [False, True]
    cfg = SimpleNamespace(checkpoint=config(patience=1).checkpoint, task=SimpleNamespace())
    assert [best_checkpoint.should_stop_early(None, cfg, score) for score in (0.6, 0.7, 0.7)] == [False, False, True]
    assert best_checkpoint.min_delta_of(SimpleNamespace(task=SimpleNamespace(min_delta=None))) == 0


def test_patience_of_a_checkpoint_without_it_is_fresh(fresh):
    for state in (None, {}, {best_checkpoint.KEY: {}}):
        assert best_checkpoint.restore(lambda *args, state=state: state, None, "x.pt") == state
        assert best_checkpoint.PATIENCE == {"best": None, "num_runs": 0}
    best_checkpoint.restore(lambda *args: {best_checkpoint.KEY: {"best": 0.5, "num_runs": None}}, None, "x.pt")
    assert best_checkpoint.PATIENCE == {"best": 0.5, "num_runs": 0}


def test_a_run_starts_without_the_patience_of_the_one_before(fresh):
    best_checkpoint.PATIENCE.update(best=0.5, num_runs=3)
    for _ in range(2):
        made = best_checkpoint.start_run(lambda *given, **more: (given, more), "self", "cfg", 1, x=2)
    assert made == (("self", "cfg", 1), {"x": 2}) and best_checkpoint.PATIENCE == {"best": None, "num_runs": 0}
    assert not hasattr(train.should_stop_early.__wrapped__, "__wrapped__")  # replaced once


def test_a_loss_stops_the_run_when_it_no_longer_falls(fresh):
    assert stops([0.5, 0.4, 0.4, 0.45], maximize=False) == [False, False, False, True]

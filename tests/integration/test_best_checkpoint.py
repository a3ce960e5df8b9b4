"""The best checkpoint and ``--patience`` of the tasks on rows: all scores are equal, as the learning rate is 0."""

import pytest
import torch
from fairseq import tasks
from parallel_runs import TASKS, finish, start

import plugins  # noqa: F401 (registers the tasks)

OF_WINDOWS = {"char_lm", "causal_lm"}  # an epoch is an arbitrary number of windows
RUNS = {name: run for name, run in TASKS.items() if name not in (*OF_WINDOWS, "style")}


def updates(path):
    return torch.load(path, weights_only=True)["optimizer_history"][-1]["num_updates"]


def test_every_task_has_a_run_here():
    ours = {name for name, task in tasks.TASK_REGISTRY.items() if task.__module__.startswith("plugins.")}
    assert ours == set(RUNS) | OF_WINDOWS


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_the_first_of_equal_scores_is_kept_and_a_resume_restores_patience(name, tmp_path):
    """Of patience 3, the second epoch takes one and the fourth the last; a new count would end after the sixth."""
    folder = tmp_path / "run"
    still = ["--lr", 0, "--save-dir", folder, "--update-freq", 1, "--max-update", 1000, "--patience", 3]
    command = [*RUNS[name](tmp_path), *still]
    finish(start([*command, "--max-epoch", 2], 1))
    epoch = updates(folder / "checkpoint_best.pt")
    assert updates(folder / "checkpoint_last.pt") == 2 * epoch
    outcome = finish(start([*command, "--max-epoch", 9], 1))[0]
    assert "early stop" in outcome.text
    assert updates(folder / "checkpoint_last.pt") == 4 * epoch
    assert updates(folder / "checkpoint_best.pt") == epoch

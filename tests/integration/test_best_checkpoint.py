"""The best checkpoint and ``--patience`` of every task, where all scores are equal because the learning rate is 0."""

import pytest
import torch
from fairseq import tasks
from parallel_runs import TASKS, causal_lm, finish, start

import plugins  # noqa: F401 (registers the tasks)

ALL = TASKS | {"causal_lm": causal_lm}


def updates(path):
    return torch.load(path, weights_only=True)["optimizer_history"][-1]["num_updates"]


def test_every_task_has_a_run_here():
    ours = {name for name, task in tasks.TASK_REGISTRY.items() if task.__module__.startswith("plugins.")}
    assert ours == set(ALL) - {"style"}  # of char_lm too


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_first_of_equal_scores_is_kept_and_patience_survives_a_resume(name, tmp_path):
    """Of patience 3, the second epoch takes one and the fourth the last; a new count would end after the sixth."""
    folder = tmp_path / "run"
    still = ["--lr", 0, "--save-dir", folder, "--update-freq", 1, "--max-update", 1000, "--patience", 3]
    command = [*ALL[name](tmp_path), *still]
    finish(start([*command, "--max-epoch", 2], 1))
    epoch = updates(folder / "checkpoint_best.pt")
    assert updates(folder / "checkpoint_last.pt") == 2 * epoch
    outcome = finish(start([*command, "--max-epoch", 9], 1))[0]
    assert "early stop" in outcome.text
    assert updates(folder / "checkpoint_last.pt") == 4 * epoch
    assert updates(folder / "checkpoint_best.pt") == epoch

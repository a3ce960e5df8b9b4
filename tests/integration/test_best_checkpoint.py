"""The best checkpoint and ``--patience`` of every task: all scores are equal, as the learning rate is 0."""

import embedding_runs
import pytest
import torch
import toy
from fairseq import tasks
from parallel_runs import COMMON, SMALL_DECODER, TASKS, finish, start

import plugins  # noqa: F401 (registers the tasks)

OF_WINDOWS = {  # an epoch is an arbitrary number of windows
    "char_lm": ["--arch", "char_lm_nano", "--criterion", "style_lm"],
    "causal_lm": ["--arch", "causal_lm", "--criterion", "causal_lm", "--vocabulary", "char"],
}
RUNS = {name: run for name, run in TASKS.items() if name not in (*OF_WINDOWS, "style")}


def updates(path):
    return torch.load(path, weights_only=True)["optimizer_history"][-1]["num_updates"]


def test_every_task_has_a_run_here():
    ours = {name for name, task in tasks.TASK_REGISTRY.items() if task.__module__.startswith("plugins.")}
    assert ours == {*RUNS, *OF_WINDOWS}


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


@pytest.mark.parametrize("name", OF_WINDOWS)
def test_patience_and_the_best_score_of_windows_survive_a_resume(name, tmp_path):
    """Of patience 3, the validation after update 4 takes one, and the one after update 8 the last."""
    (tmp_path / "text.txt").write_text("\n".join(toy.sentences(60)) + "\n")
    folder = tmp_path / "run"
    given = [str(value) for value in (
        tmp_path / "text.txt", *COMMON, "--task", name, *OF_WINDOWS[name], *SMALL_DECODER, "--batch-size", 4, "--lr", 0,
        "--lr-scheduler", "fixed", "--patience", 3, "--validate-interval-updates", 2, "--save-interval-updates", 2,
        "--keep-interval-updates", 1, "--save-dir", folder,
    )]  # fmt: skip
    embedding_runs.run([*given, "--max-update", "4"])
    assert (updates(folder / "checkpoint_best.pt"), updates(folder / "checkpoint_last.pt")) == (2, 4)
    embedding_runs.run([*given, "--max-update", "20"])
    assert (updates(folder / "checkpoint_best.pt"), updates(folder / "checkpoint_last.pt")) == (2, 8)

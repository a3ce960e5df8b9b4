"""A job, its run.json, and whether its files are complete."""

import json

import pytest
import torch

from plugins.jobs import Job
from plugins.jobs import job as jobs
from plugins.jobs.job import Note

TRAIN = ("fairseq-train", "data", "--lr", "1")


def test_the_folder_is_added_to_the_command_of_fairseq_train_unless_it_is_given(tmp_path):
    assert Job("a", TRAIN).command_in(tmp_path) == (*TRAIN, "--save-dir", str(tmp_path))
    for given in (("--save-dir", "x"), ("--save-dir=x",)):
        assert Job("a", (*TRAIN, *given)).command_in(tmp_path) == (*TRAIN, *given)
    assert Job("a", ("own.py", "x")).command_in(tmp_path) == ("own.py", "x")


def test_the_command_identifies_a_job_unless_something_else_does():
    assert Job("a", TRAIN).key() == {"command": ["fairseq-train", "data", "--lr", "1"]}
    assert Job("a", TRAIN, identity={"lr": (1, 2)}).key() == {"lr": [1, 2]}, "as JSON stores it"


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"identity": 1, "finished": True, "result": {"x": 2}}, Note(1, True, {"x": 2})),
        ({"identity": 1, "error": "bad"}, Note(1, error="bad")),
        ({"options": {"lr": 1}, "result": {}}, Note({"lr": 1}, True, {})),
        ({"command": ["a"], "finished": False}, Note({"command": ["a"]})),
        ({"identity": 1, "error": 5}, Note(1, error="5")),
        ([], Note()),
    ],
)
def test_run_json_is_read_in_every_version(tmp_path, content, note):
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert Note.read(tmp_path) == note


def test_run_json_is_written_without_what_is_missing(tmp_path):
    Note({"lr": 1}).write(tmp_path)
    assert (tmp_path / "run.json").read_text() == '{\n "identity": {\n  "lr": 1\n },\n "finished": false\n}\n'
    Note(1, True, {"x": 2}, "old").write(tmp_path)
    assert Note.read(tmp_path) == Note(1, True, {"x": 2}, "old")


@pytest.mark.parametrize(
    ("known", "new", "named"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b"),
        ({"a": 1, "b": 2}, {"a": 1, "c": 1}, "b and c (not recorded before)"),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"a": 2, "b": {"c": 1, "d": 3}}, "a and b (d)"),
        ({"a": 1}, {"a": 1}, "files"),
        (["a"], {"a": 1}, "options"),
        ({"a": ["x", "--lr", "1", "--b"]}, {"a": ["x", "--lr", "2", "--b"]}, "a (--lr 1, now 2)"),
        ({"a": ["x", "--lr", "1"]}, {"a": ["x"]}, "a (--lr 1, now nothing)"),
        ({"a": ["x"]}, {"a": ["x", "--lr", "1"]}, "a (nothing, now --lr 1)"),
        ({"a": ["x"]}, {"a": ["y", "--lr", "1"]}, "a (x, now y --lr 1)"),
    ],
)
def test_the_changed_parts_of_an_identity_are_named(known, new, named):
    assert jobs.changes(known, new) == named


def test_the_last_attempt_begins_at_the_last_start(tmp_path):
    log = tmp_path / "log"
    assert jobs.last_attempt(log) == []
    for text, lines in (("a\nb\n", ["a", "b"]), ("$ one\na\n$ two\nb\n", ["$ two", "b"])):
        log.write_text(text)
        assert jobs.last_attempt(log) == lines


# Completeness

DONE = "| INFO | done training in 0.5 seconds\n"


def record(update):
    return f'| INFO | train_inner | {{"num_updates": "{update}"}}\n'


def save(path, update=None):
    torch.save({"model": {}} | ({} if update is None else {"optimizer_history": [{"num_updates": update}]}), path)


@pytest.fixture
def finished(tmp_path):
    """A job with a complete log and two checkpoints, and its folder."""
    (tmp_path / "train.log").write_text(f"$ fairseq-train\n{record(4)}{DONE}")
    for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
        save(tmp_path / name, 4)
    return Job("a", TRAIN, checkpoints=("checkpoint_best.pt",)), tmp_path


def test_a_complete_run_lacks_nothing(finished):
    assert jobs.incomplete(*finished) is None and jobs.log_is_behind(*finished) is None


@pytest.mark.parametrize("log", ["", f"$ one\n{record(4)}{DONE}$ two\n{record(4)}"])
def test_a_log_without_an_end_after_its_last_start_is_incomplete(finished, log):
    job, folder = finished
    (folder / "train.log").write_text(log)
    assert str(folder / "train.log") in jobs.incomplete(job, folder)


def test_a_missing_checkpoint_and_a_damaged_last_one_are_named(finished):
    job, folder = finished
    (folder / "checkpoint_last.pt").write_bytes(b"PK")
    assert "checkpoint_last.pt" in jobs.incomplete(job, folder)
    (folder / "checkpoint_best.pt").unlink()
    assert "checkpoint_best.pt" in jobs.incomplete(job, folder)
    (folder / "checkpoint_last.pt").unlink()
    assert jobs.log_is_behind(job, folder) is None, "neither is there"


@pytest.mark.parametrize(("logged", "saved", "behind"), [(4, 4, False), (3, 4, True), (5, 4, False), (None, 4, False)])
def test_a_checkpoint_after_the_last_update_of_the_log_is_named(finished, logged, saved, behind):
    job, folder = finished
    (folder / "train.log").write_text("$ fairseq-train\n" + ("" if logged is None else record(logged)))
    save(folder / "checkpoint_best.pt", saved)
    found = jobs.log_is_behind(job, folder)
    assert (found is not None) == behind
    if behind:
        assert "checkpoint_best.pt" in found and "3" in found and "4" in found


def test_an_update_counts_as_logged_where_its_checkpoint_is(finished):
    job, folder = finished
    (folder / "train.log").write_text(f"$ x\n{record(3)}Saved checkpoint /a.pt (epoch 1 @ 4 updates, score 1)\n")
    assert jobs.log_is_behind(job, folder) is None
    (folder / "train.log").unlink()
    assert "train.log" in jobs.log_is_behind(job, folder)


def test_a_checkpoint_without_a_history_is_not_after_the_log(finished):
    job, folder = finished
    save(folder / "checkpoint_last.pt")
    assert jobs.log_is_behind(job, folder) is None


def test_training_resumes_from_the_latest_checkpoint_that_can_be_read(tmp_path):
    assert not jobs.resumable(tmp_path)
    for name, update in (("checkpoint_1_10.pt", 10), ("checkpoint_1_20.pt", 20), ("checkpoint_last.pt", 30)):
        save(tmp_path / name, update)
    assert jobs.resumable(tmp_path)

    def last():
        return torch.load(tmp_path / "checkpoint_last.pt")["optimizer_history"][0]["num_updates"]

    assert last() == 30
    (tmp_path / "checkpoint_last.pt").write_bytes(b"PK")
    assert jobs.resumable(tmp_path) and last() == 20
    for path in tmp_path.iterdir():
        path.write_bytes(b"PK")
    assert not jobs.resumable(tmp_path)

"""Which checkpoint a folder or a training command means."""

import os

import toy

from plugins import checkpoints


def test_training_starts_from_the_run_to_resume_else_from_the_model_named(tmp_path):
    last, other, missing = tmp_path / "checkpoint_last.pt", tmp_path / "other.pt", tmp_path / "missing.pt"
    other.touch()
    start = checkpoints.starting_checkpoint
    default = "checkpoint_last.pt"
    assert start(str(tmp_path), default, None) is None
    assert start(str(tmp_path), default, str(other)) == str(other)
    assert start(str(tmp_path), str(other), None) == str(other)
    assert start(str(tmp_path), str(missing), None) is None
    last.touch()
    assert start(str(tmp_path), default, str(other)) == str(last)
    assert start(None, None, None) is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint_best.pt").touch()
    assert start(None, None, str(tmp_path / "run")) == str(tmp_path / "run" / "checkpoint_best.pt")
    assert start("${checkpoint.save_dir}", default, None) is None


def test_numbered_checkpoints_are_ordered_by_their_updates_and_not_by_the_times_of_their_files(tmp_path):
    for age, name in enumerate(("checkpoint_2_90.pt", "checkpoint_10_100.pt", "checkpoint_1_9.pt")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    for name in ("checkpoint_last.pt", "checkpoint_best.pt", "checkpoint_1_9.pt.part", "checkpoint_x_1.pt"):
        (tmp_path / name).touch()
    found = [path.name for path in checkpoints.by_update(tmp_path)]
    assert found == ["checkpoint_10_100.pt", "checkpoint_2_90.pt", "checkpoint_1_9.pt"]


def test_a_folder_means_its_best_checkpoint_else_its_last(tmp_path):
    with toy.refused(tmp_path, "checkpoint_best.pt", "checkpoint_last.pt"):
        checkpoints.find_checkpoint(tmp_path)
    with toy.refused(tmp_path / "none.pt"):
        checkpoints.find_checkpoint(tmp_path / "none.pt")
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        (tmp_path / name).touch()
        assert checkpoints.find_checkpoint(tmp_path) == str(tmp_path / name)
    assert checkpoints.find_checkpoint(tmp_path / "checkpoint_last.pt") == str(tmp_path / "checkpoint_last.pt")


def test_files_that_encode_texts_are_those_next_to_a_checkpoint(tmp_path):
    for name in ("model.pt", "dict.txt", "merges.txt", "tokenizer.json", "train.log", "config.json"):
        (tmp_path / name).touch()
    found = {path.name for path in checkpoints.tokenizer_files(tmp_path / "model.pt")}
    assert found == {"dict.txt", "merges.txt", "tokenizer.json"}


def test_equal_numbers_of_updates_are_ordered_by_epoch(tmp_path):
    for name in ("checkpoint_2_90.pt", "checkpoint_10_90.pt"):
        (tmp_path / name).touch()
    assert [path.name for path in checkpoints.by_update(tmp_path)] == ["checkpoint_10_90.pt", "checkpoint_2_90.pt"]

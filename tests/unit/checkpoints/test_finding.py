"""Which checkpoint a folder or a training command means."""

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
    assert start("${checkpoint.save_dir}", default, None) is None

"""How fairseq copies checkpoints."""

import errno
from pathlib import Path

import pytest
import torch
import toy
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from plugins.compat import checkpoint_files
from plugins.errors import was_interrupted


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path, monkeypatch):
    source, target = tmp_path / "new.pt", tmp_path / "checkpoint_last.pt"
    source.write_text("new")
    target.write_text("old")

    def killed(src_path, dst_path, overwrite=False):
        Path(dst_path).write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint_files.copy_atomically(killed)(source, target)
    assert target.read_text() == "old"
    assert PathManager.copy(str(source), str(target), overwrite=True)
    assert target.read_text() == "new"


def test_models_of_a_missing_file_are_refused_by_its_name(tmp_path):
    there, missing = tmp_path / "there.pt", tmp_path / "missing.pt"
    there.touch()
    given = []
    for options in ({}, {"state": None}, {"suffix": ""}):
        with toy.refused(missing):
            checkpoint_files.load_models(lambda *args, **kwargs: given.append(args), [there, missing], **options)
    assert not given
    for options in ({"state": {}}, {"suffix": "-shard0"}):  # the file is not read, or has a longer name
        assert checkpoint_files.load_models(lambda *args, **kwargs: (args, kwargs), [missing], 7, **options) == (
            ([missing], 7), options,
        )  # fmt: skip


def test_an_error_while_models_are_built_names_the_files(tmp_path):
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).touch()

    def fail(*args):
        raise KeyError("w")

    with toy.refused(tmp_path / "a.pt", tmp_path / "b.pt"):
        checkpoint_files.load_models(fail, [tmp_path / "a.pt", tmp_path / "b.pt"])


@pytest.mark.parametrize("form", ["args", "cfg"])
def test_options_of_a_checkpoint_are_seen_before_they_are_overridden(tmp_path, form):
    import argparse

    options, seen = {"arch": "roberta_base", "task": "masked_lm", "data": "old", "dropout": 0.1}, []
    state = {"args": argparse.Namespace(**options), "cfg": None, "model": {"w": torch.ones(2)}}
    if form == "cfg":
        state |= {"args": None, "cfg": {"model": {"_name": "roberta", "dropout": 0.1},
                                        "task": {"_name": "masked_lm", "data": "old"}}}  # fmt: skip
    torch.save(state, tmp_path / "x.pt")

    def adopt(state, overrides, path):
        cfg = state["cfg"]
        seen.append((cfg.task.data, cfg.model.dropout, overrides, path))

    loaded = checkpoint_files.load_checkpoint(adopt, str(tmp_path / "x.pt"), {"data": "new"})
    assert seen == [("old", 0.1, {"data": "new"}, str(tmp_path / "x.pt"))]
    assert (loaded["cfg"].task.data, loaded["cfg"].model.dropout) == ("new", 0.1)
    assert loaded["optimizer_history"][0]["num_updates"] == 0 and "train_iterator" in loaded["extra_state"]
    if form == "args":
        assert loaded["args"].data == "new"


def test_a_damaged_or_unbounded_file_is_refused_before_it_is_used(tmp_path):
    torch.save({"args": None, "cfg": None, "model": {"w": torch.tensor([float("nan")])}}, tmp_path / "x.pt")
    with toy.refused(tmp_path / "x.pt", "weight w"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "x.pt"))


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint_last.pt"
    checkpoint_utils.torch_persistent_save({"x": 1}, str(path))

    def fail(content, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with toy.refused(path):
        checkpoint_utils.torch_persistent_save({"x": 2}, str(path))
    assert list(tmp_path.iterdir()) == [path] and torch.load(path) == {"x": 1}


def test_equal_checkpoints_are_equal_files(tmp_path):
    for name in ("a.pt", "b.pt"):
        checkpoint_utils.torch_persistent_save({"x": torch.ones(3)}, str(tmp_path / name))
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize(("number", "attempts"), [(errno.EIO, 2), (errno.ENOSPC, 1)])
def test_an_error_that_may_pass_is_tried_once_more(tmp_path, monkeypatch, number, attempts):
    failed, path = [], tmp_path / "x.pt"

    def fail(content, file):
        failed.append(content)
        raise OSError(number, "it failed")

    monkeypatch.setattr(torch, "save", fail)
    monkeypatch.setattr(checkpoint_files, "PAUSE", 0)
    with toy.refused(path):
        checkpoint_utils.torch_persistent_save({}, str(path))
    assert len(failed) == attempts and not list(tmp_path.iterdir())


def test_a_checkpoint_is_written_after_an_error_that_passes(tmp_path, monkeypatch):
    path, save, errors = tmp_path / "x.pt", torch.save, [OSError(errno.ESTALE, "Stale file handle")]

    def fail_once(content, file):
        if errors:
            raise errors.pop()
        save(content, file)

    monkeypatch.setattr(torch, "save", fail_once)
    monkeypatch.setattr(checkpoint_files, "PAUSE", 0)
    checkpoint_utils.torch_persistent_save({"x": 1}, str(path))
    assert torch.load(path) == {"x": 1}


def test_ctrl_c_while_torch_writes_is_not_an_error_of_the_disk(tmp_path, monkeypatch):
    class Closing:
        """Fails when it is closed halfway, as torch's writer of archives does."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos")

    def interrupted(content, file):
        with Closing():
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(BaseException) as ended:  # noqa: B017, PT011 (its kind is free)
        checkpoint_utils.torch_persistent_save({}, str(tmp_path / "x.pt"))
    assert was_interrupted(ended.value) and not list(tmp_path.iterdir())

"""One lock per run."""

import errno
import multiprocessing
import os
import platform
import subprocess
import sys

import pytest

from plugins import locks
from plugins.errors import UserError

FORK = multiprocessing.get_context("fork")


def test_a_folder_without_a_lock_file_names_no_process(tmp_path):
    assert locks.holder(tmp_path) == locks.Holder(0, "", "")


def hold(folder, pipe):
    lock = locks.lock(folder)
    lock.name_holder(os.getpid(), "fairseq-train data --lr 1")
    pipe.send("locked")
    pipe.recv()
    os._exit(0)  # without releasing it


@pytest.fixture
def held(tmp_path):
    """A folder locked by another process, the process, and a function that ends it."""
    ours, theirs = FORK.Pipe()
    other = FORK.Process(target=hold, args=(tmp_path, theirs))
    other.start()
    assert ours.recv() == "locked"

    def end():
        ours.send("end")
        other.join()

    yield tmp_path, other, end
    other.kill()
    other.join()


def test_a_second_process_is_refused_and_the_first_is_named(held):
    folder, other, _ = held
    with pytest.raises(UserError) as error:
        locks.lock(folder)
    for part in (str(folder), f"process {other.pid}", "fairseq-train data --lr 1"):
        assert part in str(error.value)
    assert locks.try_lock(folder) is None


def test_a_folder_is_waited_for_and_its_holder_named(held, monkeypatch, capsys):
    folder, other, end = held
    monkeypatch.setattr(locks.time, "sleep", lambda _: end())
    with locks.wait(folder):
        assert locks.try_lock(folder) is None
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and str(folder) in line and f"process {other.pid}" in line


def test_waiting_ends(held, monkeypatch):
    folder, other, _ = held
    monkeypatch.setattr(locks, "PATIENCE", 0.01)
    with pytest.raises(UserError) as error:
        locks.wait(folder)
    assert str(folder) in str(error.value) and f"process {other.pid}" in str(error.value)


def test_the_lock_of_a_process_that_was_killed_is_free(held):
    folder, other, _ = held
    other.kill()
    other.join()
    assert (folder / locks.NAME).exists()
    with locks.lock(folder):
        pass


def test_a_released_lock_leaves_nothing_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        with locks.lock(tmp_path / "new"):
            assert (tmp_path / "new" / locks.NAME).exists()
            assert locks.try_lock(tmp_path / "new") is None
        assert not list((tmp_path / "new").iterdir())


def test_a_child_keeps_the_lock_that_it_inherits(tmp_path):
    lock = locks.lock(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=lock.descriptors,
    )  # fmt: skip
    del lock  # which closes its file, as when the parent is killed
    assert locks.try_lock(tmp_path) is None
    child.communicate(b"\n")
    with locks.lock(tmp_path):
        pass


def test_training_takes_the_lock_once_and_not_that_of_its_parent(tmp_path, monkeypatch):
    locks.lock_for_training(tmp_path / "own")
    locks.lock_for_training(tmp_path / "own")
    assert locks.try_lock(tmp_path / "own") is None
    locks.release_training()
    assert not (tmp_path / "own" / locks.NAME).exists()
    parents = locks.lock(tmp_path / "parents")
    monkeypatch.setenv(locks.VARIABLE, parents.environment[locks.VARIABLE])
    locks.lock_for_training(tmp_path / "parents")
    locks.release_training()
    assert (tmp_path / "parents" / locks.NAME).exists()
    parents.release()


def test_training_in_a_folder_in_use_is_refused(held):
    folder, other, _ = held
    with pytest.raises(UserError) as error:
        locks.lock_for_training(folder)
    assert f"process {other.pid}" in str(error.value) and "--save-dir" in str(error.value)


def test_a_link_in_the_place_of_the_lock_file_is_not_followed(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / locks.NAME).symlink_to(tmp_path / "target")
    with pytest.raises(UserError) as error:
        locks.lock(tmp_path / "run")
    assert str(tmp_path / "run") in str(error.value)
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize("text", ["", "x\ny\nz", "1\nhost\n\x1b[31mred", "9" * 50])
def test_any_content_of_a_lock_file_is_one_printable_line(tmp_path, text):
    (tmp_path / locks.NAME).write_text(text)
    assert str(locks.holder(tmp_path)).isprintable()


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error:
        locks.lock(tmp_path / "file")
    assert str(tmp_path / "file") in str(error.value)


def test_a_holder_on_another_machine_is_named_with_it():
    assert str(locks.Holder(0, "", "")) == "another process"
    assert str(locks.Holder(5, "elsewhere", "train --lr 1")) == "process 5 on elsewhere (train --lr 1)"
    assert str(locks.Holder(5, platform.node(), "train")) == "process 5 (train)"


def test_the_lock_file_names_the_holder_last_named_and_can_be_read_by_others(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/fairseq-train", "data"])
    before = os.umask(0o022)
    with locks.lock(tmp_path) as lock:
        os.umask(before)
        assert locks.holder(tmp_path) == locks.Holder(os.getpid(), platform.node(), "fairseq-train data")
        lock.name_holder(7, f"a\n {'b' * 300}")
        assert (tmp_path / locks.NAME).read_text() == f"7\n{platform.node()}\na {'b' * 198}\n"
        lock.name_holder(8, "c")
        assert (tmp_path / locks.NAME).read_text() == f"8\n{platform.node()}\nc\n"
        assert (tmp_path / locks.NAME).stat().st_mode & 0o777 == 0o644
    monkeypatch.setattr(sys, "argv", [""])
    with locks.lock(tmp_path):
        assert locks.holder(tmp_path).command == "python"


@pytest.mark.parametrize(
    ("text", "holder"),
    [
        ("12\nhost\na\x1bb\n", (12, "host", "a?b")),
        ("12", (12, "", "")),
        ("99999999999\nh", (99999999999, "h", "")),
        ("100000000000\nh", (0, "h", "")),
        (f"1\n{'h' * 101}\nc", (1, "h" * 100, "c")),
        (f"1\nh\n{'c' * 2000}", (1, "h", "c" * 996)),
    ],
)
def test_a_lock_file_is_read_within_bounds(tmp_path, text, holder):
    (tmp_path / locks.NAME).write_text(text)
    assert locks.holder(tmp_path) == locks.Holder(*holder)


def test_a_lock_succeeds_where_the_file_system_has_none(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    lock = locks.lock(tmp_path)
    lock.name_holder(1, "x")
    assert lock.descriptors == ()
    lock.release()
    lock.release()


def test_a_lock_file_deleted_before_it_was_locked_is_not_the_lock(tmp_path, monkeypatch):
    flock, path = locks.fcntl.flock, tmp_path / locks.NAME

    def late(file, kind):
        monkeypatch.setattr(locks.fcntl, "flock", flock)
        path.unlink()
        return flock(file, kind)

    monkeypatch.setattr(locks.fcntl, "flock", late)
    with locks.lock(tmp_path):
        assert path.exists() and locks.try_lock(tmp_path) is None


def test_a_folder_that_is_removed_before_its_file_is_opened_is_created_again(tmp_path):
    folder, calls = tmp_path / "new", []

    def open_file():
        calls.append(1)
        if len(calls) < 3:
            folder.rmdir()
        return os.open(folder / "file", os.O_CREAT | os.O_WRONLY)

    os.close(locks.in_folder(folder, open_file))
    assert (folder / "file").exists() and len(calls) == 3


def test_a_forked_child_neither_releases_nor_shares_its_parents_lock(tmp_path):
    locks.lock_for_training(tmp_path)
    other = FORK.Process(target=locks.release_training)
    other.start()
    other.join()
    assert (tmp_path / locks.NAME).exists()
    other = FORK.Process(target=locks.lock_for_training, args=(tmp_path,))
    other.start()
    other.join()
    assert other.exitcode == 1
    locks.release_training()
    locks.lock_for_training(tmp_path)
    assert locks.try_lock(tmp_path) is None, "locked again, not believed to be held"
    locks.release_training()

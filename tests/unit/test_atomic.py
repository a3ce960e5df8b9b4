"""Files and folders appear whole or not at all; files left by killed processes are removed."""

import errno
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import toy

from plugins import atomic, files, locks

ENDS = {"KeyError": KeyError, "KeyboardInterrupt": KeyboardInterrupt}


@pytest.mark.parametrize("kind", ENDS)
def test_a_failed_write_leaves_only_the_old_file(tmp_path, kind):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ENDS[kind]), atomic.replacing(path) as part:
        part.write_text("ne")
        raise ENDS[kind]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


FULL = {
    "of Python": OSError(errno.ENOSPC, "No space left on device"),
    "of torch": RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file"),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
@pytest.mark.parametrize("writer", [atomic.replacing, atomic.temporary_folder])
def test_a_full_disk_is_one_line_that_names_the_target_and_leaves_nothing(tmp_path, writer, error):
    (tmp_path / "a").write_text("old")
    with toy.refused(tmp_path / "a"), writer(tmp_path / "a") as part:
        if writer is atomic.replacing:
            part.write_text("ne")
        raise error
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_other_runtime_errors_are_not_changed(tmp_path):
    with pytest.raises(RuntimeError), atomic.replacing(tmp_path / "a"):
        raise RuntimeError("a defect")


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "precious"
    assert (tmp_path / "link").read_text() == "new" and not (tmp_path / "link").is_symlink()


def test_temporary_names_cannot_be_predicted_and_links_in_their_place_are_not_followed(tmp_path, monkeypatch):
    names = {atomic.temporary(tmp_path / "a").name for _ in range(10)}
    assert len(names) == 10
    monkeypatch.setattr(atomic, "temporary", lambda path: tmp_path / "known.part")
    (tmp_path / "target").write_text("precious")
    (tmp_path / "known.part").symlink_to(tmp_path / "target")
    with toy.refused(tmp_path / "a"):
        files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "target").read_text() == "precious"


KILLED = """
import os, signal, sys, types
package = sys.modules["plugins"] = types.ModuleType("plugins")  # without importing fairseq
package.__path__ = [{package!r}]
from plugins import atomic
with atomic.{writer}({path!r}) as part:
    (part / "inner" if part.is_dir() else part).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_killed(writer, path):
    code = KILLED.format(package=str(toy.ROOT / "plugins"), writer=writer, path=str(path))
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -9


@pytest.mark.parametrize("writer", ["replacing", "temporary_folder"])
def test_files_of_a_killed_process_are_removed_at_the_next_write(tmp_path, writer):
    run_killed(writer, tmp_path / "a.txt")
    (remains,) = tmp_path.iterdir()
    files.write_text(tmp_path / "a.txt", "new")
    assert remains.exists(), "fresh: its process may be on another machine"
    os.utime(remains, (time.time() - 120,) * 2)
    files.write_text(tmp_path / "other.txt", "new")
    assert remains.exists(), "another path's"
    files.write_text(tmp_path / "a.txt", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "other.txt"]


@pytest.mark.parametrize("writer", [atomic.replacing, atomic.temporary_folder])
def test_partial_files_of_running_processes_are_kept(tmp_path, writer):
    with writer(tmp_path / "a") as part:
        os.utime(part, (1, 1))
        files.write_text(tmp_path / "a", "second")
        assert part.exists()


def test_links_that_look_like_temporary_files_are_kept(tmp_path):
    (tmp_path / "target").write_text("precious")
    link = tmp_path / f".a.{'0' * 16}.part"
    link.symlink_to(tmp_path / "target")
    os.utime(tmp_path / "target", (1, 1))
    files.write_text(tmp_path / "a", "new")
    assert link.is_symlink() and (tmp_path / "target").read_text() == "precious"


def test_a_temporary_folder_is_renamed_or_deleted(tmp_path):
    with atomic.temporary_folder(tmp_path / "new" / "a") as part:
        (part / "file").write_text("x")
        os.rename(part, tmp_path / "new" / "a")
    assert (tmp_path / "new" / "a" / "file").read_text() == "x"
    with atomic.temporary_folder(tmp_path / "new" / "b") as part:
        (part / "file").write_text("x")
    assert os.listdir(tmp_path / "new") == ["a"]


def test_long_names_can_be_written(tmp_path):
    path = Path(tmp_path, "é" * 120)
    files.write_text(path, "x")
    assert path.read_text() == "x"


def test_only_what_has_not_changed_for_more_than_a_minute_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.time, "time", lambda: 1000.0)
    for number, changed in enumerate((940.0, 939.5)):
        path = tmp_path / f".{'a' * 50}.{number:016x}.part"
        path.touch()
        os.utime(path, (changed, changed))
    (tmp_path / f".{'a' * 50}.{'0' * 15}.part").touch()  # of another program
    os.utime(tmp_path / f".{'a' * 50}.{'0' * 15}.part", (1, 1))
    atomic.remove_abandoned(tmp_path / ("a" * 60))
    assert sorted(path.name[52:] for path in tmp_path.iterdir()) == [f"{'0' * 15}.part", f"{'0' * 16}.part"]


@pytest.mark.parametrize("writer", [atomic.replacing, atomic.temporary_folder])
def test_no_file_stays_open(tmp_path, writer):
    def write():
        with writer(tmp_path / "a") as part:
            if not part.is_dir():
                part.write_text("x")
        return len(os.listdir("/proc/self/fd"))

    assert write() == write()


def test_a_written_file_has_the_permissions_of_a_new_one(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_the_cause_of_a_failed_write_is_found_in_the_chain_and_survives_a_pickle():
    full = OSError(errno.ENOSPC, "No space left on device")
    outer = RuntimeError("saving failed")
    outer.__cause__ = full
    assert atomic.write_failure(outer) == "No space left on device"
    short = OSError("1000 requested and 24 written")
    assert "1000 requested" in atomic.write_failure(short), "numpy's, which has no errno"
    assert atomic.write_failure(OSError("cannot identify image file")) is None
    assert atomic.write_failure(KeyError("x")) is None
    error = atomic.NotWritten("a.txt", "full")
    assert error.reason == "full" and str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_new_folder_is_not_put_over_one_that_another_process_has_written(tmp_path):
    for name in ("part", "full", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "theirs").touch()
    (tmp_path / "file").touch()
    assert not atomic.rename_new(tmp_path / "part", tmp_path / "full")
    assert not atomic.rename_new(tmp_path / "part", tmp_path / "file")
    assert atomic.rename_new(tmp_path / "part", tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        atomic.rename_new(tmp_path / "part", tmp_path / "new")


def write_two(folder, content):
    files.write_text(folder / "a", content)
    files.write_text(folder / "figures" / "b", content)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_files_of_a_folder_are_written_together_and_others_are_kept(tmp_path):
    (tmp_path / "kept").write_text("kept")
    for content in ("old", "new"):
        with atomic.staging(tmp_path) as part:
            write_two(part, content)
    assert contents(tmp_path) == {"kept": "kept", "a": "new", "figures/b": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "figures", "kept"]


@pytest.mark.parametrize("error", [*FULL.values(), KeyboardInterrupt()], ids=[*FULL, "Ctrl-C"])
def test_a_folder_whose_second_file_fails_is_unchanged(tmp_path, error):
    old, new = tmp_path / "old", tmp_path / "new"
    with atomic.staging(old) as part:
        write_two(part, "old")
    for folder in (old, new):
        with pytest.raises(BaseException) as found, atomic.staging(folder) as part:  # noqa: B017, PT011
            files.write_text(part / "a", "new")
            with atomic.replacing(part / "figures" / "b"):
                raise error
        if not isinstance(error, KeyboardInterrupt):
            toy.names(found.value, folder)
    assert contents(tmp_path) == {"old/a": "old", "old/figures/b": "old"} and not new.exists()


def test_a_failed_write_removes_the_parents_that_it_created(tmp_path):
    for writer in (atomic.replacing, atomic.temporary_folder, atomic.staging):
        with pytest.raises(KeyError), writer(tmp_path / "new" / "deep" / "a"):
            raise KeyError
        assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_file_is_named_before_any_file_is_moved(tmp_path):
    for bad in ("figures/b", "figures"):
        folder = tmp_path / bad.replace("/", "_")
        folder.mkdir()
        (folder / "a").write_text("old")
        (folder / "figures").mkdir() if bad != "figures" else (folder / "figures").touch()
        if bad != "figures":
            (folder / "figures" / "b").mkdir()
        with toy.refused(folder / bad), atomic.staging(folder) as part:
            write_two(part, "new")
        assert (folder / "a").read_text() == "old"
        assert sorted(path.name for path in folder.iterdir()) == ["a", "figures"]


def test_a_folder_inside_that_is_not_writable_is_named_before_any_file_is_moved(tmp_path, monkeypatch):
    (tmp_path / "figures").mkdir()
    access = os.access
    monkeypatch.setattr(atomic.os, "access", lambda path, mode: path != tmp_path / "figures" and access(path, mode))
    with toy.refused(tmp_path / "figures" / "b"), atomic.staging(tmp_path) as part:
        write_two(part, "new")
    assert contents(tmp_path) == {}


def test_a_full_disk_names_the_folder_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with toy.refused(), atomic.staging("out"):
        raise FULL["of Python"]
    with pytest.raises(atomic.NotWritten) as error, atomic.staging("out"):
        raise FULL["of Python"]
    assert str(error.value).startswith("out: ") and not list(tmp_path.iterdir())


def test_a_folder_on_another_file_system_is_named_before_any_file_is_moved(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("/dev/shm is on the file system of the temporary folder")
        (tmp_path / "figures").symlink_to(other)
        with toy.refused(tmp_path / "figures" / "b", "file system"), atomic.staging(tmp_path) as part:
            write_two(part, "new")
        assert not os.listdir(other) and os.listdir(tmp_path) == ["figures"]


def test_a_folder_that_another_process_keeps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0)
    with locks.lock(tmp_path), toy.refused(tmp_path), atomic.staging(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_standard_output_is_written_to_and_not_replaced_where_it_is_a_file(tmp_path):
    with open(tmp_path / "redirected", "w") as file:
        (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{file.fileno()}")
        for path in (tmp_path / "stdout", Path(f"/proc/self/fd/{file.fileno()}"), Path(f"/dev/fd/{file.fileno()}")):
            with atomic.replacing(path) as part:
                part.write_text(path.name)
            assert (tmp_path / "redirected").read_text() == path.name
    assert (tmp_path / "stdout").is_symlink() and len(list(tmp_path.iterdir())) == 2


def test_a_parent_that_is_not_writable_is_named(tmp_path, monkeypatch):
    """A folder that can be written itself is still replaced by a rename in its parent."""
    access, mkdir = os.access, Path.mkdir

    def denied(path, *more, **options):
        if path.parent == tmp_path / "above":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        mkdir(path, *more, **options)

    (tmp_path / "above" / "out").mkdir(parents=True)
    monkeypatch.setattr(atomic.os, "access", lambda path, mode: path != tmp_path / "above" and access(path, mode))
    monkeypatch.setattr(Path, "mkdir", denied)
    with toy.refused(tmp_path / "above" / "out", f"in {tmp_path / 'above'}"):
        with atomic.temporary_folder(tmp_path / "above" / "out"):
            pass

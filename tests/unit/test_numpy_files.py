import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from plugins import numpy_files
from plugins.errors import UserError


def header(shape: tuple, descr: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_numpy_reads_them(tmp_path, save):
    save(tmp_path / "a.npz", x=np.arange(6.0).reshape(2, 3), names=np.array(["é", "b"]), none=np.zeros((0, 3)))
    found = numpy_files.read_npz(tmp_path / "a.npz")
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["names"].tolist() == ["é", "b"]
    assert found["none"].shape == (0, 3)
    assert list(numpy_files.read_npz(tmp_path / "a.npz", ("x", "missing"))) == ["x"]


@pytest.mark.parametrize("mapped", [False, True])
def test_an_array_is_read_as_numpy_reads_it(tmp_path, mapped):
    np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6).reshape(2, 3)))
    assert numpy_files.read_npy(tmp_path / "a.npy", mapped).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_small_archive_of_a_large_array_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("logits.npy", "w") as file:
        file.write(header((300 << 20,), "|i1"))
        for _ in range(300):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(UserError, match="bomb.npz"):
        numpy_files.read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 62, 8), (3,), (-1,), (0, 1 << 70)])
def test_a_header_that_claims_another_size_is_refused(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header(shape) + bytes(16))
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(16))
    for read, name in ((numpy_files.read_npz, "a.npz"), (numpy_files.read_npy, "a.npy")):
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    for read, name in ((numpy_files.read_npz, "a.npz"), (numpy_files.read_npy, "a.npy")):
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{'descr'"])
def test_damaged_files_are_named(tmp_path, content):
    for read, name in ((numpy_files.read_npz, "a.npz"), (numpy_files.read_npy, "a.npy")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)
        with pytest.raises(UserError, match="missing"):
            read(tmp_path / "missing")


def archive_of(path, unpacked, packed):
    """An archive whose array has so many bytes, padded by its comment to so many bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        head = header((unpacked - len(header((1,), "|i1")),), "|i1")
        archive.writestr("x.npy", head + bytes(unpacked - len(head)))
        archive.writestr("small.npy", header((2,), "|i1") + bytes(2))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = bytes(packed - path.stat().st_size)
    assert path.stat().st_size == packed


@pytest.mark.parametrize(("unpacked", "refused"), [(20_000, False), (20_001, True)])
def test_a_large_archive_unpacks_to_at_most_twenty_times_its_size(tmp_path, monkeypatch, unpacked, refused):
    monkeypatch.setattr(numpy_files, "SMALL", 1)
    archive_of(tmp_path / "a.npz", unpacked, 1000)
    assert list(numpy_files.read_npz(tmp_path / "a.npz", ["small"])) == ["small"], "only what is read counts"
    if refused:
        with pytest.raises(UserError, match="a.npz"):
            numpy_files.read_npz(tmp_path / "a.npz", ["x"])
    else:
        assert not numpy_files.read_npz(tmp_path / "a.npz", ["x"])["x"].any()


def test_an_array_is_mapped_read_only_where_requested(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    mapped, read = numpy_files.read_npy(tmp_path / "a.npy", True), numpy_files.read_npy(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    assert not isinstance(read, np.memmap) and read.flags.writeable


def test_headers_of_the_second_version_are_read(tmp_path):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, np.arange(3), version=(2, 0))
    assert numpy_files.read_npy(tmp_path / "a.npy").tolist() == [0, 1, 2]


CAUSES = [(EOFError(), "EOFError"), (ValueError("a\n b" + "c" * 200), "a b" + "c" * 96 + "\u2026")]


@pytest.mark.parametrize(("error", "line"), CAUSES)
def test_the_cause_of_damage_is_one_short_line(tmp_path, monkeypatch, error, line):
    def read(*_):
        raise error

    monkeypatch.setattr(numpy_files, "check_header", read)
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(UserError) as raised:
        numpy_files.read_npy(tmp_path / "a.npy")
    assert f"({line})" in str(raised.value)

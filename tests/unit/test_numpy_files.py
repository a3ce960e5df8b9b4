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

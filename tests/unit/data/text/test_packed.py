"""Compressed files."""

import gzip
import hashlib
import os

import pytest
import toy

from plugins.data.text import packed
from plugins.data.text.packed import PackedFile, packing, without_suffix

TEXT = "".join(f"line {n} of a text\n" for n in range(20_000)).encode()


def content(path, **options):
    with PackedFile(path, **options) as file:
        parts = []
        while part := file.read(1000):
            parts.append(part)
        return b"".join(parts), file.position, file.sha256()


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("data", [TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])],
                         ids=["plain", "packed", "two members"])  # fmt: skip
def test_plain_and_gzip_files_are_read_and_digested_as_stored(tmp_path, data):
    path = write(tmp_path / "a", data)
    assert content(path) == (TEXT, len(data), hashlib.sha256(data).hexdigest())


def test_zstd_files_are_read_frame_by_frame(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    data = zstandard.compress(TEXT[:100]) + zstandard.compress(TEXT[100:])
    assert content(write(tmp_path / "a.zst", data)) == (TEXT, len(data), hashlib.sha256(data).hexdigest())
    with toy.refused(tmp_path / "b.zst"):
        content(write(tmp_path / "b.zst", data[:-10]))


def test_zstd_without_a_package_names_one(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(packed.importlib, "import_module", missing)
    with toy.refused(tmp_path / "a.zst", "zstandard", "unzstd"):
        PackedFile(write(tmp_path / "a.zst", b"\x28\xb5\x2f\xfd0"))


def test_reading_begins_at_any_byte_of_a_plain_file(tmp_path):
    assert content(write(tmp_path / "a", TEXT), start=19)[0] == TEXT[19:]


def test_a_truncated_or_damaged_archive_is_named(tmp_path):
    data = gzip.compress(TEXT)
    for name, damaged in (("a.gz", data[:-20]), ("b.gz", data[:100] + bytes(100) + data[200:]), ("c.gz", data[:20])):
        with toy.refused(tmp_path / name, "gunzip"):
            content(write(tmp_path / name, damaged))


def test_other_formats_are_refused_unless_bytes_are_wanted(tmp_path):
    path = write(tmp_path / "a.bz2", b"BZh9abc")
    with toy.refused(path, "bunzip2"):
        content(path)
    assert content(path, binary=True)[0] == b"BZh9abc"


def test_little_of_a_large_archive_is_unpacked_at_once(tmp_path):
    path = write(tmp_path / "bomb.gz", gzip.compress(bytes(200_000_000)))
    with PackedFile(path) as file:
        assert file.read(1000) == bytes(1000)
        assert file.position <= 1 << 20 and os.path.getsize(path) < 1 << 20


def test_the_format_is_that_of_the_first_bytes(tmp_path):
    assert packing(write(tmp_path / "a.gz", b"text")) is None
    assert packing(write(tmp_path / "b.txt", b"\x1f\x8babc")) == "gzip"
    assert packing(write(tmp_path / "c.txt", b"\x28\xb5\x2f\xfdabc")) == "zstd"
    assert packing(tmp_path / "missing") is None
    assert [without_suffix(name) for name in ("a.jsonl.gz", "a.txt.ZST", "b.txt")] == ["a.jsonl", "a.txt", "b.txt"]


def test_files_are_closed_and_named_as_wanted(tmp_path):
    with PackedFile(write(tmp_path / "a", TEXT), name="b") as file:
        assert (file.name, file.read(0), file.position) == ("b", b"", 0)
        assert file.read(5) == TEXT[:5]
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
    with toy.refused("b.gz"):
        content(write(tmp_path / "a.gz", gzip.compress(TEXT)[:-20]), name="b.gz")


def test_an_error_of_the_disk_is_named(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(5, "Input/output error")

    with PackedFile(write(tmp_path / "a", TEXT)) as file:
        monkeypatch.setattr(file, "_file", type("Broken", (), {"read": fail, "close": lambda self: None})())
        with toy.refused(tmp_path / "a", "Input/output error"):
            file.read(1)
    monkeypatch.setattr(packed, "_Hashed", fail)
    with toy.refused(tmp_path / "a", "Input/output error"):
        PackedFile(tmp_path / "a")


class Frame:
    """A frame of zstd as the package zstandard gives it: here a length in a byte, then the text in upper case."""

    def __init__(self):
        self.left, self.eof, self.unused_data = None, False, b""

    def decompress(self, data):
        if self.left is None:
            self.left, data = data[0], data[1:]
        part, self.unused_data = data[: self.left], data[self.left :]
        self.left -= len(part)
        self.eof = not self.left
        return part.upper()


@pytest.fixture
def zstandard(monkeypatch):
    """The package zstandard alone, with :class:`Frame`."""

    class Decompressor:
        def __init__(self, max_window_size):
            assert max_window_size == 2**27

        def decompressobj(self):
            return Frame()

    class Package:
        ZstdDecompressor = Decompressor

    def found(name):
        if name != "zstandard":
            raise ModuleNotFoundError(name)
        return Package

    monkeypatch.setattr(packed.importlib, "import_module", found)
    monkeypatch.setattr(packed, "packing", lambda path: "zstd")
    monkeypatch.setattr(packed._ZstandardReader, "_SLICE", 3)


def test_frames_are_decompressed_slice_by_slice(tmp_path, zstandard):
    assert content(write(tmp_path / "a", b"\x07abcdefg\x02hi"))[0] == b"ABCDEFGHI"
    with PackedFile(tmp_path / "a") as file:
        assert [file.read(4), file.read(4), file.read(4), file.read(4)] == [b"ABCD", b"EFGH", b"I", b""]
    with toy.refused(tmp_path / "a", "unzstd"):
        content(write(tmp_path / "a", b"\x07abcdefg\x03hi"))


def test_a_module_of_python_is_preferred(monkeypatch):
    asked = []

    def found(name):
        asked.append(name)
        if name == "compression.zstd":
            raise ModuleNotFoundError(name)
        return type("Module", (), {"ZstdFile": "reader"})

    monkeypatch.setattr(packed.importlib, "import_module", found)
    assert packed._zstd_reader("a") == "reader" and asked == ["compression.zstd", "backports.zstd"]


@pytest.mark.parametrize("content, binary, times", [
    ("ab\n".encode("utf-16le"), False, 1), (b"ab\0\n", True, 0), (b"ab\n", False, 0),
])  # fmt: skip
def test_null_characters_are_warned_of_once_unless_the_file_is_binary(tmp_path, caplog, content, binary, times):
    for _ in range(2):
        (tmp_path / "a.txt").write_bytes(content)
        with PackedFile(tmp_path / "a.txt", binary=binary) as file:
            while file.read(2):
                pass
    assert caplog.text.count(f"{tmp_path / 'a.txt'}: null") == times

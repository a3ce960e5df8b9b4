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


@pytest.mark.parametrize("data", [TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])])
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

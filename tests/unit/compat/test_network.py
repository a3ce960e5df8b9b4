"""Nothing is fetched."""

import socket

import pytest
import toy
from fairseq import file_utils

from plugins.compat.network import is_address


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("address", ["https://x.org/a", "http://x.org/a", "s3://bucket/a", "ftp://x.org/a"])
@pytest.mark.parametrize("function", ["cached_path", "get_from_cache", "load_archive_file"])
def test_an_address_is_refused(function, address, no_sockets):
    with toy.refused(address):
        getattr(file_utils, function)(address)


def test_a_local_file_is_used(tmp_path):
    (tmp_path / "a").touch()
    assert file_utils.cached_path(str(tmp_path / "a")) == str(tmp_path / "a")
    assert file_utils.load_archive_file(str(tmp_path)) == str(tmp_path)


def test_an_archive_is_not_unpacked(tmp_path):
    (tmp_path / "a.tar.gz").touch()
    with toy.refused("a.tar.gz"):
        file_utils.load_archive_file(str(tmp_path / "a.tar.gz"))
    assert (tmp_path / "a.tar.gz").exists()


@pytest.mark.parametrize("path, expected", [
    ("s3://bucket/a", True), ("file:///a", True), ("a/b.pt", False), ("C://a.pt", False), ("name:2/a.pt", False),
    ("a://", False), ("/a://b", False),
])  # fmt: skip
def test_an_address_has_a_scheme_of_several_letters(path, expected):
    assert is_address(path) is expected


@pytest.mark.parametrize("function", ["http_get", "s3_get", "s3_etag"])
def test_functions_that_only_download_are_refused_too(function, no_sockets):
    with toy.refused("https://x.org/a"):
        getattr(file_utils, function)("https://x.org/a")

"""Downloads, from a server on this machine in place of the network."""

import contextlib
import errno
import hashlib
import io
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import toy

from plugins.data.downloads import datasets, fetch

ROOT = Path(__file__).parents[4]
TEXT = b"To be, or not to be" * 1000


class Handler(BaseHTTPRequestHandler):
    """Serve ``server.files`` with byte ranges; ``server.ranges`` records the requested ones."""

    def do_GET(self):
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        status = 200 if not asked else 206 if start < len(content) else 416
        self.send_response(status)
        self.send_header("Content-Length", str(len(content[start:])))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.ranges = {"/text": TEXT}, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(server):
    return datasets.RemoteFile(f"{server.url}/text", hashlib.sha256(TEXT).hexdigest())


def test_a_download_writes_one_complete_file(remote, tmp_path):
    assert fetch.download(remote, tmp_path).read_bytes() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_file_that_is_there_is_not_fetched_again(remote, server, tmp_path):
    fetch.download(remote, tmp_path)
    fetch.download(remote, tmp_path)
    assert server.ranges == [None]


def test_an_interrupted_download_resumes(remote, server, tmp_path):
    (tmp_path / "text.part").write_bytes(TEXT[:7000])
    assert fetch.download(remote, tmp_path).read_bytes() == TEXT
    assert server.ranges == ["bytes=7000-"]


def test_a_partial_file_longer_than_the_source_is_discarded(remote, server, tmp_path):
    (tmp_path / "text.part").write_bytes(TEXT + b"more")
    assert fetch.download(remote, tmp_path).read_bytes() == TEXT
    assert server.ranges == ["bytes=19004-", None]


def test_without_a_hash_nothing_is_resumed(server, tmp_path):
    (tmp_path / "text.part").write_bytes(b"of another version")
    path = fetch.download(datasets.RemoteFile(f"{server.url}/text", None), tmp_path)
    assert path.read_bytes() == TEXT
    assert server.ranges == [None]


def test_a_file_with_a_wrong_hash_is_refused_and_deleted(server, tmp_path):
    with toy.refused("0" * 64):
        fetch.download(datasets.RemoteFile(f"{server.url}/text", "0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_refused_request_reports_its_status(server, tmp_path):
    with toy.refused(f"{server.url}/nothing", 404):
        fetch.download(datasets.RemoteFile(f"{server.url}/nothing", None), tmp_path)


def test_an_unreachable_address_is_a_named_error(tmp_path):
    with toy.refused("127.0.0.1"):
        fetch.download(datasets.RemoteFile("http://127.0.0.1:9/text", None), tmp_path)


def test_archives_are_unpacked(server, tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner/a.txt", "one")
    server.files["/a.zip"] = archive.getvalue()
    dataset = datasets.Dataset("", (datasets.RemoteFile(f"{server.url}/a.zip", None),))
    fetch.fetch(dataset, tmp_path)
    assert (tmp_path / "inner" / "a.txt").read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "inner"]


def test_the_hash_of_an_unverified_file_is_printed(server, tmp_path, capsys):
    fetch.fetch(datasets.Dataset("", (datasets.RemoteFile(f"{server.url}/text", None),)), tmp_path)
    assert hashlib.sha256(TEXT).hexdigest() in capsys.readouterr().out


def test_the_command_names_what_cannot_be_reached(monkeypatch, tmp_path):
    unreachable = datasets.Dataset("", (datasets.RemoteFile("http://127.0.0.1:9/text", None),))
    monkeypatch.setitem(datasets.DATASETS, "text8", unreachable)
    with toy.refused("127.0.0.1"):
        fetch.get("text8", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["text8"], "no lock stays"


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "data").touch()
    with toy.refused(tmp_path / "data"):
        fetch.get("text8", tmp_path / "data")


def test_an_unknown_name_is_an_error_that_lists_the_names(tmp_path):
    with toy.refused("'text9'", "text8", "enwik8"):
        fetch.get("text9", tmp_path)


def test_the_list_names_every_address():
    assert all(file.url in datasets.listing() for dataset in datasets.DATASETS.values() for file in dataset.files)


# Hostile and unlucky circumstances


def test_two_downloads_of_one_dataset_are_refused(server, monkeypatch, tmp_path):
    remote = datasets.RemoteFile(f"{server.url}/text", hashlib.sha256(TEXT).hexdigest())
    monkeypatch.setitem(datasets.DATASETS, "text8", datasets.Dataset("", (remote,)))
    original = fetch.download

    def second_meanwhile(*arguments):
        with toy.refused(tmp_path, os.getpid()):
            fetch.get("text8", tmp_path)
        return original(*arguments)

    monkeypatch.setattr(fetch, "download", second_meanwhile)
    assert (fetch.get("text8", tmp_path) / "text").read_bytes() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["text8"]


@pytest.mark.parametrize("hash_known", [True, False])
@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_link_in_the_place_of_the_part_is_not_written_through(server, tmp_path, make, hash_known):
    (tmp_path / "precious").write_bytes(b"To be")
    (tmp_path / "out").mkdir()
    make(tmp_path / "precious", tmp_path / "out" / "text.part")
    sha256 = hashlib.sha256(TEXT).hexdigest() if hash_known else None
    fetch.download(datasets.RemoteFile(f"{server.url}/text", sha256), tmp_path / "out")
    assert (tmp_path / "precious").read_bytes() == b"To be"
    assert (tmp_path / "out" / "text").read_bytes() == TEXT and not (tmp_path / "out" / "text").is_symlink()


def test_links_in_the_place_of_the_results_are_replaced(letters, tmp_path):
    (tmp_path / "precious").write_text("x")
    (tmp_path / "out").mkdir()
    for name in ("train.txt", "valid.txt.part", "letters"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as file:
        file.writestr("letters", "abcdefghij")
    fetch.take(letters, tmp_path / "mine.zip", tmp_path / "out")
    assert (tmp_path / "precious").read_text() == "x"
    assert (tmp_path / "out" / "train.txt").read_text() == "abcdef"


def test_a_full_disk_is_a_one_line_error_and_leaves_no_partial_file(server, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    original = fetch.ResumingDownloader._open

    def full(self, append):
        original(self, append).close()
        return Full()

    monkeypatch.setattr(fetch.ResumingDownloader, "_open", full)
    with toy.refused("text.part"):
        fetch.download(datasets.RemoteFile(f"{server.url}/text", None), tmp_path)
    assert not list(tmp_path.iterdir())


def test_endless_redirects_are_named_for_what_they_are(server, tmp_path):
    with toy.refused(f"{server.url}/loop") as error:
        fetch.download(datasets.RemoteFile(f"{server.url}/loop", None), tmp_path)
    assert "offline" not in str(error.value)


def test_recorded_hashes_are_hashes():
    hashes = [file.sha256 for dataset in datasets.DATASETS.values() for file in dataset.files if file.sha256]
    assert len(set(hashes)) == len(hashes) == 7
    assert all(len(value) == 64 and int(value, 16) for value in hashes)


# Standard splits


@pytest.fixture
def letters():
    sizes = (("train.txt", 6), ("valid.txt", 3), ("test.txt", 1))
    return datasets.Dataset("", (), datasets.Split("letters", sizes))


def parts(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


CUT = {"train.txt": "abcdef", "valid.txt": "ghi", "test.txt": "j"}


def test_a_local_file_is_cut_into_consecutive_parts(letters, tmp_path):
    (tmp_path / "mine").write_text("abcdefghij")
    fetch.take(letters, tmp_path / "mine", tmp_path / "out")
    assert parts(tmp_path / "out") == CUT


def test_a_local_archive_is_unpacked_and_cut(letters, tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as file:
        file.writestr("letters", "abcdefghij")
    fetch.take(letters, tmp_path / "mine.zip", tmp_path / "out")
    assert parts(tmp_path / "out") == CUT | {"letters": "abcdefghij"}


def test_a_downloaded_file_is_cut(server, tmp_path):
    split = datasets.Split("text", (("train.txt", 18_000), ("valid.txt", 1_000)))
    fetch.fetch(datasets.Dataset("", (datasets.RemoteFile(f"{server.url}/text", None),), split), tmp_path)
    assert (tmp_path / "train.txt").read_bytes() + (tmp_path / "valid.txt").read_bytes() == TEXT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text", "train.txt", "valid.txt"]


def test_a_file_of_another_size_is_not_cut(letters, tmp_path):
    (tmp_path / "mine").write_text("abcdefghi")
    with toy.refused(tmp_path / "mine", 9, 10):
        fetch.take(letters, tmp_path / "mine", tmp_path / "data" / "out")
    assert not (tmp_path / "data").exists()


def zipped(name, text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"x",
        zipped("other", "abcdefghij"),
        zipped("letters", "abc"),
        zipped("letters", "abcdefghij").replace(b"j", b"x"),
    ],
    ids=["no archive", "another archive", "another size", "damaged"],
)
def test_a_local_archive_that_is_another_one_is_not_unpacked(letters, tmp_path, content):
    (tmp_path / "mine.zip").write_bytes(content)
    with toy.refused("mine.zip") as error:
        fetch.take(letters, tmp_path / "mine.zip", tmp_path / "data" / "out")
    assert "delete" not in str(error.value) and not (tmp_path / "data").exists()


def test_the_splits_are_the_standard_ones():
    sizes = {name: [size for _, size in set_.split.sizes] for name, set_ in datasets.DATASETS.items() if set_.split}
    hundred_million = [90_000_000, 5_000_000, 5_000_000]
    shakespeare = [1_003_854, 111_540]
    assert sizes == {"enwik8": hundred_million, "text8": hundred_million, "shakespeare_char": shakespeare}


def test_the_shakespeare_of_the_tests_splits_like_nano_gpt(tmp_path):
    text = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"
    if not text.exists():
        pytest.skip("needs ../shared/data, which is not in the repository")
    fetch.get("shakespeare_char", tmp_path, text)
    folder = tmp_path / "shakespeare_char"
    assert (folder / "train.txt").read_bytes() + (folder / "valid.txt").read_bytes() == text.read_bytes()
    assert len(set((folder / "train.txt").read_text())) == 65


@pytest.mark.parametrize(("name", "source"), [("text8", "nowhere"), ("glue", "x")])
def test_from_needs_a_file_and_a_split(tmp_path, name, source):
    with toy.refused("--from"):
        fetch.get(name, tmp_path / "out", source)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named_with_its_flag(tmp_path, monkeypatch):
    (tmp_path / "out").write_text("a file")
    with toy.refused(tmp_path / "out"):
        fetch.get("text8", tmp_path / "out")

    def fails(*arguments):
        raise OSError("the reason")

    monkeypatch.setattr(fetch, "fetch", fails)
    with toy.refused(tmp_path / "new" / "text8", "the reason", "-o"):
        fetch.get("text8", tmp_path / "new")


@pytest.mark.parametrize(
    ("kept", "announced", "sent", "broken"),
    [
        (b"", "10", b"abcd", True), (b"abc", "7", b"defghij", False), (b"abc", "7", b"defghi", True),
        (b"", None, b"ab", False), (b"", "4", b"abcd", False),
    ],
)  # fmt: skip
def test_a_download_that_ends_early_is_an_error_and_its_part_is_kept(tmp_path, kept, announced, sent, broken):
    part = tmp_path / "text.part"
    part.write_bytes(kept)

    class Response:
        headers = {} if announced is None else {"Content-Length": announced}

        def iter_content(self, size):
            yield from (sent[:2], sent[2:])

    loader = fetch.ResumingDownloader(part, resume=True)
    with pytest.raises(requests.ConnectionError) if broken else contextlib.nullcontext():
        loader._receive(Response(), len(kept))
    assert part.read_bytes() == kept + sent

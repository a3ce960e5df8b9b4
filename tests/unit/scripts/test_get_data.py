"""A server on this machine stands in for the network."""

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "get_data.py"
TEXT = b"To be, or not to be" * 1000


@pytest.fixture(scope="module")
def get_data(load_script):
    return load_script("get_data")


class Handler(BaseHTTPRequestHandler):
    """Serve ``server.files`` with byte ranges; ``server.ranges`` records those asked for."""

    def do_GET(self):
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
def remote(get_data, server):
    return get_data.RemoteFile(f"{server.url}/text", hashlib.sha256(TEXT).hexdigest())


def test_a_download_arrives_whole_and_alone(get_data, remote, tmp_path):
    assert get_data.download(remote, tmp_path).read_bytes() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_file_that_is_there_is_not_fetched_again(get_data, remote, server, tmp_path):
    get_data.download(remote, tmp_path)
    get_data.download(remote, tmp_path)
    assert server.ranges == [None]


def test_a_broken_download_goes_on_where_it_stopped(get_data, remote, server, tmp_path):
    (tmp_path / "text.part").write_bytes(TEXT[:7000])
    assert get_data.download(remote, tmp_path).read_bytes() == TEXT
    assert server.ranges == ["bytes=7000-"]


def test_a_part_longer_than_the_file_is_thrown_away(get_data, remote, server, tmp_path):
    (tmp_path / "text.part").write_bytes(TEXT + b"more")
    assert get_data.download(remote, tmp_path).read_bytes() == TEXT
    assert server.ranges == ["bytes=19004-", None]


def test_without_a_hash_nothing_is_resumed(get_data, server, tmp_path):
    (tmp_path / "text.part").write_bytes(b"of another version")
    path = get_data.download(get_data.RemoteFile(f"{server.url}/text", None), tmp_path)
    assert path.read_bytes() == TEXT
    assert server.ranges == [None]


def test_another_hash_is_refused_and_nothing_kept(get_data, server, tmp_path):
    with pytest.raises(get_data.DownloadError, match="does not have the SHA-256 0{64}: not kept"):
        get_data.download(get_data.RemoteFile(f"{server.url}/text", "0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_told_with_its_status(get_data, server, tmp_path):
    with pytest.raises(get_data.DownloadError, match="/nothing answers 404 Not Found"):
        get_data.download(get_data.RemoteFile(f"{server.url}/nothing", None), tmp_path)


def test_an_address_that_cannot_be_reached_says_so(get_data, tmp_path):
    with pytest.raises(get_data.DownloadError, match="cannot reach 127.0.0.1 .*are you offline?"):
        get_data.download(get_data.RemoteFile("http://127.0.0.1:9/text", None), tmp_path)


def test_archives_are_unpacked(get_data, server, tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner/a.txt", "one")
    server.files["/a.zip"] = archive.getvalue()
    dataset = get_data.Dataset("", (get_data.RemoteFile(f"{server.url}/a.zip", None),))
    get_data.fetch(dataset, tmp_path)
    assert (tmp_path / "inner" / "a.txt").read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "inner"]


def test_the_hash_of_an_unverified_file_is_printed(get_data, server, tmp_path, capsys):
    get_data.fetch(get_data.Dataset("", (get_data.RemoteFile(f"{server.url}/text", None),)), tmp_path)
    assert hashlib.sha256(TEXT).hexdigest() in capsys.readouterr().out


def test_the_command_ends_with_one_line_on_error(get_data, monkeypatch, tmp_path):
    unreachable = get_data.Dataset("", (get_data.RemoteFile("http://127.0.0.1:9/text", None),))
    monkeypatch.setitem(get_data.DATASETS, "text8", unreachable)
    with pytest.raises(SystemExit, match=r"^error: cannot reach 127\.0\.0\.1[^\n]*$"):
        get_data.main(["text8", "-o", str(tmp_path)])


def test_a_file_in_the_place_of_the_folder_is_told_in_one_line(get_data, tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(SystemExit, match=r"^error: .*data/text8: Not a directory; -o names the folder"):
        get_data.main(["text8", "-o", str(tmp_path / "data")])


def test_the_list_names_every_address(get_data, capsys):
    get_data.main(["--list"])
    out = capsys.readouterr().out
    assert all(file.url in out for dataset in get_data.DATASETS.values() for file in dataset.files)


def test_recorded_hashes_are_hashes(get_data):
    hashes = [file.sha256 for dataset in get_data.DATASETS.values() for file in dataset.files if file.sha256]
    assert len(set(hashes)) == len(hashes) == 7
    assert all(len(value) == 64 and int(value, 16) for value in hashes)


# Standard splits


@pytest.fixture
def letters(get_data):
    sizes = (("train.txt", 6), ("valid.txt", 3), ("test.txt", 1))
    return get_data.Dataset("", (), get_data.Split("letters", sizes))


def parts(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


CUT = {"train.txt": "abcdef", "valid.txt": "ghi", "test.txt": "j"}


def test_a_local_file_is_cut_into_consecutive_parts(get_data, letters, tmp_path):
    (tmp_path / "mine").write_text("abcdefghij")
    get_data.take(letters, tmp_path / "mine", tmp_path / "out")
    assert parts(tmp_path / "out") == CUT


def test_a_local_archive_is_unpacked_and_cut(get_data, letters, tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as file:
        file.writestr("letters", "abcdefghij")
    get_data.take(letters, tmp_path / "mine.zip", tmp_path / "out")
    assert parts(tmp_path / "out") == CUT | {"letters": "abcdefghij"}


def test_a_downloaded_file_is_cut(get_data, server, tmp_path):
    split = get_data.Split("text", (("train.txt", 18_000), ("valid.txt", 1_000)))
    get_data.fetch(get_data.Dataset("", (get_data.RemoteFile(f"{server.url}/text", None),), split), tmp_path)
    assert (tmp_path / "train.txt").read_bytes() + (tmp_path / "valid.txt").read_bytes() == TEXT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text", "train.txt", "valid.txt"]


def test_a_file_of_another_size_is_not_cut(get_data, letters, tmp_path):
    (tmp_path / "mine").write_text("abcdefghi")
    with pytest.raises(get_data.DownloadError, match="mine has 9 bytes, not 10"):
        get_data.take(letters, tmp_path / "mine", tmp_path / "data" / "out")
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
def test_a_local_archive_that_is_another_one_is_not_unpacked(get_data, letters, tmp_path, content):
    (tmp_path / "mine.zip").write_bytes(content)
    with pytest.raises(get_data.DownloadError, match="mine.zip") as error:
        get_data.take(letters, tmp_path / "mine.zip", tmp_path / "data" / "out")
    assert "delete" not in str(error.value) and not (tmp_path / "data").exists()


def test_the_splits_are_the_standard_ones(get_data):
    sizes = {name: [size for _, size in set_.split.sizes] for name, set_ in get_data.DATASETS.items() if set_.split}
    hundred_million = [90_000_000, 5_000_000, 5_000_000]
    shakespeare = [1_003_854, 111_540]
    assert sizes == {"enwik8": hundred_million, "text8": hundred_million, "shakespeare_char": shakespeare}


def test_the_shakespeare_of_the_tests_splits_like_nano_gpt(get_data, tmp_path):
    text = SCRIPT.parents[2] / "shared" / "data" / "tinyshakespeare.txt"
    if not text.exists():
        pytest.skip("needs ../shared/data, which is not in the repository")
    get_data.main(["shakespeare_char", "--from", str(text), "-o", str(tmp_path)])
    folder = tmp_path / "shakespeare_char"
    assert (folder / "train.txt").read_bytes() + (folder / "valid.txt").read_bytes() == text.read_bytes()
    assert len(set((folder / "train.txt").read_text())) == 65


@pytest.mark.parametrize(("arguments", "message"), [
    (["text8", "--from", "nowhere"], "error: --from nowhere: no such file"),
    (["glue", "--from", "x"], "2"),
])  # fmt: skip
def test_from_needs_a_file_and_a_split(get_data, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        get_data.main([*arguments, "-o", str(tmp_path)])

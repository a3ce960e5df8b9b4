"""Reading and writing of texts and data; paths that are compared and checked."""

import json
import os

import pytest
import toy

from plugins import files
from plugins.errors import UserError


def test_a_file_is_replaced_and_its_folders_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    for content in ({"é": 1}, [None]):
        files.write_json(path, content)
        assert json.loads(path.read_text(encoding="utf-8")) == content
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("write", [files.write_text, lambda path, text: files.make_folder(path)])
def test_a_file_is_not_a_parent_folder(tmp_path, write):
    (tmp_path / "file").write_text("")
    with toy.refused(tmp_path / "file" / "deeper" / "a"):
        write(tmp_path / "file" / "deeper" / "a", "text")


def test_a_folder_is_not_replaced(tmp_path):
    with toy.refused(tmp_path):
        files.write_text(tmp_path, "text")


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_text(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo() and os.read(reader, 9) == b"text"
    os.close(reader)


def test_texts_are_read_as_they_are(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\rc\n")
    with files.opened(tmp_path / "a.txt") as file:
        assert file.read() == "a\r\nb\rc\n"
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa")
    with files.opened(tmp_path / "a.txt") as file:
        assert file.read() == "a", "without the byte-order mark"
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with toy.refused("b.txt:1"), files.opened(tmp_path / "b.txt") as file:
        file.read()
    with toy.refused("c.txt"), files.opened(tmp_path / "c.txt"):
        pass


def test_json_files_are_read_with_their_kind(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\ufeff{"a": [1]}', encoding="utf-8")
    assert files.read_json(path) == files.read_json(path, dict) == {"a": [1]}
    with toy.refused("a.json"):
        files.read_json(path, list)
    path.write_text('{"a":\n 1,}')
    with toy.refused("a.json:2"):
        files.read_json(path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"1" * 5000, b"", b"\xff", b"\x1f\x8b", b"nul"])
@pytest.mark.parametrize("read", [files.read_json, lambda path: files.read_yaml(path)["a"]])
def test_a_damaged_file_is_one_short_line_that_names_it(tmp_path, content, read):
    path = tmp_path / "a.file"
    path.write_bytes(content)
    try:
        read(path)
    except UserError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 600
    except TypeError:
        pass  # YAML of a single scalar


def test_a_yaml_file_is_read_and_its_errors_have_their_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: yes\n")
    assert files.read_yaml(path) == {"a": True} and files.read_yaml(path, texts=True) == {"a": "yes"}
    path.write_text("a: 1\na: 2\n")
    with toy.refused("a.yaml:2", "'a'"):
        files.read_yaml(path)


READERS = [files.read_text, files.read_bytes, files.read_json, files.read_yaml]


@pytest.mark.parametrize("read", READERS)
def test_a_path_that_is_not_a_file_is_refused_by_name(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(UserError) as error:
            read(path)
        assert str(error.value).startswith(str(path).replace("\0", "\\x00"))


def test_an_output_over_an_input_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "link").symlink_to("a.csv")
    for written in ("a.csv", "link", f"../{tmp_path.name}/a.csv"):
        with toy.refused("a.csv"):
            files.check_not_read([None, tmp_path / written], [tmp_path / "b", tmp_path / "a.csv"])
    with toy.refused("new"):
        files.check_not_read([tmp_path / "new"], [tmp_path / "x" / ".." / "new"])
    files.check_not_read([tmp_path / "b", None, "/dev/null"], [tmp_path / "a.csv", None, "/dev/null"])


LEAVING = ["/etc/passwd", "../a", "a/../../b", "a\\..\\b", "", "~/a", "http://x/a", "s3://x", "a\0"]


@pytest.mark.parametrize("path", LEAVING)
def test_stored_paths_that_leave_their_folder_are_refused(path):
    with toy.refused("my.yaml"):
        files.check_relative(path, "my.yaml: files")


@pytest.mark.parametrize("path", ["a", "a/b.tsv", "..a/b..", "a b"])
def test_stored_paths_within_their_folder_are_accepted(path):
    files.check_relative(path, "my.yaml: files")


def test_lists_of_paths_are_split_at_colons_that_belong_to_no_path(tmp_path):
    (tmp_path / "a:b").write_text("x")
    (tmp_path / "c").write_text("x")
    known = f"{tmp_path}/a:b"
    assert files.split_paths(known) == [known]
    assert files.split_paths(f"{tmp_path}/c:{known}:none") == [f"{tmp_path}/c", known, "none"]
    assert files.split_paths(f"{known}:{known}") == [known, known]
    assert files.split_paths("none:other::third") == ["none", "other", "third"]
    assert files.split_paths("https://example.org/a:b") == ["https://example.org/a", "b"]
    assert files.split_paths("") == files.split_paths(None) == []

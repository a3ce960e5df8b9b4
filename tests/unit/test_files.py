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


def test_a_byte_that_is_not_utf8_is_located(tmp_path):
    (tmp_path / "a.txt").write_bytes("é\nab\n".encode() + b"c\xffd")
    with toy.refused("a.txt:3", "0xff", "7"):
        files.read_text(tmp_path / "a.txt")
    assert "iconv" in str(files.not_utf8(tmp_path / "a.txt"))


PACKED = [
    (b"\x1f\x8b", "gunzip"), (b"BZh9", "bunzip2"), (b"\xfd7zXZ\0", "unxz"), (b"\x28\xb5\x2f\xfd", "unzstd"),
    (b"PK\x03\x04", "unzip"), (b"\xff\xfea\0", "utf-16"), (b"\xfe\xff\0a", "utf-16"),
]  # fmt: skip


@pytest.mark.parametrize(("start", "remedy"), PACKED)
def test_a_packed_file_is_recognized_by_its_first_bytes(tmp_path, start, remedy):
    (tmp_path / "a").write_bytes(start + b"x")
    toy.names(files.packed_error(tmp_path / "a"), tmp_path / "a", remedy)
    toy.names(files.not_utf8(tmp_path / "a", 1), remedy)
    assert remedy not in str(files.not_utf8(tmp_path / "a", 1, unpacked=True))
    assert files.packed_error(tmp_path / "missing") is None


@pytest.mark.parametrize(("limit", "read", "text"), [
    ("LONGEST_FILE", files.read_json, "[12345678]"), ("LONGEST_YAML", files.read_yaml, "[12345678]"),
])  # fmt: skip
def test_a_file_may_be_as_long_as_its_limit(tmp_path, monkeypatch, limit, read, text):
    (tmp_path / "a").write_text(text)
    monkeypatch.setattr(files, limit, 10)
    assert read(tmp_path / "a") == [12345678]
    monkeypatch.setattr(files, limit, 9)
    with toy.refused(tmp_path / "a", 9):
        read(tmp_path / "a")


def test_a_value_of_another_kind_is_named_with_those_expected(tmp_path):
    (tmp_path / "a").write_text("null")
    with toy.refused(tmp_path / "a", "an object", "a number", "null") as error:
        files.read_json(tmp_path / "a", (dict, int, float))
    assert str(error.value).count("a number") == 1


@pytest.mark.parametrize(("text", "found"), [('{"a": 1}', {"a": 1}), ("[1]", {}), ("{", {}), (None, {})])
def test_an_object_that_may_be_missing_or_damaged(tmp_path, text, found):
    if text is not None:
        (tmp_path / "a").write_text(text)
    assert files.read_json_if_any(tmp_path / "a") == found


def test_json_is_written_with_its_indent_and_a_final_line_break(tmp_path):
    files.write_json(tmp_path / "a", {"a": [1]})
    files.write_json(tmp_path / "b", {"a": [1]}, indent=1)
    assert (tmp_path / "a").read_text() == '{"a": [1]}\n' and (tmp_path / "b").read_text() == '{\n "a": [\n  1\n ]\n}\n'


def test_checkpoints_and_tokenizers_of_a_folder_that_is_read_are_not_written_over(tmp_path):
    for name in ("checkpoint_best.pt", "dict.txt", "notes.md"):
        (tmp_path / name).write_text(name)
    os.link(tmp_path / "dict.txt", tmp_path / "hard")
    for name in ("checkpoint_best.pt", "dict.txt", "hard"):
        with toy.refused(tmp_path / name):
            files.check_not_read([tmp_path / name], [tmp_path])
    files.check_not_read([tmp_path / "notes.md", tmp_path / "new.txt", tmp_path], [tmp_path])


def test_null_devices_and_process_substitutions_are_read():
    assert files.read_text("/dev/null") == ""
    reader, writer = os.pipe()
    os.write(writer, b"text")
    os.close(writer)
    assert files.read_text(f"/dev/fd/{reader}") == "text"
    os.close(reader)


def test_json_has_null_for_nan_and_infinities():
    assert files.without_nan({"a": [float("nan"), 1.5, float("inf"), "x"], "b": {"c": 2}}) == {
        "a": [None, 1.5, None, "x"], "b": {"c": 2},
    }  # fmt: skip


def test_a_pipe_is_no_regular_file(tmp_path):
    (tmp_path / "a").touch()
    files.check_regular(tmp_path / "a")
    read, write = os.pipe()
    for path in (f"/dev/fd/{read}", tmp_path, tmp_path / "none"):
        with toy.refused(path):
            files.check_regular(path)
    os.close(read), os.close(write)


def test_files_of_two_roles_are_different_also_through_a_link(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    files.check_distinct({"TRAIN": tmp_path / "a", "--valid": tmp_path / "b", "--test": None})
    for other in ("a", "link"):
        with toy.refused(f"--valid {tmp_path / other}", "TRAIN"):
            files.check_distinct({"TRAIN": tmp_path / "a", "--valid": tmp_path / other})

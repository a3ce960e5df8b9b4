"""Files appear whole or not at all."""

import json
import os

import pytest

from plugins import files
from plugins.errors import UserError


def test_a_file_is_replaced_and_its_folders_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    for content in ({"é": 1}, [None]):
        files.write_json(path, content)
        assert json.loads(path.read_text(encoding="utf-8")) == content
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), files.replacing(path) as part:
        part.write_text("ne")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [files.write_text, lambda path, text: files.make_folder(path)])
def test_below_a_file_nothing_can_be_written(tmp_path, write):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/deeper/a: .*(Not a directory|File exists)"):
        write(tmp_path / "file" / "deeper" / "a", "text")


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
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
    with pytest.raises(UserError, match="b.txt: not UTF-8"), files.opened(tmp_path / "b.txt") as file:
        file.read()
    with pytest.raises(UserError, match="c.txt: No such file"), files.opened(tmp_path / "c.txt"):
        pass

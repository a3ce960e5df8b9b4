"""Lines and JSON records with their line numbers."""

import gzip

import pytest
import toy

from plugins.data.text import records
from plugins.data.text.records import BadRow
from plugins.errors import UserError


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("chunk", [1, 3, 1 << 18])
@pytest.mark.parametrize("packed", [False, True])
def test_only_line_feeds_end_lines_whatever_is_read_at_once(tmp_path, monkeypatch, chunk, packed):
    monkeypatch.setattr(records, "_CHUNK", chunk)
    text = "\ufeffone\r\n\n\x0ctwo\u2028\rx\n\ufeffé".encode()
    path = write(tmp_path / "a", gzip.compress(text) if packed else text)
    assert list(records.lines(path)) == [(1, "one"), (2, ""), (3, "\x0ctwo\u2028\rx"), (4, "\ufeffé")]


@pytest.mark.parametrize("chunk", [2, 1 << 18])
def test_a_byte_that_is_not_utf8_is_located(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(records, "_CHUNK", chunk)
    with toy.refused(f"{tmp_path / 'a'}:3", "0xe9", 8):
        list(records.lines(write(tmp_path / "a", b"ab\ncde\nf\xe9\n")))


def test_a_line_beyond_the_limit_is_located(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", 4)
    monkeypatch.setattr(records, "LONGEST_LINE", 10)
    assert len(list(records.lines(write(tmp_path / "a", "0123456789\n" * 3)))) == 3
    with toy.refused(f"{tmp_path / 'a'}:2"):
        list(records.lines(write(tmp_path / "a", "a\n" + "x" * 15)))


@pytest.mark.parametrize(
    ("name", "content", "key", "expected"),
    [
        ("a.JSONL", "x", None, True),
        ("a.json.gz", "x", None, True),
        ("a.txt", '{"text": 1}', None, True),
        ("a.txt", ' \ufeff{"text": 1}', None, False),
        ("a.txt", '\ufeff {"text": 1}\nx', "text", True),
        ("a.txt", '{"text": 1}', "body", False),
        ("a.txt", "{}", None, False),
        ("a.txt", "[1]", None, False),
        ("a.txt", '{"text"', None, False),
        ("a.txt", '\n{"text": 1}', None, False),
        ("a.txt", b"\xff", None, False),
    ],
)
def test_json_is_known_by_suffix_or_first_line(tmp_path, name, content, key, expected):
    assert records.is_json(write(tmp_path / name, content), key) is expected


@pytest.mark.parametrize(
    ("name", "named"), [("a b.jsonl", ["suffix", "rename"]), ("a b.txt", ["'text'", "blank line"])]
)
def test_json_records_are_not_read_as_text(tmp_path, name, named):
    path = write(tmp_path / name, '{"text": "a b"}\n')
    with toy.refused(name, *named, "--data"):
        records.check_plain(path, "--data")
    with toy.refused(name, *named, f"jq -r .text '{path}'"):
        records.check_plain(path)


@pytest.mark.parametrize(
    ("content", "extract"),
    [
        ('{"text": "a"}\n', ".text"),
        ('[{"text": "a"}]', "'.[].text'"),
        ('\n[\n{"id": 1, "text": "a"}]', "'.[].text'"),
        ('{"id": 1, "line": "a"}\n', ".line"),
        ('{"a b": "c"}\n', """'.["a b"]'"""),
        ('[{"a b": "c"}]', """'.[]["a b"]'"""),
        ("not JSON", ".text"),
    ],
)
def test_the_command_that_is_offered_fits_the_file(tmp_path, content, extract):
    path = write(tmp_path / "a.json", content)
    with pytest.raises(UserError) as error:
        records.check_plain(path)
    assert str(error.value).endswith(f"extract its text: jq -r {extract} {path}")


def test_no_command_is_offered_that_cannot_read_a_packed_file(tmp_path):
    with pytest.raises(UserError) as error:
        records.check_plain(tmp_path / "a.jsonl.gz")
    assert "jq" not in str(error.value) and "a.jsonl.gz" in str(error.value)


@pytest.mark.parametrize("content", ["a {b}\n", '{"debug": true}\nint main() {\n', '\n{"text": "a b"}\n'])
def test_text_may_begin_with_an_object_that_is_no_record(tmp_path, content):
    records.check_plain(write(tmp_path / "a.txt", content))


def halved(row, line, number):
    if row["n"] % 2:
        raise records.BadRow("odd")
    return row["n"] // 2, line, number


def test_usable_rows_are_parsed_with_their_line_and_place():
    bad = []
    rows = [(2, {"n": 4}), (3, records.BadRow("ragged")), (5, {"n": 1}), (6, {"n": 8})]
    assert list(records.usable_rows("a", rows, halved, bad)) == [(2, 2, 0), (4, 6, 3)]
    assert bad == [(3, "ragged"), (5, "odd")]


@pytest.mark.parametrize("rows", [[(1, {"n": 2}), (7, {"n": 1})], [(7, records.BadRow("ragged"))]])
def test_a_bad_row_is_an_error_with_its_line(rows):
    with toy.refused("a:7", "--remedy"):
        list(records.usable_rows("a", rows, halved, remedy="--remedy"))


def test_a_file_without_usable_rows_is_an_error():
    for rows in ([], [(1, {"n": 3})]):
        with toy.refused("a"):
            list(records.usable_rows("a", rows, halved, []))


def test_a_missing_file_is_not_json(tmp_path):
    assert not records.is_json(tmp_path / "missing.txt")


def found(tmp_path, text):
    return [
        (line, str(value) if isinstance(value, BadRow) else value)
        for line, value in records.json_records(write(tmp_path / "a.json", text))
    ]


def test_lines_are_records_with_their_numbers(tmp_path):
    rows = found(tmp_path, '{"a": 1}\r\n \n{"a": 2}\n[1]\n')
    assert rows[:2] == [(1, {"a": 1}), (3, {"a": 2})]
    assert rows[2][0] == 4 and "[1]" in rows[2][1]


def test_elements_of_an_array_are_records_with_the_lines_they_begin_in(tmp_path):
    assert found(tmp_path, '\n[\n{"a":\n1} ,\n\n{"a": 2}, 3\n]\n')[:2] == [(3, {"a": 1}), (6, {"a": 2})]
    number, reason = found(tmp_path, '[{"a": 1}, 3]')[1]
    assert number == 1 and "3" in reason
    assert found(tmp_path, "[]") == found(tmp_path, " [ \n ] \n") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[\n{"a": 1}\n{"a": 2}]', 3),
        ('[\n{"a": 1},\n\n{]', 4),
        ('[{"a": 1}]\nx', 1),
        ('[\n{"a": 1},', 3),
        ('[\n{"a": 1}', 3),
    ],
)
def test_an_error_in_an_array_is_located(tmp_path, text, line):
    with toy.refused(f"a.json:{line}"):
        found(tmp_path, text)


def test_a_first_line_in_brackets_is_a_bad_record_and_not_an_array():
    assert [records.begins_array(line) for line in ("[", ' [ {"a"', "[]", "[1]", "{", "")] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("record", "named"),
    [({"a": 1, "b": 2}, "'a', 'b'"), ({}, "none"), ({"text": 4}, "a number"), ({"text": True}, "a boolean"),
     ({"text": None}, "null"), ({"text": []}, "an array"), ({"text": {}}, "an object"),
     ({"text": "a\ud800"}, "'text'")],
)  # fmt: skip
def test_a_record_without_a_text_says_what_it_has(record, named):
    with toy.refused("'text'", named, error=BadRow):
        records.string_under(record, "text")


def test_at_most_twenty_keys_are_listed():
    with toy.refused("'k19'", error=BadRow) as error:
        records.string_under({f"k{i}": 1 for i in range(30)}, "text")
    assert "'k20'" not in str(error.value)
    assert records.string_under({"text": "é"}, "text") == "é"


@pytest.mark.parametrize("name", ["a\tb", "\x1f", "\x7f", "\x9f", "a\u2028", "\u2029", "=1+1", "+a", "-a", "@a", "-"])
def test_a_name_that_would_break_a_table_is_refused(name):
    with toy.refused("style", error=BadRow):
        records.check_name(name, "style")


@pytest.mark.parametrize("name", ["", "a b", "\xa0", "-1.5", "+2", "-inf", "~", "a=b", "é"])
def test_other_names_are_accepted(name):
    records.check_name(name, "style")


def test_texts_of_records_are_found_by_paths_in_lines_and_arrays(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x": {"y": "one"}}\n')
    (tmp_path / "b.json").write_text('[{"x": {"y": "one"}}]\n')
    for name in ("a.jsonl", "b.json"):
        [(_, record)] = records.json_records(tmp_path / name)
        assert records.string_under(record, "x.y") == "one" and records.is_json(tmp_path / name, "x.y")

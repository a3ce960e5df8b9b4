"""scripts/headers.py: a column that a file does not have is refused before the heavy imports."""

import contextlib

import pytest
import toy


@pytest.fixture
def headers(load_script):
    return load_script("headers")


@pytest.mark.parametrize("suffix, header", [
    (".csv", "Text,label\n"),
    (".csv", '"te""xt"; text;label\n'),
    (".tsv", "\ufefftext\tlabel\n"),
    (".csv", '"two\nlines",text,label\n'),  # not checked: the header continues
    (".csv", ""),
    (".jsonl", '{"text": 1, "Label": 2}\n'),
], ids=str)  # fmt: skip
def test_columns_that_a_reader_may_find_are_left_to_it(headers, tmp_path, suffix, header):
    path = tmp_path / f"data{suffix}"
    path.write_text(header)
    headers.check(path, ["text", "LABEL", None], "--text")
    headers.check(None, ["text"], "--text")
    headers.check(tmp_path / "none.csv", ["text"], "--text")
    path.write_bytes(b"\x1f\x8b\xff\n")  # compressed
    headers.check(path, ["text"], "--text")


@pytest.mark.parametrize("suffix, delimiter", [(".csv", ","), (".tsv", "\t")])
def test_a_column_that_is_nowhere_in_the_header_is_refused_by_name(headers, tmp_path, suffix, delimiter):
    (tmp_path / f"data{suffix}").write_text(f"text{delimiter}label\nbody,label\n")
    with toy.refused("data", "--text body", "text, label", error=SystemExit):
        headers.check(tmp_path / f"data{suffix}", ["label", "body"], "--text")


@pytest.mark.parametrize("lines, refused", [
    ('{"text": 1}\n{"text": 2, "body": 3}\n', False),  # a later record has it
    ('{"text": 1}\n{"Body": 3', False),  # cut
    ('not JSON\n', False),
    ('[1]\n', False),
    ('', False),
    ('\ufeff{"text": 1}\n\n', True),
], ids=repr)  # fmt: skip
def test_a_key_that_no_record_has_is_refused(headers, tmp_path, lines, refused):
    path = tmp_path / "data.jsonl"
    path.write_text(lines)
    if refused:
        with toy.refused("--text body", str(path), "text", error=SystemExit):
            headers.check(path, ["body"], "--text")
    else:
        headers.check(path, ["body"], "--text")


@pytest.mark.parametrize("name, refused", [("meta.text", False), ("text.meta", True)])
def test_a_path_begins_with_a_key_of_a_record_and_a_column_of_a_table_is_no_path(headers, tmp_path, name, refused):
    (tmp_path / "data.jsonl").write_text('{"meta": {"text": "a"}}\n')
    (tmp_path / "data.csv").write_text("meta,label\na,b\n")
    with toy.refused("data.csv", name, error=SystemExit):
        headers.check(tmp_path / "data.csv", [name], "--text")
    with toy.refused("data.jsonl", name, error=SystemExit) if refused else contextlib.nullcontext():
        headers.check(tmp_path / "data.jsonl", [name], "--text")

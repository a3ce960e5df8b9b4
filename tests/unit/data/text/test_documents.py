import itertools
import json
import os

import pytest

from plugins.data.text import documents
from plugins.data.text.documents import embedded_corpus, read_documents, text_of
from plugins.data.text.prose import paragraphs
from plugins.data.text.records import BadRow
from plugins.errors import UserError


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(*paths, **options):
    with pytest.raises(UserError) as caught:
        list(read_documents(paths, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_empty_lines_separate_documents(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo\n\n \n\nthree\n")
    assert list(read_documents([path])) == ["one\ntwo", "three"]


def test_a_file_ends_its_last_document(tmp_path):
    paths = [write(tmp_path / "a.txt", "one"), write(tmp_path / "b.txt", "two")]
    assert list(read_documents(paths)) == ["one", "two"]


def test_only_line_feeds_end_lines(tmp_path):
    path = write(tmp_path / "a.txt", "form\x0cfeed\r\nseparator\u2028here\n")
    assert list(read_documents([path])) == ["form\x0cfeed\nseparator\u2028here"]


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    assert list(read_documents([write(tmp_path / "a.txt", b"\xef\xbb\xbfone\n")])) == ["one"]


def test_each_jsonl_record_is_a_document(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one\\n\\ntwo"}\n\n{"text": " "}\n{"text": "three"}\n')
    assert list(read_documents([path])) == ["one\ntwo", "three"]


def test_another_jsonl_field_can_be_read(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one", "body": "two"}\n')
    assert list(read_documents([path], jsonl_key="body")) == ["two"]


def test_a_missing_file_is_named(tmp_path):
    assert f"{tmp_path}/no.txt" in error_of(tmp_path / "no.txt")


def test_a_folder_is_not_a_file(tmp_path):
    assert error_of(tmp_path).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_a_file_without_text_is_refused(tmp_path, content):
    path = write(tmp_path / "a.txt", content)
    assert error_of(path).startswith(f"{path}: ")


def test_the_first_byte_that_is_not_utf8_is_located(tmp_path):
    path = write(tmp_path / "a.txt", b"one\ncaf\xe9\n")
    assert error_of(path).startswith(f"{path}:2: not UTF-8 (byte 0xe9 at offset 7)")


def test_a_line_that_is_not_json_is_located(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\n{"text": \n')
    assert error_of(path).startswith(f"{path}:2: not JSON")


def test_a_missing_key_is_reported_with_the_existing_keys(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"id": 1, "body": "one"}\n')
    error = error_of(path)
    assert error.startswith(f"{path}:1: ") and "--jsonl-key" in error
    assert all(repr(key) in error for key in ("text", "id", "body"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[1]", "[1]"),
        ('{"text": null}', "null"),
        ('{"text": 42}', "a number"),
        ('{"text": ["a"]}', "an array"),
        ('{"text": "\\ud800"}', "surrogate"),
        ('{"text": "a", "text": "b"}', "'text' occurs twice"),
    ],
)
def test_jsonl_values_must_be_text(tmp_path, line, complaint):
    path = write(tmp_path / "a.jsonl", line)
    assert error_of(path).startswith(f"{path}:1: ")
    assert complaint in error_of(path)


RECORDS = [{"text": "one"}, {"text": "two"}]
AS_LINES, AS_ARRAY = "\n".join(map(json.dumps, RECORDS)), json.dumps(RECORDS, indent=1)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.ndjson", "A.JSON"])
@pytest.mark.parametrize("content", [AS_LINES, AS_ARRAY])
def test_json_is_read_as_records_by_its_suffix_as_lines_or_as_an_array(tmp_path, name, content):
    assert list(read_documents([write(tmp_path / name, content)])) == ["one", "two"]


def test_json_lines_are_read_as_records_by_their_content(tmp_path):
    assert list(read_documents([write(tmp_path / "a.txt", AS_LINES)])) == ["one", "two"]
    assert list(read_documents([write(tmp_path / "b.txt", '{"other": 1}')])) == ['{"other": 1}'], "no key: text"


@pytest.mark.parametrize(
    ("start", "kind", "cure"),
    [
        (b"\x1f\x8b", "gzip", "gunzip"),
        (b"BZh9", "bzip2", "bunzip2"),
        (b"\xfd7zXZ\x00", "xz", "unxz"),
        (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
        (b"PK\x03\x04", "zip", "unzip"),
        ("\ufeffa".encode("utf-16-le"), "UTF-16", "iconv -f utf-16"),
        ("\ufeffa".encode("utf-16-be"), "UTF-16", "iconv -f utf-16"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_compressed_and_utf16_files_are_named_for_what_they_are(tmp_path, start, kind, cure, name):
    path = write(tmp_path / name, start + b"abc\n")
    error = error_of(path)
    assert error.startswith(f"{path}: ") and kind in error and f"{cure} " in error and "latin1" not in error


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert error_of(tmp_path / name).startswith(f"{tmp_path / name}: ")


def test_the_pipe_of_a_process_substitution_is_read():
    reader, writer = os.pipe()
    os.write(writer, b"one\n\ntwo\n")
    os.close(writer)
    assert list(read_documents([f"/dev/fd/{reader}"])) == ["one", "two"]
    os.close(reader)


DOCSTRING = """Return the sum of the *values* that are not masked, as :func:`~numpy.sum` does.

    Parameters
    ----------
    values : array_like
        The values to add, which may
        have any shape [1]_.
    axis : int, optional

    The two are related in the following way::

        total = add(values) + the rest of the values that are in the list.

    * The first of the rules is that an empty
      list has a sum of zero.

    >>> add([1, 2])
    3
    """


def test_only_sentences_are_kept():
    assert list(paragraphs(DOCSTRING)) == [
        "Return the sum of the values that are not masked, as numpy.sum does.",
        "The values to add, which may have any shape.",
        "The first of the rules is that an empty list has a sum of zero.",
    ]


@pytest.fixture(scope="module")
def prose():
    return list(embedded_corpus(limit=300_000))


def test_the_embedded_corpus_stops_at_its_limit(prose):
    size = sum(len(document.encode()) + 1 for document in prose)
    assert 300_000 <= size < 400_000


def test_the_embedded_corpus_is_the_same_every_time(prose):
    again = embedded_corpus(limit=300_000)
    assert list(itertools.islice(again, 50)) == prose[:50]


def test_the_embedded_corpus_repeats_no_paragraph(prose):
    lines = [line for document in prose for line in document.split("\n")]
    assert len(set(lines)) == len(lines)


def test_the_embedded_corpus_is_english(prose):
    words = " ".join(prose).lower().split()
    assert 0.04 < words.count("the") / len(words) < 0.12
    assert not any(">>>" in document for document in prose)


@pytest.mark.parametrize(
    ("record", "named", "hint"),
    [({"a": 1}, "'text'", True), ({"text": 1}, "a number", False), (BadRow("no object"), "no object", False)],
)
def test_the_flag_of_a_key_is_named_where_the_key_is_missing(record, named, hint):
    with pytest.raises(UserError) as error:
        text_of(record, "text", "f:3", "--style-key", "style")
    assert str(error.value).startswith("f:3: ") and named in str(error.value)
    assert ("--style-key" in str(error.value)) is hint


def test_of_repeated_paragraphs_the_first_stays(monkeypatch):
    a, b, c = (f"This is one of the sentences that the {name} is made of." for name in ("book", "page", "line"))
    texts = [f"{a}\n\n{a}", "", a, f"{b}\n\n{a}", c]
    monkeypatch.setattr(documents, "installed_texts", lambda skipped: iter(texts))
    assert list(documents.embedded_corpus()) == [a, b, c]
    size = len(a) + len(b) + 2
    assert list(documents.embedded_corpus(size)) == [a, b]  # the limit is reached
    assert list(documents.embedded_corpus(size + 1)) == [a, b, c]

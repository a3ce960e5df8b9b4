import itertools

import pytest

from plugins.data.text.documents import embedded_corpus, read_documents
from plugins.data.text.prose import paragraphs
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


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert list(read_documents([write(tmp_path / "a.txt", b"\xef\xbb\xbfone\n")])) == ["one"]


def test_each_jsonl_record_is_a_document(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one\\n\\ntwo"}\n\n{"text": " "}\n{"text": "three"}\n')
    assert list(read_documents([path])) == ["one\ntwo", "three"]


def test_another_jsonl_field_can_be_read(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one", "body": "two"}\n')
    assert list(read_documents([path], jsonl_key="body")) == ["two"]


def test_a_missing_file_is_named(tmp_path):
    assert error_of(tmp_path / "no.txt") == f"{tmp_path}/no.txt does not exist"


def test_a_folder_is_no_file(tmp_path):
    assert error_of(tmp_path) == f"cannot read {tmp_path}: Is a directory"


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_a_file_without_text_is_refused(tmp_path, content):
    path = write(tmp_path / "a.txt", content)
    assert error_of(path) == f"{path} holds no text"


def test_the_first_byte_that_is_not_utf8_is_located(tmp_path):
    path = write(tmp_path / "a.txt", b"one\ncaf\xe9\n")
    assert error_of(path).startswith(f"{path}:2: not UTF-8 (byte 0xe9 at offset 7)")


def test_a_line_that_is_not_json_is_located(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\n{"text": \n')
    assert error_of(path) == f"{path}:2: not JSON (Expecting value at column 9)"


def test_a_missing_key_is_reported_with_those_there_are(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"id": 1, "body": "one"}\n')
    expected = f"{path}:1: no key 'text' (it has 'id', 'body'); name the text field with --jsonl-key"
    assert error_of(path) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[1]", "expected a JSON object, found [1]"),
        ('{"text": null}', "the value under 'text' is not a string but null"),
        ('{"text": "\\ud800"}', "the value under 'text' holds half a surrogate pair"),
    ],
)
def test_jsonl_values_must_be_text(tmp_path, line, complaint):
    path = write(tmp_path / "a.jsonl", line)
    assert error_of(path) == f"{path}:1: {complaint}"


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


def test_sentences_survive_and_everything_else_goes():
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

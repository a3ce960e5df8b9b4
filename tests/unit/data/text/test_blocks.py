"""Blocks of a corpus and its shards."""

import gzip
import hashlib
import json

import pytest
import toy

from plugins.data.text import blocks as reading
from plugins.data.text.blocks import Span, TextBlock, blocks, boundary, line_at, parse, shards_of, text_source
from plugins.data.text.documents import read_documents

BLOCK, LONGEST = reading.BLOCK, reading.LONGEST  # before the fixture changes them

DOCUMENTS = [[f"line {line} of document {number}" for line in range(number % 4 + 1)] for number in range(60)]
TEXT = "\n\n".join("\n".join(lines) for lines in DOCUMENTS)
RECORDS = "".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in DOCUMENTS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 64)
    monkeypatch.setattr(reading, "LONGEST", 400)


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return text_source(path, "text")


def documents_of(spans, whole=False):
    """Return the documents of spans as lists of lines, put together from all blocks."""
    found = []
    for span in spans:
        for block in blocks(span, "text", [], whole):
            parsed = parse(block, "text")
            for index, line in enumerate(parsed.lines):
                if index in parsed.starts:
                    found.append([])
                found[-1].append(line)
    return found


def whole(source, size=10**9):
    return [Span(source, 0, size)]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("keep", [False, True])
def test_blocks_contain_every_document_once_and_in_order(tmp_path, name, keep):
    text = RECORDS if "jsonl" in name else TEXT
    source = write(tmp_path / name, gzip.compress(text.encode()) if name.endswith(".gz") else text)
    assert source.is_json == ("jsonl" in name)
    assert documents_of(whole(source), keep) == DOCUMENTS


def test_blocks_give_the_documents_of_the_reader_for_small_files(tmp_path):
    text = "\ufeff a \n\n \t\nb\u3000\n\u3000\nc\r\nd\r\n\r\n\r\ne\x0cf\n\n\n"
    source = write(tmp_path / "a.txt", text)
    assert ["\n".join(lines) for lines in documents_of(whole(source))] == list(read_documents([tmp_path / "a.txt"]))


def test_whole_documents_are_cut_only_if_they_are_longer_than_the_limit(tmp_path):
    source = write(tmp_path / "a.txt", "\n".join(["word " * 8] * 5) + "\n\n" + "\n".join(["long " * 8] * 40))
    found = [block for block in blocks(whole(source)[0], "text", [], whole_documents=True)]
    assert [block.continues for block in found][:2] == [False, False] and len(found[0].content) > 200
    assert all(len(block.content) <= 464 for block in found)
    assert len(documents_of(whole(source), True)) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50, 200])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_shards_divide_the_documents(tmp_path, name, count):
    text = RECORDS if name == "a.jsonl" else TEXT
    sources = [write(tmp_path / name, text), write(tmp_path / f"b{name}", text)]
    shards = shards_of(sources, count)
    assert len(shards) == count
    assert [document for spans in shards for document in documents_of(spans)] == DOCUMENTS * 2
    if count == 2:
        assert [[span.source.name for span in spans] for spans in shards] == [[sources[0].name], [sources[1].name]]
        assert all(span.whole for spans in shards for span in spans)


def test_a_compressed_file_is_not_divided(tmp_path):
    sources = [write(tmp_path / f"{n}.txt.gz", gzip.compress(TEXT.encode())) for n in range(4)]
    assert [[span.source for span in spans] for spans in shards_of(sources, 2)] == [sources[:2], sources[2:]]


def test_a_text_without_empty_lines_is_divided_between_lines(tmp_path):
    source = write(tmp_path / "a.txt", "0123456789\n" * 100)
    assert boundary(source, 500, 1100) == 506
    assert boundary(source, 1095, 1100) == 1100


def test_a_json_array_is_read_as_records(tmp_path):
    source = write(tmp_path / "a.json", json.dumps([{"text": "\n".join(lines)} for lines in DOCUMENTS], indent=1))
    read = []
    found = [parse(block, "text").lines for block in blocks(whole(source)[0], "text", read)]
    assert sum(found, []) == sum(DOCUMENTS, [])
    assert read[0]["bytes"] == (tmp_path / "a.json").stat().st_size


def test_whole_documents_keep_their_line_breaks(tmp_path):
    record = TextBlock(
        text_source("a.jsonl", "text"), 0, b'{"text": " one\\n\\n two "}\n{"text": " "}\n{"text": "x"}\n'
    )
    assert parse(record, "text", whole_documents=True).lines == [" one\n\n two ", "x"]
    text = TextBlock(text_source("a.txt", "text"), 0, b"one \n two\n\nthree\n")
    assert parse(text, "text", whole_documents=True).lines == ["one\ntwo", "three"]


def test_an_undecodable_byte_is_located_in_any_block_and_in_an_archive(tmp_path):
    data = TEXT.encode() + b"\n\ncaf\xe9\n"
    line = data.count(b"\n")
    for name, stored in (("a.txt", data), ("a.txt.gz", gzip.compress(data))):
        with toy.refused(f"{tmp_path / name}:{line}", "0xe9", len(data) - 2):
            documents_of(whole(write(tmp_path / name, stored)))


@pytest.mark.parametrize(
    ("line", "named"), [(b'{"body": 1}', "'text'"), (b"{", "JSON"), (b'{"text": 4}', "4"), (b"[1]", "[1]")]
)
def test_a_bad_record_is_located_in_any_block(tmp_path, line, named):
    source = write(tmp_path / "a.jsonl", RECORDS.encode() + line + b"\n")
    with toy.refused(f"{source.name}:61", named):
        documents_of(whole(source))


def test_a_line_beyond_the_limit_is_located_and_not_kept(tmp_path):
    source = write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' + b'{"text": "' + b"a" * 1000 + b'"}'))
    with toy.refused(f"{source.name}:2"):
        documents_of(whole(source))
    source = write(tmp_path / "a.txt", b"a" * 1000)
    with toy.refused(f"{source.name}:1"):
        documents_of(whole(source))


def test_a_long_line_of_text_is_cut_between_words(tmp_path):
    source = write(tmp_path / "a.txt", "word " * 400)
    assert {word for (line, *_) in documents_of(whole(source)) for word in line.split()} == {"word"}


def test_lines_are_counted_from_one(tmp_path):
    source = write(tmp_path / "a.txt", "a\nbc\nd")
    assert [line_at(source, offset) for offset in range(6)] == [1, 1, 2, 2, 2, 3]


def test_a_boundary_at_a_record_is_that_record(tmp_path):
    source = write(tmp_path / "a.jsonl", '{"text": "a"}\n' * 4)
    assert [boundary(source, offset, 56) for offset in (-5, 0, 1, 14, 15, 42, 43, 56, 60)] == [
        0, 0, 14, 14, 28, 42, 56, 56, 56,
    ]  # fmt: skip


def test_a_boundary_in_a_text_is_after_an_empty_line(tmp_path):
    source = write(tmp_path / "a.txt", "ab\ncd\n\nef\n\n")
    assert [boundary(source, offset, 11) for offset in (1, 3, 6, 8)] == [7, 7, 7, 11]


def test_progress_offsets_and_digests_of_blocks(tmp_path):
    text = "a" * 60 + "\n\n" + "b" * 60 + "\n\nc"
    source = write(tmp_path / "a.txt", text)
    read = []
    found = list(blocks(Span(source, 0, len(text)), "text", read))
    assert [(block.offset, len(block.content), block.stored) for block in found] == [
        (0, 62, 64),
        (62, 62, 61),
        (124, 1, 0),
    ]
    assert read == [
        {"file": source.name, "start": 0, "bytes": 125, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    ]
    read.clear()
    (block,) = blocks(Span(source, 62, 124, whole=False), "text", read)
    assert (block.offset, block.content, block.stored) == (62, text[62:124].encode(), 62)
    assert read[0]["sha256"] == hashlib.sha256(text[62:124].encode()).hexdigest()


def test_a_json_array_is_not_divided_and_each_shard_has_its_middle(tmp_path):
    array = json.dumps([{"text": "x" * 20}] * 4)
    sources = [write(tmp_path / f"{n}.json", array) for n in range(3)]
    assert [[span.source for span in spans] for spans in shards_of(sources, 3)] == [[source] for source in sources]
    assert [len(spans) for spans in shards_of(sources[:1], 3)] == [0, 1, 0]


def test_documents_in_memory_are_stripped_lines_or_whole():
    block = TextBlock(None, 0, [" a \n\nb", " \n", "c"])
    assert (parse(block, "text").lines, parse(block, "text").starts) == (["a", "b", "c"], [0, 2])
    assert parse(block, "text", True).lines == [" a \n\nb", "c"] and parse(block, "text", True).starts == [0, 1]


def test_the_rest_of_a_long_document_is_an_item_too():
    block = TextBlock(text_source("a.txt", "text"), 5, b"end\n\nnext\nlines\n", continues=True)
    parsed = parse(block, "text")
    assert (parsed.lines, parsed.starts) == (["end", "next", "lines"], [1])
    assert parse(block, "text", True).lines == ["end", "next\nlines"]


def test_a_byte_order_mark_is_removed_at_the_start_of_a_file_alone(tmp_path):
    source = text_source("a.txt", "text")
    assert parse(TextBlock(source, 0, b"\xef\xbb\xbfa"), "text").lines == ["a"]
    assert parse(TextBlock(source, 9, b"\xef\xbb\xbfa"), "text").lines == ["\ufeffa"]
    with toy.refused(f"{tmp_path / 'b.txt'}:2", "0xff", 5):
        documents_of(whole(write(tmp_path / "b.txt", b"\xef\xbb\xbfa\n\xff")))


def test_the_limits_of_blocks_and_lines():
    assert (BLOCK, LONGEST) == (2**20, 2**25)

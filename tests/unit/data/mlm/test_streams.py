"""Streams of blocks: their sizes, progress, and files without text."""

from types import SimpleNamespace

import pytest
import toy

from plugins.data.mlm import streams
from plugins.data.mlm.streams import Stream, processed
from plugins.data.text.blocks import Span, parse, shards_of, text_source


def run(stream, **options):
    """Return the documents of each block and the progress after each."""
    bar, steps, found = SimpleNamespace(update=lambda size: steps.append(size)), [], []
    work = lambda items: (parse(item, "text") for item in items)  # noqa: E731
    for result in processed(stream, work, lambda result: len(result.starts), bar, **options):
        found.append(result.lines)
    return found, steps


def files(tmp_path, *texts):
    sources = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
        sources.append(text_source(tmp_path / f"{number}.txt", "text"))
    return shards_of(sources, 1)[0]


def test_progress_is_in_stored_bytes_and_ends_at_the_size(tmp_path):
    stream = Stream(files(tmp_path, "a\n\nb", "cd"))
    assert run(stream) == ([["a"], ["b"], ["cd"]], [4, 0, 2])
    assert stream.size == 6
    assert [row["bytes"] for row in stream.read] == [4, 2]
    assert run(stream)[1] == [4, 0, 2] and len(stream.read) == 2  # read again: one record for each file


def test_documents_in_memory_are_cut_into_blocks_of_a_quarter(monkeypatch):
    monkeypatch.setattr(streams, "BLOCK", 20)
    stream = Stream(documents=["abc", "de", "f", "ghijkl", "m"])
    assert run(stream) == ([["abc", "de"], ["f", "ghijkl"], ["m"]], [5, 7, 1])
    assert stream.size == 13


def test_workers_receive_blocks_with_their_numbers(monkeypatch):
    monkeypatch.setattr(streams, "BLOCK", 4)
    seen = []
    run(Stream(documents=["a", "b", "c"]), prepared=lambda index, block: seen.append(index) or block)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("texts", [("a", " \n\n"), (" \n", "a"), ("a", ""), ("", "a"), ("a", "\n", "b")])
def test_a_file_without_text_is_named(tmp_path, texts):
    empty = next(number for number, text in enumerate(texts) if not text.strip())
    with toy.refused(tmp_path / f"{empty}.txt"):
        run(Stream(files(tmp_path, *texts)))


def test_a_part_of_a_file_may_have_no_text(tmp_path):
    (tmp_path / "a.txt").write_text("a\n\n\n\n")
    source = text_source(tmp_path / "a.txt", "text")
    assert run(Stream([Span(source, 2, 5, whole=False)]))[0] == [[]]

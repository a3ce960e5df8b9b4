"""Text of the demo: cut to pieces, with lines to fill."""

import toy

from plugins.mlm import demo_data


def test_many_documents_stay_as_they_are():
    documents = [f"document {i}" for i in range(20)]
    assert demo_data.pieces(documents) == documents


def test_few_documents_are_cut_at_line_ends():
    lines = [f"line {i}" for i in range(250)]
    found = demo_data.pieces(["\n".join(lines[:200]), "\n".join(lines[200:])])
    assert len(found) == 84 and "\n".join(found) == "\n".join(lines)
    assert max(piece.count("\n") for piece in found) == 2


def test_a_single_line_is_refused():
    with toy.refused():
        demo_data.pieces(["only one line"])


def test_no_more_text_is_read_than_the_limit(monkeypatch):
    monkeypatch.setattr(demo_data, "MOST_TEXT", 100)
    endless = iter(lambda: "ten bytes!\nten bytes!", None)
    assert len("\n".join(demo_data.pieces(endless))) < 130


def test_three_lines_of_moderate_length_have_a_mask_for_their_middle_word():
    lines = ["a b c", " ".join("abcdefghijkl"), " ".join("abcdefghijklm"), "one <mask>", " ".join("abcdefghijk"), "x"]
    assert demo_data.masked_lines(["\n".join(lines[:3]), "\n".join(lines[3:])]) == [
        "a b c d e f <mask> h i j k l",
        "a b c d e f <mask> h i j k l m",
        "a b c d e <mask> g h i j k",
    ]

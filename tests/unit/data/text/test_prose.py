"""English sentences of technical text; the expected lines are literals."""

import pytest

from plugins.data.text.prose import paragraphs, without_markup

SENTENCE = "This is one of the sentences that the corpus is made of."


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (SENTENCE, True),
        (SENTENCE[:-1], False),  # no end
        (SENTENCE[:-1] + "!", True),
        (SENTENCE[:-1] + '?")', True),
        ("It is on the top of a box by the door to.", True),  # 41 characters
        ("It is on the top of a box by the door o.", True),  # 40
        ("It is on the top of a box by the door a.".replace("box", "bx"), False),  # 39
        ("The quantization of polynomial coefficients.", False),  # 5 words
        ("The quantization of a polynomial coefficient.", False),  # 6
        ("The quantization of a polynomial is irreversible.", True),  # 7
        ("(This is one of the sentences that the corpus is made of.)", True),
        ("1 This is one of the sentences that the corpus is made of.", False),
        ("Alpha beta gamma delta epsilon zeta eta theta iota kappa.", False),  # no function word
        ("Alpha beta gamma the epsilon zeta eta theta iota kappa mu.", False),  # 1 of 11 words
        ("Alpha beta gamma the epsilon zeta of theta iota kappa mu.", True),  # 2 of 11
        ("See the page of it at https://example.org for all that is new.", False),
        ("It is true that the value of a is the same if a == b is so.", False),
        ("In 1990 (12 of 34 and 56 of 78) it is the 90 of that: 12, 34.", False),  # too few letters
    ],
)
def test_a_line_is_prose_if_it_looks_like_a_sentence(line, kept):
    assert list(paragraphs(line)) == ([line] if kept else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":func:`~os.stat` and :ref:`text <target>`", "os.stat and text"),
        ("`a link <https://example.org>`_ and ``code``", "a link and code"),
        ("*emphasis* and **strong words** but a*b*c and 2 * 3", "emphasis and strong words but a*b*c and 2 * 3"),
        ("a claim [1]_ of [Smith2020]_", "a claim of"),
        (r"an escaped \* star and `target`_", "an escaped * star and target"),
        ("two   blanks", "two blanks"),
    ],
)
def test_markup_is_rendered(text, expected):
    assert without_markup(text) == expected


def test_equally_indented_lines_are_one_paragraph_and_bullets_begin_their_own():
    text = (
        "This is one of the sentences that\nthe corpus is made of.\n"
        "- This is a bullet of the list and\n  it goes on in the next of the lines.\n"
        "1. This is the first of the numbers in a list of them.\n"
        "    This is an indented line of the text and it is whole.\n"
    )
    assert list(paragraphs(text)) == [
        "This is one of the sentences that the corpus is made of.",
        "This is a bullet of the list and it goes on in the next of the lines.",
        "This is the first of the numbers in a list of them.",
        "This is an indented line of the text and it is whole.",
    ]


def test_a_literal_block_ends_where_the_indentation_does():
    text = (
        "This is one of the sentences that the code is for::\n\n"
        f"    {SENTENCE}\n\n    {SENTENCE}\n\n"
        "This is the first of the lines that are after it.\n\n"
        "    This is an indented line of the text and it is whole.\n"
    )
    assert list(paragraphs(text)) == [
        "This is the first of the lines that are after it.",
        "This is an indented line of the text and it is whole.",
    ]


@pytest.mark.parametrize("mark", [">>> ", ".. ", ":param x: ", "@", "===", "|||", "$ ", "% ", "In ["])
def test_lines_that_begin_like_code_are_dropped_and_end_a_paragraph(mark):
    assert list(paragraphs(f"{SENTENCE}\n{mark}{SENTENCE}\n{SENTENCE}")) == [SENTENCE, SENTENCE]


@pytest.mark.parametrize(("line", "kept"), [
    ("A river is as wide as the sea in the north of the land.", True),  # its second character is no letter
    ("2nd rivers are as wide as the sea in the north of the land.", False),
    ("'A river is as wide as the sea in the north of the land.'", True),
    ("-A river is as wide as the sea in the north of the land.", False),
    ("the " * 3 + "alpha bravo delta gamma omega sigma kappa " * 2 + "alpha bravo delta.", True),  # 3 of 20 words
    ("the " * 2 + "alpha bravo delta gamma omega sigma kappa " * 2 + "alpha bravo delta gamma.", False),  # 2 of 20
])  # fmt: skip
def test_a_sentence_begins_with_a_letter_and_has_a_share_of_function_words(line, kept):
    assert list(paragraphs(line)) == ([line] if kept else [])


@pytest.mark.parametrize(("marks", "kept"), [(11, True), (12, False)])
def test_at_least_88_of_100_characters_are_letters_or_blanks(marks, kept):
    words = "the river of the valley is as wide as the sea in the north of the land it is in "
    line = (words + "x" * 100)[: 99 - marks] + "-" * marks + "."
    assert len(line) == 100 and list(paragraphs(line)) == ([line] if kept else [])

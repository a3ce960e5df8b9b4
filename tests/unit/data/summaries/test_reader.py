"""Documents and summaries from files as users have them."""

import itertools
import json
import logging

import pytest
import toy

from plugins.data.summaries.reader import Columns, Record, locate, read, share


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_cnn_dailymail_as_published(tmp_path):
    text = 'id,article,highlights\n0001d1,"By . A. Press .\nThe ""Milk Man"", he said .","One .\nTwo ."\nab2,b,c\n'
    path = write(tmp_path, "train.csv", "\ufeff" + text)
    assert list(read(path)) == [
        Record(2, "0001d1", 'By . A. Press .\nThe "Milk Man", he said .', "One .\nTwo ."),
        Record(5, "ab2", "b", "c"),
    ]


def test_tab_separated_text_has_no_quoting(tmp_path):
    path = write(tmp_path, "train.tsv", 'text\tsummary\n"To be", he said\tA "quote"\r\n')
    assert list(read(path)) == [Record(2, "0", '"To be", he said', 'A "quote"')]


def test_json_lines_with_columns_of_other_names(tmp_path):
    rows = [{"dialogue": "a\nb", "short": "c", "id": 7}, {"dialogue": "d", "short": "e"}]
    path = write(tmp_path, "x.jsonl", "\n".join(map(json.dumps, rows)))
    found = list(read(path, Columns("dialogue", "short")))
    assert found == [Record(1, "7", "a\nb", "c"), Record(2, "1", "d", "e")]


def test_summaries_may_be_missing_if_not_required(tmp_path):
    path = write(tmp_path, "x.csv", "article\nsome text\n")
    assert list(read(path, summaries=False)) == [Record(2, "0", "some text", None)]


@pytest.mark.parametrize(
    "name, text, named",
    [
        (
            "a.csv",
            "id,body,highlights\n1,a,b\n",
            ["'article'", "--document-column"],
        ),
        ("a.csv", "article,tldr\na,b\n", ["a.csv:1", "'highlights'", "--summary-column"]),
        ("a.csv", 'article,highlights\n"x\ny",b\na,\n', ["a.csv:4", "'highlights'", "--skip-bad-rows"]),
        ("a.csv", "article,highlights\n  ,b\n", ["a.csv:2", "'article'"]),
        ("a.csv", "article,highlights\na,b,c\n", ["a.csv:2", 3, 2]),
        ("a.csv", 'article,highlights\n"a,b\n', ["a.csv:2"]),
        ("a.tsv", "article\thighlights\na\n", ["a.tsv:2", 1, 2]),
        ("a.jsonl", '{"article": "a", "highlights": "b"}\n{"article": 3}\n', ["a.jsonl:2", "'article'", 3]),
        ("a.jsonl", "[1]\n", ["a.jsonl:1"]),
        ("a.jsonl", "{\n", ["a.jsonl:1"]),
        ("a.csv", b"article,highlights\na,b\n\xff,c\n", ["a.csv:3", "0xff", 23]),
        ("a.jsonl", '{"article": "a\\ud800", "highlights": "b"}\n', ["a.jsonl:1", "'article'"]),
        ("a.jsonl", '{"id": "\\ud800", "article": "a", "highlights": "b"}\n', ["a.jsonl:1", "'id'"]),
        ("a.jsonl", '{"id": ' + "1" * 5000 + "}\n", ["a.jsonl:1", 5000]),
        ("a.jsonl", '{"article": ' + "[" * 100_000 + "\n", ["a.jsonl:1"]),
        ("a.jsonl", '{"article": "a", "article": "b"}\n', ["a.jsonl:1", "'article'"]),
        ("a.csv", "article;highlights\na;b\n", ["a.csv:1"]),
        ("a.csv", "article\thighlights\na\tb\n", ["a.csv:1", ".tsv"]),
        ("a.tsv", "article,highlights\na,b\n", ["a.tsv:1", ".csv"]),
        ("a.jsonl", '{"article": "a", "highlights": ["b", "c"]}\n', ["a.jsonl:1", "'highlights'"]),
        ("a.json", '[{"article": "a", "highlights": "b"},\n {"article": 3}]', ["a.json:2", "'article'"]),
        ("a.json", '[{"article": "a", "highlights": "b"}\n {"article": 3}]', ["a.json:2"]),
        ("a.json", '[{"article": "a", "highlights": "b"},\n', ["a.json:2"]),
        ("a.csv", b"\x1f\x8b\x08\x00abc", ["a.csv"]),
        ("a.csv", "article,highlights\na,b\n".encode("utf-16"), ["a.csv"]),
        ("a.csv", 'id,article,highlights\n"a\tb",c,d\n', ["a.csv:2", "id"]),
        ("a.csv", "article,highlights,article\na,b,c\n", ["a.csv:1", 2, "'article'"]),
        ("a.csv", "article,highlights\n", ["a.csv"]),
        ("a.csv", "", ["a.csv:1", "'article'"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, name, text, named):
    with toy.refused(*named):
        list(read(write(tmp_path, name, text)))


@pytest.mark.parametrize(
    ("name", "text"),
    [("A.CSV", 'article,highlights\n"a\nb",c\n'), ("A.JSONL", '{"article": "a\\nb", "highlights": "c"}\n')],
)
def test_the_case_of_a_suffix_does_not_matter(tmp_path, name, text):
    assert [(record.document, record.summary) for record in read(write(tmp_path, name, text))] == [("a\nb", "c")]


def test_the_id_zero_is_kept(tmp_path):
    text = "".join(f'{{"id": {name}, "article": "a"}}\n' for name in ("1", "0", '""'))
    path = write(tmp_path, "a.jsonl", text)
    assert [record.name for record in read(path, summaries=False)] == ["1", "0", "2"]


def test_a_file_that_is_not_there(tmp_path):
    with toy.refused("none.csv"):
        list(read(tmp_path / "none.csv"))


def test_bad_records_are_skipped_and_counted_on_request(tmp_path, caplog):
    path = write(tmp_path, "a.csv", "article,highlights\na,b\n,c\nd\ne,f\n")
    with caplog.at_level(logging.WARNING):
        assert [record.document for record in read(path, skip_bad_rows=True)] == ["a", "e"]
    assert "2 bad rows left out, the first is line 3" in caplog.text


def test_bad_records_are_counted_if_only_the_first_records_are_requested(tmp_path, caplog):
    path = write(tmp_path, "a.csv", "article,highlights\n,b\na,b\nc,d\n")
    with caplog.at_level(logging.WARNING):
        assert len(list(itertools.islice(read(path, skip_bad_rows=True), 1))) == 1
    assert "1 bad rows left out, the first is line 2" in caplog.text


def test_splits_are_found_by_their_usual_names(tmp_path):
    for name in ("train.csv", "validation.jsonl", "test.tsv"):
        write(tmp_path, name, "x")
    assert [locate(tmp_path, split).name for split in ("train", "valid", "test")] == [
        "train.csv", "validation.jsonl", "test.tsv",
    ]  # fmt: skip
    assert locate(tmp_path / "train.csv", "valid").name == "train.csv", "a single file holds all splits"


def test_a_missing_or_doubled_split_is_an_error(tmp_path):
    with toy.refused("valid.csv"):
        locate(tmp_path, "valid")
    for name in ("valid.csv", "dev.csv"):
        write(tmp_path, name, "x")
    with toy.refused("valid.csv", "dev.csv"):
        locate(tmp_path, "valid")


def test_the_split_of_a_text_is_uniform_and_stable():
    shares = [share(f"document {i}") for i in range(2000)]
    assert share("a text") == share("a text") and 0 <= min(shares) and max(shares) < 1
    assert sum(value < 0.1 for value in shares) == pytest.approx(200, abs=65)


def test_skipped_records_keep_their_numbers(tmp_path):
    path = write(tmp_path, "a.csv", "article,highlights\na,b\n,c\nd,e\n")
    assert [record.name for record in read(path, skip_bad_rows=True)] == ["0", "2"]


def test_a_summary_that_is_not_text_is_refused(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"article": "a", "highlights": ["b"]}\n')
    with toy.refused("a.jsonl:1", "'highlights'"):
        list(read(path, summaries=False))
    path = write(tmp_path, "b.jsonl", '{"article": "a", "highlights": null}\n')
    assert [record.summary for record in read(path, summaries=False)] == [None]


def test_a_json_array_and_a_blank_after_the_comma(tmp_path):
    expected = [("a", "b"), ("c", "d")]
    array = write(tmp_path, "a.json", '[{"article": "a", "highlights": "b"},\n{"article": "c", "highlights": "d"}]')
    blanks = write(tmp_path, "a.csv", 'article, highlights\na, b\nc, "d"\n')
    for path in (array, blanks):
        assert [(record.document, record.summary) for record in read(path)] == expected


def test_of_several_usual_columns_the_first_is_read_and_a_named_one_before_all(tmp_path):
    path = write(tmp_path, "a.csv", "text,summary,document,article,highlights\n1,2,3,4,5\n")
    assert [(r.document, r.summary) for r in read(path)] == [("4", "5")]
    assert [(r.document, r.summary) for r in read(path, Columns("text", "summary"))] == [("1", "2")]


def test_a_column_that_was_asked_for_must_exist_even_where_summaries_are_optional(tmp_path):
    path = write(tmp_path, "a.csv", "article\na\n")
    with toy.refused("a.csv:1", "'short'", "--summary-column"):
        list(read(path, Columns(summary="short"), summaries=False))


def test_a_tab_separated_row_of_another_length_explains_quoting(tmp_path):
    with toy.refused("a.tsv:2", ".csv"):
        list(read(write(tmp_path, "a.tsv", "article\thighlights\na\n")))
    with toy.refused("a.csv:2", "1 columns, 2 expected") as refusal:
        list(read(write(tmp_path, "a.csv", "article,highlights\na\n")))
    assert ".tsv" not in str(refusal.value)


def test_a_file_whose_records_are_all_bad_is_refused(tmp_path):
    with toy.refused("a.csv"):
        list(read(write(tmp_path, "a.csv", "article,highlights\n,b\n"), skip_bad_rows=True))


@pytest.mark.parametrize("text, expected", [("a", 0.79137), ("", 0.88942)])
def test_the_share_of_a_text_does_not_change(text, expected):
    assert share(text) == pytest.approx(expected, abs=1e-4)


def test_a_folder_may_have_a_split_of_another_name(tmp_path):
    write(tmp_path, "extra.csv", "x")
    assert locate(tmp_path, "extra").name == "extra.csv"
    with toy.refused(tmp_path / "gone"):
        locate(tmp_path / "gone", "train")

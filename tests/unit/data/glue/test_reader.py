"""GLUE's files, well-formed and malformed."""

import logging
import time

import numpy as np
import pytest
import toy

from plugins.data.glue import reader, specs

RTE, COLA, STSB = (specs.SPECS[name] for name in ("RTE", "CoLA", "STS-B"))
HEADER = "index\tsentence1\tsentence2\tlabel\n"
ROW = "0\tA b.\tC d.\tentailment\n"


def read(tmp_path, content, spec=RTE, split="train", name="train.tsv", **options):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return reader.read(path, spec, split, **options)


def test_a_quote_inside_a_sentence_is_text(tmp_path):
    row = '0\t"To be, he said.\tHe said "" it.\tentailment\n1\tx\ty"\tnot_entailment\n'
    found = read(tmp_path, HEADER + row)
    assert found.texts == [['"To be, he said.', "x"], ['He said "" it.', 'y"']]
    assert found.labels.tolist() == [0, 1]


def test_a_byte_order_mark_and_crlf_are_removed(tmp_path):
    found = read(tmp_path, b"\xef\xbb\xbf" + (HEADER + ROW).replace("\n", "\r\n").encode())
    assert found.texts == [["A b."], ["C d."]]
    assert found.labels.tolist() == [0]


def test_only_line_feeds_end_a_line(tmp_path):
    found = read(tmp_path, HEADER + "0\ta\u2028b\x0bc\x85d\te\tentailment\n")
    assert found.texts[0] == ["a\u2028b\x0bc\x85d"]


def test_cola_has_no_header_but_for_its_test_split(tmp_path):
    found = read(tmp_path, "gj04\t1\t\tIt sails.\ngj04\t0\t*\tIt sail.\n", COLA)
    assert (found.texts, found.labels.tolist()) == ([["It sails.", "It sail."]], [1, 0])
    test = read(tmp_path, "index\tsentence\n7\tIt sails.\n", COLA, "test")
    assert (test.texts, test.labels, test.index) == ([["It sails."]], None, ["7"])


def test_columns_are_found_by_name_in_any_order(tmp_path):
    found = read(tmp_path, "label\tsentence2\tother\tsentence1\nentailment\tsecond\tx\tfirst\n")
    assert found.texts == [["first"], ["second"]]


def test_scores_are_read_without_scaling(tmp_path):
    found = read(tmp_path, "sentence1\tsentence2\tscore\na\tb\t5.000\nc\td\t2.4\n", STSB)
    assert found.labels.dtype == np.float64
    assert found.labels.tolist() == pytest.approx([5, 2.4])


def test_the_full_diagnostics_have_names_of_their_own(tmp_path):
    text = "Lexical Semantics\tDomain\tPremise\tHypothesis\tLabel\n\tNews\ta\tb\tneutral\n"
    found = read(tmp_path, text, specs.SPECS["AX"], "valid")
    assert (found.texts, found.labels.tolist()) == ([["a"], ["b"]], [1])


def test_a_test_split_with_placeholder_labels_is_unlabeled(tmp_path):
    assert read(tmp_path, HEADER + "0\ta\tb\t-1\n", split="test").labels is None


@pytest.mark.parametrize(
    "row, named",
    [
        ("1\tonly one\n", [2, 4]),
        ("1\ta\tb\tc\tentailment\n", [5, 4]),
        ("1\ta\tb\tperhaps\n", ["'perhaps'"]),
        ("1\ta\tb\t\n", []),
        ("\n", [1, 4]),
    ],
)
def test_a_bad_row_is_an_error_with_file_and_line_or_left_out_and_counted(tmp_path, caplog, row, named):
    content = HEADER + ROW + row + ROW
    with toy.refused("train.tsv:3", *named, "--skip-bad-rows"):
        read(tmp_path, content)
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path, content, skip_bad_rows=True)
    assert (len(found.index), found.skipped) == (2, 1)
    assert "1 bad rows left out, the first is line 3" in caplog.text


def test_rows_without_an_id_are_numbered_in_file_order(tmp_path):
    content = "sentence1\tsentence2\na\tb\nonly this\nc\td\n"
    assert read(tmp_path, content, split="test", skip_bad_rows=True).index == ["0", "2"]


@pytest.mark.parametrize("score", ["high", "5.1", "-0.5", "nan"])
def test_a_score_off_the_scale_is_an_error(tmp_path, score):
    with toy.refused("train.tsv:2"):
        read(tmp_path, f"sentence1\tsentence2\tscore\na\tb\t{score}\n", STSB)


def test_a_missing_column_is_an_error_that_names_it(tmp_path):
    with toy.refused("train.tsv:1", "'sentence2'", "'label'"):
        read(tmp_path, "index\tsentence1\n0\ta\n")


def test_invalid_utf8_is_an_error_with_its_line(tmp_path):
    with toy.refused("train.tsv:2"):
        read(tmp_path, HEADER.encode() + b"0\t\xff\tb\tentailment\n")


def test_an_empty_file_is_an_error(tmp_path):
    with toy.refused():
        read(tmp_path, HEADER)


def own(name):
    files = {"train": name}
    return specs.GlueSpec("own", files, ("text",), "mood", ("0", "1"), ("accuracy",), "accuracy")


def test_csv_has_quoting(tmp_path):
    found = read(tmp_path, 'mood,text\n1,"a, ""b""\nc"\n0,d\n', own("t.csv"), name="t.csv")
    assert (found.texts, found.labels.tolist()) == ([['a, "b"\nc', "d"]], [1, 0])


def test_json_lines(tmp_path):
    found = read(tmp_path, '{"text": "a\\tb", "mood": 1}\n{"text": "c", "mood": "0"}\n', own("t.jsonl"), name="t.jsonl")
    assert (found.texts, found.labels.tolist()) == ([["a\tb", "c"]], [1, 0])


def test_a_json_array(tmp_path):
    content = '[{"text": "a", "mood": 1},\n {"text": "c", "mood": "0"}]'
    found = read(tmp_path, content, own("t.json"), name="t.json")
    assert (found.texts, found.labels.tolist()) == ([["a", "c"]], [1, 0])


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("text,mood,mood", "columns 2 and 3"),
        ("text,text,mood", "columns 1 and 2"),
        ("text,Mood,MOOD", "columns 2 and 3"),
        ("index,index,text,mood", "columns 1 and 2"),
    ],
)
def test_two_columns_that_match_are_an_error(tmp_path, header, columns):
    with toy.refused("t.csv:1", columns):
        read(tmp_path, f"{header}\n{','.join('1' for _ in header.split(','))}\n", own("t.csv"), name="t.csv")


def test_the_column_with_exactly_the_name_is_taken(tmp_path):
    for header in ("text,Mood,mood", "text,MOOD,mood"):
        assert read(tmp_path, f"{header}\na,1,0\n", own("t.csv"), name="t.csv").labels.tolist() == [0]
    assert read(tmp_path, "text,Mood\na,1\n", own("t.csv"), name="t.csv").labels.tolist() == [1]


def test_a_blank_after_the_comma_is_not_part_of_a_name(tmp_path):
    found = read(tmp_path, 'mood, text\n1, "a, b"\n', own("t.csv"), name="t.csv")
    assert (found.texts, found.labels.tolist()) == ([["a, b"]], [1])


@pytest.mark.parametrize(("name", "delimiter", "named"), [("t.csv", ";", "semicolon"), ("t.tsv", ",", "comma")])
def test_another_delimiter_is_named(tmp_path, name, delimiter, named):
    with toy.refused(f"{name}:1", named):
        read(tmp_path, f"mood{delimiter}text\n1{delimiter}a\n", own(name), name=name)


@pytest.mark.parametrize("key", ["1\\t2\\n3", "=HYPERLINK(1)", "@x", "+a", "\\u001b[2J", "\\u2028"])
@pytest.mark.parametrize("column", ["index", "id"])
def test_names_of_rows_that_would_break_a_table_are_refused(tmp_path, column, key):
    with toy.refused("t.jsonl:1"):
        read(tmp_path, f'{{"text": "a", "mood": 1, "{column}": "{key}"}}\n', own("t.jsonl"), name="t.jsonl")


@pytest.mark.parametrize("key", ["-1", "+1.5", "a|b", "é", "a=b"])
def test_other_names_of_rows_are_accepted(tmp_path, key):
    content = f'{{"text": "a", "mood": 1, "id": "{key}"}}\n'
    assert read(tmp_path, content, own("t.jsonl"), name="t.jsonl").index == [key]


def test_a_label_of_a_megabyte_is_cut_in_the_error(tmp_path):
    with toy.refused("t.jsonl:1") as error:
        read(tmp_path, f'{{"text": "a", "mood": "{"x" * 10**6}"}}\n', own("t.jsonl"), name="t.jsonl")
    assert len(str(error.value)) < 600


def test_the_time_does_not_depend_on_the_number_of_labels(tmp_path):
    labels = tuple(map(str, range(20_000)))
    spec = specs.GlueSpec("own", {"train": "t.tsv"}, ("text",), "mood", labels, ("accuracy",), "accuracy")
    content = "text\tmood\n" + "".join(f"a\t{label}\n" for label in labels)
    start = time.process_time()
    assert read(tmp_path, content, spec, name="t.tsv").labels.tolist() == list(range(20_000))
    assert time.process_time() - start < 2  # 10 s, were each label searched for in a tuple


@pytest.mark.parametrize("row", ["{", "[1]", '{"mood": 1}'])
def test_bad_json_rows(tmp_path, row):
    with toy.refused("t.jsonl:1"):
        read(tmp_path, row + "\n", own("t.jsonl"), name="t.jsonl")


def test_a_split_is_found_in_the_tasks_folder_or_in_the_given_one(tmp_path):
    (tmp_path / "RTE").mkdir()
    path = tmp_path / "RTE" / "dev.tsv"
    path.write_text(HEADER)
    assert reader.locate(tmp_path, RTE, "valid") == reader.locate(path.parent, RTE, "valid") == path
    with toy.refused("train.tsv"):
        reader.locate(tmp_path, RTE, "train")
    with toy.refused("'dev'"):
        reader.locate(tmp_path, RTE, "dev")


@pytest.mark.parametrize(
    "task, rows, second",
    [
        ("CoLA", {"train": 8551, "valid": 1043, "test": 1063}, 721),
        ("RTE", {"train": 2490, "valid": 277, "test": 3000}, 131),
        ("MRPC", {"train": 3668, "valid": 408, "test": 1725}, 263),
    ],
)
def test_official_files_have_the_expected_rows_and_labels(glue, task, rows, second):
    """``second``: how many of the validation rows have label id 1."""
    spec = specs.SPECS[task]
    found = {split: reader.read(reader.locate(glue, spec, split), spec, split) for split in rows}
    assert {split: len(part.index) for split, part in found.items()} == rows
    assert found["valid"].labels.sum() == second


def test_a_mismatched_test_split_may_be_unlabeled(tmp_path):
    mnli = specs.SPECS["MNLI"]
    for split in ("test", "test_mismatched"):
        found = read(tmp_path, "index\tsentence1\tsentence2\n3\ta\tb\n", mnli, split)
        assert (found.labels, found.index) == (None, ["3"])
    with toy.refused("train.tsv:1", "'gold_label'"):
        read(tmp_path, "index\tsentence1\tsentence2\n3\ta\tb\n", mnli, "valid_mismatched")


def test_the_tasks_folder_comes_before_the_root(tmp_path):
    (tmp_path / "RTE").mkdir()
    for folder in (tmp_path, tmp_path / "RTE"):
        (folder / "dev.tsv").write_text(HEADER)
    assert reader.locate(tmp_path, RTE, "valid") == tmp_path / "RTE" / "dev.tsv"


def test_an_index_column_precedes_an_id_column(tmp_path):
    content = "id\tsentence1\tsentence2\tlabel{}\n7\ta\tb\tentailment{}\n"
    assert read(tmp_path, content.format("", "")).index == ["7"]
    assert read(tmp_path, content.format("\tindex", "\t9")).index == ["9"]


def test_a_test_split_with_all_its_labels_is_labeled(tmp_path):
    assert read(tmp_path, HEADER + ROW + ROW, split="test").labels.tolist() == [0, 0]


@pytest.mark.parametrize(("written", "label"), [(True, 1), (False, 0)])
def test_json_booleans_are_labels_as_they_are_written(tmp_path, written, label):
    spec = specs.GlueSpec("own", {"train": "t.jsonl"}, ("text",), "mood", ("false", "true"), ("accuracy",), "accuracy")
    content = f'{{"text": "a", "mood": {str(written).lower()}}}\n'
    assert read(tmp_path, content, spec, name="t.jsonl").labels.tolist() == [label]


def test_a_row_of_the_hub_gets_the_tasks_own_names():
    rte, mrpc = specs.SPECS["RTE"], specs.SPECS["MRPC"]
    found = reader.from_hub({"premise": "a", "hypothesis": "b", "label": 1}, rte, {})
    assert (found["sentence1"], found["sentence2"]) == ("a", "b")
    found = reader.from_hub({"premise": "a", "sentence1": "c", "sentence2": "b", "label": 1}, rte, {})
    assert found["sentence1"] == "c"
    found = reader.from_hub({"sentence1": "a", "sentence2": "b", "label": 1}, mrpc, {})
    assert (found["#1 String"], found["#2 String"]) == ("a", "b")
    assert set(reader.from_hub({"sentence1": "a", "sentence2": "b", "other": "c", "label": 1}, rte, {})) == {
        "sentence1", "sentence2", "other", "label",
    }  # fmt: skip

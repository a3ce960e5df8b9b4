"""Columns of tables and JSON lines, found by their names; errors that name file and line."""

import json

import pytest
import toy

from plugins.diagnostics import columns

TABLE = "Question,SENTENCE,Label\nwhy,because,yes\nhow,so,no\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(TABLE)
    return path


def test_known_names_are_found_in_any_case_and_given_ones_win(table):
    assert columns.known_columns(table) == (("Question", "SENTENCE"), "Label")
    assert columns.known_columns(table, ("Label",), "Question") == (("Label",), "Question")


def test_the_first_known_group_of_columns_is_taken(tmp_path):
    row = {"tweet": "a", "target": "b", "score": "c", "text": "d"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    assert columns.known_columns(tmp_path / "x.jsonl") == (("text",), "target")


def test_a_single_column_of_texts_is_read(table):
    assert columns.read_texts(table) == ["because", "so"] and columns.read_texts(table, "Question") == ["why", "how"]
    with toy.refused("x.csv:2", "'answer'"):
        columns.read_texts(table, "answer")
    table.write_text("text\n")
    with toy.refused("x.csv"):
        columns.read_texts(table)


@pytest.mark.parametrize(("value", "named"), [({"body": "a"}, "an object"), (["a"], "an array"), (3, "a number")])
def test_a_value_that_is_not_a_text_is_shown_with_its_type(tmp_path, value, named):
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "a"}) + "\n" + json.dumps({"text": value}))
    with toy.refused("x.jsonl:2", "'text'", named):
        columns.read_texts(tmp_path / "x.jsonl")


def test_a_column_of_values(table, tmp_path):
    assert columns.read_column(table, "Label") == ["yes", "no"]
    with toy.refused("--slices year", "x.csv", "SENTENCE"):
        columns.read_column(table, "year")
    (tmp_path / "n.jsonl").write_text('{"n": 1}\n\n{"n": 2}\nbroken\n')
    with toy.refused("n.jsonl:4"):
        columns.read_column(tmp_path / "n.jsonl", "n")


def test_a_column_of_a_task_is_named_by_its_specification(tmp_path):
    from plugins.data.glue import specs

    (tmp_path / "train.tsv").write_text("gj04\t1\t\tgood one\nbc01\t0\t*\tbad one\n")
    spec = specs.find("CoLA")
    known = next(name for name in ("sentence", *spec.text))
    assert columns.read_column(tmp_path / "train.tsv", known, spec) == ["good one", "bad one"]
    (tmp_path / "train.tsv").write_text("gj04\t1\t\tgood one\nbc01\t0\n")
    with toy.refused("train.tsv:2"):
        columns.read_column(tmp_path / "train.tsv", known, spec)


def test_rows_have_their_line_numbers(table, tmp_path):
    assert [line for line, _ in columns.table_objects(table)] == [2, 3]
    (tmp_path / "n.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    assert list(columns.table_objects(tmp_path / "n.jsonl")) == [(1, {"n": 1}), (3, {"n": 2})]
    table.write_text(TABLE + "a,b\n")
    with toy.refused("x.csv:4", "2 columns", "3 expected"):
        list(columns.table_objects(table))

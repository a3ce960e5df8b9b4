"""Reading data sets from users, and errors that name file and line."""

import json

import numpy as np
import pytest
import toy

from plugins.data.glue import specs
from plugins.diagnostics import datasets


def test_files_are_splits_and_columns_are_found(tmp_path):
    (tmp_path / "train.csv").write_text('text,label\n"a, b",pos\nc,neg\n')
    (tmp_path / "test.csv").write_text("text,label\nd,pos\n")
    rows = datasets.read_files([tmp_path / "train.csv", tmp_path / "test.csv"])
    assert rows.texts == [["a, b", "c", "d"]] and rows.classes == ["neg", "pos"]
    assert rows.labels.tolist() == [1, 0, 1] and rows.splits.tolist() == [0, 0, 1]
    assert rows.split_names == ["train", "test"] and rows.index == ["0", "1", "0"]


def test_json_lines_of_pairs_with_numbers_as_labels(tmp_path):
    lines = [{"premise": "a", "hypothesis": "b", "gold_label": n} for n in (10, 2, 10)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = datasets.read_files([tmp_path / "x.jsonl"])
    assert rows.columns == ("premise", "hypothesis") and rows.classes == ["2", "10"]


def test_a_part_of_the_rows(tmp_path):
    (tmp_path / "x.tsv").write_text("text\tlabel\na\t0\nb\t1\nc\t0\n")
    part = datasets.read_files([tmp_path / "x.tsv"]).take(np.array([2, 1]))
    assert part.texts == [["c", "b"]] and part.labels.tolist() == [0, 1] and part.index == ["2", "1"]


def test_a_task_of_glue_with_a_test_split_without_labels(tmp_path):
    folder = tmp_path / "CoLA"
    folder.mkdir()
    (folder / "train.tsv").write_text("x\t1\t\tgood one\nx\t0\t*\tbad one\n")
    (folder / "test.tsv").write_text("index\tsentence\n0\tgood one\n")
    rows = datasets.read_task(tmp_path, specs.find("CoLA"))
    assert rows.split_names == ["train", "test"] and rows.labels.tolist() == [1, 0, -1]
    assert rows.classes == ["unacceptable", "acceptable"]


def test_scores_become_ranges():
    ids, classes = datasets.binned(np.array([0, 0.9, 1, 5, np.nan]), (0, 5), 5)
    assert ids.tolist() == [0, 0, 1, 4, -1] and classes[0] == "0-1"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("text\tlabel\na\t0\nb\n", "x.tsv:3"),
        ("text\tlabel\na\t0\nb\t\n", "x.tsv:3"),
        ("word\tlabel\na\t0\n", "--text"),
        ("text\tkind\na\t0\n", "--label"),
        ("text\tlabel\na\t0\nb\t0\n", "'0'"),
        ("text\tlabel\n", "x.tsv"),
        ("text\ttext\na\t0\n", "x.tsv:1"),
    ],
)
def test_bad_files_are_named(tmp_path, content, named):
    path = tmp_path / "x.tsv"
    path.write_text(content)
    with toy.refused(named):
        datasets.read_files([path])


@pytest.mark.parametrize("label", ['""', '" "', "null", '["a"]', '{"a": 1}'])
def test_a_row_without_a_label_is_named_by_its_line(tmp_path, label):
    (tmp_path / "x.jsonl").write_text(f'{{"text": "a", "label": 0}}\n{{"text": "b", "label": {label}}}\n')
    with toy.refused("x.jsonl:2", "'label'"):
        datasets.read_files([tmp_path / "x.jsonl"])


def test_unknown_columns_and_files_are_named(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("text\tlabel\na\t0\nb\t1\n")
    with toy.refused("x.tsv", "'mood'"):
        datasets.read_files([path], label="mood")
    with toy.refused("y.tsv"):
        datasets.read_files([tmp_path / "y.tsv"])
    with toy.refused("x.tsv"):
        datasets.read_files([path, path])


def test_lines_of_texts_are_classes(tmp_path):
    for name in ("a", "b"):
        lines = [f"{name} line number {i} with words" for i in range(30)] + ["too short"] * 5 + ["x " * 60]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    rows = datasets.read_lines([tmp_path / "a.txt", tmp_path / "b.txt"], 25, longest=40)
    assert np.bincount(rows.labels).tolist() == [25, 25] and rows.classes == ["a", "b"]
    pairs = list(zip(rows.texts[0], rows.labels, strict=True))
    assert all(text[0] in (rows.classes[k], "x") and len(text) <= 40 for text, k in pairs)
    with toy.refused("a.txt"):
        datasets.read_lines([tmp_path / "a.txt", tmp_path / "b.txt"], 100)


def test_exactly_as_many_lines_as_needed_are_enough(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} line number {i} with words\n" for i in range(10)))
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    assert len(datasets.read_lines(paths, 10)) == 20
    with toy.refused("a.txt", 10, 11):
        datasets.read_lines(paths, 11)
    with toy.refused("--lines"):
        datasets.read_lines(paths[:1], 10)
    with toy.refused("--lines"):
        datasets.read_lines([paths[0], paths[0]], 10)


def test_more_than_a_thousand_labels_are_not_classes():
    assert datasets.sorted_classes([str(i) for i in range(1000)])[-1] == "999"
    with toy.refused("1,001", "--label"):
        datasets.sorted_classes([str(i) for i in range(1001)])


def test_classes_that_are_numbers_are_sorted_by_size():
    assert datasets.sorted_classes(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert datasets.sorted_classes(["b", "10", "9"]) == ["10", "9", "b"]


def test_scores_of_a_table_are_a_regression_with_ranges_as_classes(tmp_path):
    (tmp_path / "x.tsv").write_text("text\tscore\na\t0\nb\t2.5\nc\t1\n")
    rows = datasets.read_files([tmp_path / "x.tsv"], bins=2)
    assert rows.scores.tolist() == [0, 2.5, 1] and rows.labels.tolist() == [0, 1, 0]
    assert rows.classes == ["0-1.25", "1.25-2.5"]
    assert rows.take(np.array([1])).scores.tolist() == [2.5]


@pytest.mark.parametrize("score", ["high", "nan", "inf"])
def test_a_score_that_is_no_number_is_named(tmp_path, score):
    (tmp_path / "x.tsv").write_text(f"text\tscore\na\t1\nb\t{score}\n")
    with toy.refused("x.tsv:3", score):
        datasets.read_files([tmp_path / "x.tsv"], bins=2)


def test_equal_scores_are_refused(tmp_path):
    (tmp_path / "x.tsv").write_text("text\tscore\na\t1\nb\t1.0\n")
    with toy.refused("x.tsv", "'score'"):
        datasets.read_files([tmp_path / "x.tsv"], bins=2)


def test_numbers_with_decimals_are_no_classes(tmp_path):
    (tmp_path / "x.tsv").write_text("text\tscore\na\t1\nb\t3.5\n")
    with toy.refused("3.5", "--scores"):
        datasets.check_not_scores(datasets.read_files([tmp_path / "x.tsv"]))


def test_whole_numbers_and_names_are_classes(tmp_path):
    for labels in ("0.0 1.0", "1.5 high"):
        a, b = labels.split()
        (tmp_path / "x.tsv").write_text(f"text\tlabel\na\t{a}\nb\t{b}\n")
        datasets.check_not_scores(datasets.read_files([tmp_path / "x.tsv"]))


def test_classes_that_differ_only_in_case_are_named_in_a_warning(tmp_path, caplog):
    (tmp_path / "train.csv").write_text("text,label\na,Pos\nb,pos\nc, neg \nd,neg\n")
    assert datasets.read_files([tmp_path / "train.csv"]).classes == ["Pos", "neg", "pos"]
    (record,) = caplog.records
    toy.names(record.getMessage(), tmp_path / "train.csv", "'Pos'", "'pos'")
    assert "neg" not in record.getMessage()


def test_columns_may_be_two_and_not_three(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\tc\tlabel\n1\t2\t3\tx\n4\t5\t6\ty\n")
    assert datasets.read_files([tmp_path / "x.tsv"], ("c", "a")).texts == [["3", "6"], ["1", "4"]]
    with toy.refused("--text a b c"):
        datasets.read_files([tmp_path / "x.tsv"], ("a", "b", "c"))
    with toy.refused("x.tsv", "'d'", "a, b, c"):
        datasets.read_files([tmp_path / "x.tsv"], ("d",))


@pytest.mark.parametrize("name", ["index", "id", "idx"])
def test_rows_are_named_by_the_file_or_by_their_number(tmp_path, name):
    (tmp_path / "x.tsv").write_text(f"text\tlabel\t{name}\na\t0\tr7\nb\t1\tr9\n")
    assert datasets.read_files([tmp_path / "x.tsv"]).index == ["r7", "r9"]


def test_files_of_the_same_name_are_splits_named_by_their_paths(tmp_path):
    paths = [tmp_path / "a" / "x.tsv", tmp_path / "b" / "x.tsv"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("text\tlabel\na\t0\nb\t1\n")
    assert datasets.read_files(paths).split_names == [str(path) for path in paths]


def test_a_column_that_a_later_row_lacks_is_named_by_its_line(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "a", "label": 0}\n{"label": 1}\n')
    with toy.refused("x.jsonl:2", "'text'"):
        datasets.read_files([tmp_path / "x.jsonl"])


def sts(folder):
    """A task of scores from 0 to 5 with three training rows and a test split without scores."""
    folder.mkdir()
    head = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
    row = "{}\tx\tx\tx\tx\tx\tx\tone {}\ttwo"
    lines = [head + "\tscore", *(row.format(i, i) + f"\t{score}" for i, score in enumerate((5, 2.5, 0)))]
    (folder / "train.tsv").write_text("\n".join(lines) + "\n")
    (folder / "test.tsv").write_text("\n".join([head, row.format(0, 0)]) + "\n")
    return specs.find("STS-B")


def test_a_regression_without_scores_in_a_split_has_nan_there(tmp_path):
    spec = sts(tmp_path / "STS-B")
    rows = datasets.read_task(tmp_path, spec)
    np.testing.assert_array_equal(rows.scores, [5, 2.5, 0, np.nan])
    assert rows.labels.tolist() == [4, 2, 0, -1] and rows.classes == ["0-1", "1-2", "2-3", "3-4", "4-5"]
    assert rows.texts[0][:2] == ["one 0", "one 1"] and rows.index == ["0", "1", "2", "0"]
    assert datasets.read_task(tmp_path, spec, bins=2).labels.tolist() == [1, 1, 0, -1]
    with toy.refused("--bins 1"):
        datasets.read_task(tmp_path, spec, bins=1)
    assert datasets.read_task(tmp_path, spec, ["test"]).split_names == ["test"]
    with toy.refused("dev"):
        datasets.read_task(tmp_path, spec, ["train", "dev"])
    (tmp_path / "STS-B" / "train.tsv").unlink()
    with toy.refused("train"):
        datasets.read_task(tmp_path, spec)


def test_malformed_rows_of_a_task_are_skipped_on_request(tmp_path):
    spec = sts(tmp_path / "STS-B")
    with (tmp_path / "STS-B" / "train.tsv").open("a") as file:
        file.write("3\tbroken\n")
    with toy.refused("train.tsv:5"):
        datasets.read_task(tmp_path, spec)
    assert len(datasets.read_task(tmp_path, spec, skip_bad_rows=True)) == 4


def test_a_part_keeps_the_splits_of_its_rows(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\na\t0\nb\t1\n")
    part = datasets.read_files([tmp_path / "train.tsv", tmp_path / "test.tsv"]).take(np.array([3, 0]))
    assert part.splits.tolist() == [1, 0] and part.split_names == ["train", "test"] and part.scores is None
    assert (part.columns, part.classes, len(part)) == (("text",), ["0", "1"], 2)


def test_lines_are_distinct_cut_at_a_space_and_drawn_by_the_seed(tmp_path):
    exact, longer = "a" * 27 + " b c d", "a" * 20 + " bb cc dd ee"  # 33 characters each
    for name in ("x", "y"):
        (tmp_path / f"{name}.txt").write_text(f"{exact}\n  {exact}  \n{longer}\none two three\nw x y z\n")
    paths = [tmp_path / "x.txt", tmp_path / "y.txt"]
    found = datasets.read_lines(paths, 3, longest=33)
    assert set(found.texts[0]) == {exact, longer, "w x y z"} and sorted(found.labels) == [0, 0, 0, 1, 1, 1]
    assert set(datasets.read_lines(paths, 2, longest=31).texts[0]) == {"a" * 20 + " bb cc dd", "w x y z"}
    assert found.index == list("012345") and found.splits.tolist() == [0] * 6 and found.split_names == ["train"]
    with toy.refused("x.txt", "3 lines", "4"):
        datasets.read_lines(paths, 4, longest=33)
    draws = [datasets.read_lines(paths, 2, 33, seed) for seed in (0, 0, *range(1, 6))]
    assert draws[0].texts == draws[1].texts and len({str(one.texts) for one in draws}) > 2
    assert len({str(one.labels.tolist()) for one in draws}) > 2, "rows of a class do not come together"


def test_numbers_of_equal_value_are_sorted_as_texts():
    assert datasets.sorted_classes(["1.0", "2", "1"]) == ["1", "1.0", "2"]

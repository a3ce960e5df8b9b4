"""Rows of an embedding task: shapes from a YAML file, tables, folders of texts, and errors."""

import embedding_runs as runs
import numpy as np
import pytest
import toy

from plugins.data.embedding import rows, specs
from plugins.data.glue import specs as glue

KINDS = ["labeled", "texts", "pairs", "triplets", "margins", "labeled pairs", "scored pairs"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_shape_is_read(tmp_path, kind):
    folder = runs.write_rows(tmp_path, kind, 3)
    spec = specs.read(str(folder / "spec.yaml"))
    found = rows.load(str(folder), spec, "train")
    assert spec.kind == {"labeled": "labeled texts", "margins": "triplets with margins"}.get(kind, kind)
    assert len(found) == 9 and all(len(column) == 9 for column in found.texts)
    assert len(found.texts) == len(spec.text)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("labeled", [1, 1, 1]),
        ("labeled pairs", [0, 1, 0]),
        ("margins", [1.5, 1.5, 1.5]),
        ("scored pairs", [1.0, 5.0, 1.0]),
        ("pairs", None),
    ],
)
def test_labels_are_ids_or_numbers(tmp_path, kind, labels):
    folder = runs.write_rows(tmp_path / kind, kind, 3)
    found = rows.load(str(folder), specs.read(str(folder / "spec.yaml")), "train")
    if labels is None:
        assert found.labels is None and found.names == []
    else:
        assert found.labels[3:6].tolist() == labels
        assert found.labels.dtype == (np.int64 if "labeled" in kind else np.float64)


def test_labels_are_ids_of_sorted_names(tmp_path):
    folder = runs.write_rows(tmp_path, "labeled", 2)
    found = rows.load(str(folder), specs.read(str(folder / "spec.yaml")), "valid")
    assert found.names == ["city", "sea", "wood"]
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("name", "kind"), [("CoLA", "labeled texts"), ("MRPC", "labeled pairs"), ("STS-B", "scored pairs")]
)
def test_glue_tasks_are_rows_too(name, kind):
    assert specs.of_glue(glue.find(name)).kind == kind


def test_cola_is_read_without_a_header(glue):
    spec = specs.of_glue(specs.glue.find("CoLA"))
    found = rows.load(str(glue), spec, "valid")
    assert found.names == ["0", "1"] and len(found) > 500


def test_labels_of_a_spec_are_in_its_order(tmp_path):
    spec = specs.RowSpec("t", {}, ("text",), "class", ("b", "a"))
    (tmp_path / "t.tsv").write_text("class\ttext\n a\tx\nb\ty\n")
    found = rows.read(tmp_path / "t.tsv", spec)
    assert (found.names, found.labels.tolist(), found.texts) == (["b", "a"], [1, 0], [["x", "y"]])
    (tmp_path / "t.tsv").write_text("class\ttext\nc\tx\n")
    with toy.refused("t.tsv:2", "'c'", "t has b, a", "--skip-bad-rows"):
        rows.read(tmp_path / "t.tsv", spec)


def test_json_lines_are_rows_with_numbers_or_texts(tmp_path):
    spec = specs.RowSpec("t", {}, ("a", "b"), "score", (), (0.0, 5.0))
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"a": "x", "b": "y", "score": 5}\n\n{"a": "x", "b": "y", "score": "0"}\n{"a": "x", "score": 1}\n'
        '{"a": "\\ud800", "b": "y", "score": 1}\n'
    )  # half a surrogate pair
    found = rows.read(path, spec, skip_bad_rows=True)
    assert (found.labels.tolist(), found.index, found.skipped) == ([5.0, 0.0], ["1", "3"], 2)


def test_a_text_of_another_type_is_shown_with_its_type(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": "x", "b": {"body": "y"}, "score": 1}\n')
    with toy.refused("t.jsonl:1", "'b'", "an object"):
        rows.read(tmp_path / "t.jsonl", specs.RowSpec("t", {}, ("a", "b"), "score", (), (0.0, 5.0)))


@pytest.mark.parametrize(
    ("score", "named"), [("[1]", "[1]"), ("null", "'score'"), ('""', "'score'"), ("-1", "0 and 5"), ('"inf"', "'inf'")]
)
def test_a_score_that_is_no_number_in_the_scale_is_named(tmp_path, score, named):
    (tmp_path / "t.jsonl").write_text(f'{{"a": "x", "b": "y", "score": {score}}}\n')
    with toy.refused("t.jsonl:1", named):
        rows.read(tmp_path / "t.jsonl", specs.RowSpec("t", {}, ("a", "b"), "score", (), (0.0, 5.0)))


def test_margins_without_a_scale_may_be_any_finite_number(tmp_path):
    spec = specs.RowSpec("t", {}, ("a", "b", "c"), "margin")
    (tmp_path / "t.tsv").write_text("a\tb\tc\tmargin\nx\ty\tz\t-1e9\n")
    assert rows.read(tmp_path / "t.tsv", spec).labels.tolist() == [-1e9]
    (tmp_path / "t.tsv").write_text("a\tb\tc\tmargin\nx\ty\tz\tinf\n")
    with toy.refused("t.tsv:2", "'inf'"):
        rows.read(tmp_path / "t.tsv", spec)


def test_left_out_rows_are_counted_in_a_warning(tmp_path, caplog):
    (tmp_path / "t.tsv").write_text("text\n \nx\ny\tz\n")
    assert len(rows.read(tmp_path / "t.tsv", specs.RowSpec("t", {}, ("text",)), skip_bad_rows=True)) == 1
    (record,) = caplog.records
    assert record.args[1:3] == (2, 2)  # two rows, the first in line 2


@pytest.mark.parametrize("content", ["text\n", "text\n \n"])
def test_a_file_without_usable_rows_is_named(tmp_path, content):
    (tmp_path / "t.tsv").write_text(content)
    with toy.refused("t.tsv"):
        rows.read(tmp_path / "t.tsv", specs.RowSpec("t", {}, ("text",)), skip_bad_rows=True)


def test_a_split_is_found_in_the_folder_of_the_task_first(tmp_path):
    spec = specs.RowSpec("t", {"train": "a.tsv", "test": "b.tsv"}, ("text",), folders=("T", "t"))
    (tmp_path / "t").mkdir()
    with toy.refused(tmp_path / "a.tsv", "t's train split"):
        rows.locate(str(tmp_path), spec, "train")
    for folder in (tmp_path, tmp_path / "t"):
        (folder / "a.tsv").touch()
        assert rows.locate(str(tmp_path), spec, "train") == folder / "a.tsv"
    with toy.refused("'valid'", "train, test"):
        rows.locate(str(tmp_path), spec, "valid")
    with toy.refused(tmp_path / "c.tsv"):
        rows.read(tmp_path / "c.tsv", spec)


def test_a_headless_split_uses_the_columns_of_its_spec(tmp_path):
    spec = specs.RowSpec("t", {}, ("text",), headless={"valid": ["id", "text"]})
    (tmp_path / "t.tsv").write_text("id\ttext\n1\tx\n")
    assert rows.read(tmp_path / "t.tsv", spec, "valid").texts == [["text", "x"]]
    assert rows.read(tmp_path / "t.tsv", spec).texts == [["x"]]


SPEC = "name: t\nfiles: {train: train.tsv}\ntext: [a, b]\nlabel: score\nscale: [0, 5]\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- a\n", "mapping"),
        (SPEC + "colour: red\n", "colour"),
        (SPEC.replace("name: t\n", ""), "'name'"),
        (SPEC.replace("[a, b]", "[a, b, c, d]"), "text"),
        (SPEC.replace("label: score", "label: a"), "'a'"),
        (SPEC.replace("[0, 5]", "[5, 0]"), "scale"),
        (SPEC.replace("[0, 5]", "[low, high]"), "scale"),
        (SPEC.replace("scale: [0, 5]\n", ""), "labels"),
        (SPEC + "labels: ['0', '1']\n", "labels"),
        (SPEC.replace("[a, b]", "a"), "score of one text"),
        (SPEC.replace("{train: train.tsv}", "{training: train.tsv}"), "files"),
        (SPEC.replace("{train: train.tsv}", "{test: test.tsv}"), "'train' or 'valid'"),
        (SPEC.replace("{train: train.tsv}", "[train.tsv]"), "files"),
        (SPEC.replace("files: {train: train.tsv}\n", ""), "'files'"),
        (SPEC.replace("text: [a, b]\n", ""), "'text'"),
        (SPEC.replace("[a, b]", "[a, a]"), "text"),
        (SPEC.replace("[a, b]", "{a: b}"), "text"),
        (SPEC.replace("[a, b]", "[a, [b]]"), "text"),
        (SPEC.replace("[0, 5]", "[0, 0]"), "scale"),
        (SPEC.replace("[0, 5]", "[0, 3, 5]"), "scale"),
        (SPEC.replace("label: score\n", ""), "label"),
        (SPEC.replace("label: score", "label: [score]"), "label"),
        (SPEC.replace("scale: [0, 5]", "labels: ['1']"), "two classes"),
    ],
)
def test_a_bad_spec_is_one_line_that_names_the_key(tmp_path, text, named):
    (tmp_path / "spec.yaml").write_text(text)
    with toy.refused("spec.yaml", named):
        specs.read(str(tmp_path / "spec.yaml"))


def test_a_spec_is_read_with_every_key(tmp_path):
    (tmp_path / "spec.yaml").write_text(
        "name: 7\nfiles: {valid: v.tsv}\ntext: a\nlabel: c\nlabels: [x, y]\nheadless: {valid: [a, c]}\nfolders: F\n"
        "metrics: [accuracy]\n"  # a key of GLUE specs, which has no meaning here
    )
    assert specs.read(str(tmp_path / "spec.yaml")) == specs.RowSpec(
        "7", {"valid": "v.tsv"}, ("a",), "c", ("x", "y"), (), {"valid": ["a", "c"]}, ("F",)
    )


def test_what_a_checkpoint_stores_of_a_spec():
    spec = specs.RowSpec("t", {}, ("a", "b"), "c", ("0", "1"))
    assert spec.plain() == {"name": "t", "kind": "labeled pairs", "labels": ["0", "1"]}


def test_a_glue_task_keeps_files_columns_and_folders():
    spec = specs.of_glue(glue.find("STS-B"))
    assert (spec.name, spec.text, spec.label, spec.scale) == ("STS-B", ("sentence1", "sentence2"), "score", (0.0, 5.0))
    assert spec.files["valid"] == "dev.tsv" and "STS-B" in spec.folders and spec.labels == ()
    assert specs.of_glue(glue.find("CoLA")).headless["train"][-1] == "sentence"


def test_only_the_mean_cosine_is_better_when_smaller():
    assert {name for names in specs.METRICS.values() for name in names} - set(specs.BETTER_HIGHER) == {"mean_cosine"}


@pytest.mark.parametrize(
    ("row", "named"),
    [("x\ty\t9", "'9'"), ("x\ty\tnan", "'nan'"), ("x\ty\thigh", "'high'"), ("x\t\t1", "'b'"), ("x\ty", "2 columns")],
)
def test_a_bad_row_is_named_by_its_line_and_can_be_left_out(tmp_path, row, named):
    (tmp_path / "spec.yaml").write_text(SPEC)
    path = tmp_path / "train.tsv"
    path.write_text(f"a\tb\tscore\ngood\tfine\t3\n{row}\n")
    spec = specs.read(str(tmp_path / "spec.yaml"))
    with toy.refused("train.tsv:3", named):
        rows.read(path, spec)
    found = rows.read(path, spec, skip_bad_rows=True)
    assert (found.labels.tolist(), found.skipped, found.index) == ([3.0], 1, ["2"])


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "train.tsv").write_text("a\tscore\nx\t1\n")
    with toy.refused("train.tsv:1", "'b'"):
        rows.load(str(tmp_path), specs.read(str(tmp_path / "spec.yaml")), "train")


def test_a_folder_of_texts_is_cut_into_passages_whose_last_tenth_is_for_validation(tmp_path):
    for name in ("poem", "recipe"):
        (tmp_path / f"{name}.txt").write_text(" ".join(f"{name}{i}" for i in range(85)))
    train, valid = (rows.load(str(tmp_path), specs.of_folder(), split, words=4) for split in ("train", "valid"))
    assert train.names == ["poem", "recipe"]
    assert (len(train), len(valid)) == (2 * 19, 2 * 2)  # 21 passages of 4 words each
    assert valid.texts[0][0] == "poem76 poem77 poem78 poem79"
    assert valid.index[0] == "poem:19"


def test_texts_are_a_folder_only_with_text_files(tmp_path):
    assert not rows.is_folder_of_texts(str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    assert rows.is_folder_of_texts(str(tmp_path)) and not rows.is_folder_of_texts(str(tmp_path / "a.txt"))


def test_a_folder_has_two_splits_of_passages_of_32_words(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("x " * 32 * 20)
    assert len(rows.read_folder(str(tmp_path), "valid")) == 4
    assert set(rows.load(str(tmp_path), specs.of_folder(), "train").texts[0]) == {" ".join("x" * 32)}
    with toy.refused(tmp_path, "'test'"):
        rows.read_folder(str(tmp_path), "test")
    (tmp_path / "b.txt").write_text("x " * (32 * 20 - 1))
    with toy.refused(tmp_path / "b.txt", 639, 32):
        rows.read_folder(str(tmp_path), "train")


@pytest.mark.parametrize(("files", "named"), [({"a": "x " * 900}, "1 files"), ({"a": "x " * 900, "b": "x"}, "b.txt")])
def test_a_folder_with_too_little_is_refused(tmp_path, files, named):
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    with toy.refused(named):
        rows.load(str(tmp_path), specs.of_folder(), "train")


def test_passages_have_the_class_of_their_file_and_their_place_in_it(tmp_path):
    for name in ("poem", "recipe"):
        (tmp_path / f"{name}.txt").write_text(" ".join(f"{name}{i}" for i in range(85)))
    train, valid = (rows.read_folder(str(tmp_path), split, words=4) for split in ("train", "valid"))
    assert train.labels.tolist() == [0] * 19 + [1] * 19 and valid.labels.tolist() == [0, 0, 1, 1]
    assert train.labels.dtype == np.int64 and train.names == valid.names == ["poem", "recipe"]
    assert train.index[:2] == ["poem:0", "poem:1"] and train.index[-1] == "recipe:18"
    assert train.texts[0][19] == "recipe0 recipe1 recipe2 recipe3" and train.skipped == 0


def test_only_the_rows_of_a_folder_of_texts_have_no_files(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("x " * 900)
    assert len(rows.load(str(tmp_path), specs.of_folder(), "valid")) == 4
    with toy.refused("'train'"):
        rows.load(str(tmp_path), specs.RowSpec("t", {}, ("text",), "class"), "train")
    (tmp_path / "t.tsv").write_text("text\tclass\nx\ty\n")
    named = specs.RowSpec(specs.FOLDER, {"train": "t.tsv"}, ("text",), "class")
    assert rows.load(str(tmp_path), named, "train").texts == [["x"]]

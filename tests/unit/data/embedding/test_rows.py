"""Rows of an embedding task: shapes from a YAML file, tables, folders of texts, and errors."""

import embedding_runs as runs
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
    ],
)
def test_a_bad_spec_is_one_line_that_names_the_key(tmp_path, text, named):
    (tmp_path / "spec.yaml").write_text(text)
    with toy.refused("spec.yaml", named):
        specs.read(str(tmp_path / "spec.yaml"))


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


@pytest.mark.parametrize(("files", "named"), [({"a": "x " * 900}, "1 files"), ({"a": "x " * 900, "b": "x"}, "b.txt")])
def test_a_folder_with_too_little_is_refused(tmp_path, files, named):
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    with toy.refused(named):
        rows.load(str(tmp_path), specs.of_folder(), "train")

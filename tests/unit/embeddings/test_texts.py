"""Inputs of the commands on embeddings."""

import gzip

import numpy as np
import pytest
import toy

from plugins.data.embedding import vectors
from plugins.embeddings import texts


def test_lines_that_are_not_blank_are_named_by_file_and_line(tmp_path):
    (tmp_path / "a.txt").write_text(" one \n\n \ntwo\n")
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n{"text": "  "}\n{"text": "four", "more": 1}\n')
    with gzip.open(tmp_path / "c.txt.gz", "wt") as file:
        file.write("five\n")
    names = ("a.txt", "b.jsonl", "c.txt.gz")
    found = [(name.removeprefix(f"{tmp_path}/"), text) for name, text in texts.lines([tmp_path / n for n in names])]
    assert found == [("a.txt:1", "one"), ("a.txt:4", "two"), ("b.jsonl:1", "three"), ("b.jsonl:3", "four"),
                     ("c.txt.gz:1", "five")]  # fmt: skip


@pytest.mark.parametrize("record", ["[1]", '{"title": "x"}', '{"text": 3}', "{"])
def test_a_record_without_text_is_named(tmp_path, record):
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n' + record + "\n")
    with toy.refused("b.jsonl:2"):
        list(texts.lines([tmp_path / "b.jsonl"]))


def folder(path):
    for name in ("river", "garden"):
        (path / f"{name}.txt").write_text(f"{name} " * 960)
    (path / "spec.yaml").write_text("name: own\nfiles: {train: t.tsv, valid: v.tsv}\ntext: a\nlabel: b\n")
    (path / "pairs.yaml").write_text("name: own\nfiles: {train: t.tsv, valid: v.tsv}\ntext: [a, b]\n")
    for name, text in (("t", "sea"), ("v", "tide")):
        (path / f"{name}.tsv").write_text(f"a\tb\n{text}\tx\n{text}s\ty\n")
    return str(path)


def test_labeled_texts_of_a_folder_or_a_spec(tmp_path):
    data = folder(tmp_path)
    assert len(texts.labeled(data)) == 6 and len(texts.labeled(data, words=8)) == 24  # the last tenth of each file
    assert len(texts.labeled(data, words=8, split="train")) == 216
    assert texts.labeled(data).names == ["garden", "river"]
    spec = f"{data}/spec.yaml"
    assert texts.labeled(data, spec).texts == [["tide", "tides"]]
    assert texts.labeled(data, spec, split="train").texts == [["sea", "seas"]]


def test_other_rows_are_refused(tmp_path):
    data = folder(tmp_path)
    with toy.refused("pairs"):
        texts.labeled(data, f"{data}/pairs.yaml")
    with toy.refused("RTE"):
        texts.labeled(data, task="RTE")
    with toy.refused("--spec", "--glue-task"):
        texts.labeled(data, f"{data}/spec.yaml", "CoLA")


def test_stored_vectors_are_those_of_the_texts(tmp_path):
    path = tmp_path / "v.npz"
    vectors.write(path, [(np.eye(2, dtype=np.float32), ["a", "b"], ["sea", "tide"])])
    assert texts.is_file_of_vectors(path) and not texts.is_file_of_vectors("checkpoints/npz")
    assert texts.stored(path, ("tide", "sea")).tolist() == [[0, 1], [1, 0]]

"""Parquet files and saved datasets: every layout gives the rows, and damaged files are one line that names them."""

import json
import random

import pytest
import toy

from plugins.data.glue import dataset as glue_dataset
from plugins.data.glue import reader as glue
from plugins.data.glue import specs
from plugins.data.summaries import reader as summaries
from plugins.data.text import columnar

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
ROWS = [{"text": f"text {i}", "label": i % 2} for i in range(2500)]


def table(rows, **classes):
    """Return a table with class names in its metadata, as the ``datasets`` library writes it."""
    features = {name: {"names": names, "_type": "ClassLabel"} for name, names in classes.items()}
    found = pa.Table.from_pylist(rows)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if classes else {}
    return found.replace_schema_metadata(metadata)


def write(path, rows, **classes):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        from pyarrow import parquet

        parquet.write_table(table(rows, **classes), path)
    else:
        found = table(rows, **classes)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, found.schema) as stream:
            stream.write_table(found)


LAYOUTS = {
    "file": ["train.parquet"],
    "parts": ["train-00000-of-00003.parquet", "train-00001-of-00003.parquet", "train-00002-of-00003.parquet"],
    "of the Hub": ["data/train-00000-of-00002-1a2b3c.parquet", "data/train-00001-of-00002-4d5e6f.parquet"],
    "saved": ["train/data-00000-of-00002.arrow", "train/data-00001-of-00002.arrow"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_all_rows_in_order(tmp_path, layout):
    names = LAYOUTS[layout]
    cuts = [len(ROWS) * i // len(names) for i in range(len(names) + 1)]
    order = list(range(len(names)))
    random.Random(0).shuffle(order)  # files of a folder have no order
    for i in order:
        write(tmp_path / names[i], ROWS[cuts[i] : cuts[i + 1]])
    if layout == "saved":
        (tmp_path / "train" / "state.json").write_text("{}")
    path = columnar.find(tmp_path, ("validation", "train"))
    assert path == tmp_path / names[0]
    assert list(columnar.records(path)) == list(enumerate(ROWS, 1))
    assert columnar.find(tmp_path, ("test",)) is None


def test_rows_of_a_large_file_are_read_one_batch_at_a_time(tmp_path, monkeypatch):
    write(tmp_path / "train.parquet", ROWS)
    sizes = []
    batches = columnar.batches
    monkeypatch.setattr(columnar, "batches", lambda path: (sizes.append(b.num_rows) or b for b in batches(path)))
    next(columnar.records(tmp_path / "train.parquet"))
    assert sizes == [columnar.ROWS_AT_ONCE]


@pytest.mark.slow
def test_a_folder_of_the_datasets_library(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the datasets library is not installed")
    features = datasets.Features(
        {"sentence1": datasets.Value("string"), "sentence2": datasets.Value("string"),
         "label": datasets.ClassLabel(names=["entailment", "not_entailment"]), "idx": datasets.Value("int32")}
    )  # fmt: skip
    rows = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "label": i % 2, "idx": i} for i in range(5)]
    split = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict(train=split, validation=split.select([3, 1])).save_to_disk(tmp_path / "rte")
    spec = specs.find("RTE")
    path = glue.locate(tmp_path, spec, "valid")
    found = glue.read(path, spec, "valid")
    assert found.texts == [["a 3", "a 1"], ["b 3", "b 1"]]
    assert found.labels.tolist() == [1, 1] and found.index == ["3", "1"]
    split.to_parquet(tmp_path / "other" / "train.parquet")
    assert glue.read(glue.locate(tmp_path / "other", spec, "train"), spec, "train").labels.tolist() == [0, 1, 0, 1, 0]


# GLUE

MRPC = [
    {"sentence1": "a", "sentence2": "b", "label": 1, "idx": 7},
    {"sentence1": "c", "sentence2": "d", "label": 0, "idx": 9},
]
HUB = {  # a task, its rows on the Hub, the names of its classes, and the ids that are expected
    "MRPC": (MRPC, ["not_equivalent", "equivalent"], [1, 0]),
    "RTE": (MRPC, ["entailment", "not_entailment"], [1, 0]),
    "MNLI": ([{"premise": "a", "hypothesis": "b", "label": 2}, {"premise": "c", "hypothesis": "d", "label": 0}],
             ["entailment", "neutral", "contradiction"], [2, 0]),
    "CoLA": ([{"sentence": "a", "label": 1}, {"sentence": "c", "label": 0}], ["unacceptable", "acceptable"], [1, 0]),
    "QQP": ([{"question1": "a", "question2": "b", "label": 1}, {"question1": "c", "question2": "d", "label": 0}],
            ["not_duplicate", "duplicate"], [1, 0]),
    "STS-B": ([{"sentence1": "a", "sentence2": "b", "label": 4.5}, {"sentence1": "c", "sentence2": "d", "label": 0.0}],
              None, [4.5, 0.0]),
}  # fmt: skip


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("task", HUB)
def test_tasks_of_glue_have_the_ids_of_their_labels(tmp_path, task, named):
    rows, names, expected = HUB[task]
    spec = specs.find(task)
    folder = tmp_path / task.lower().replace("-", "")
    classes = {"label": names} if named and names else {}
    write(folder / "train-00000-of-00001.parquet", rows, **classes)
    write(folder / "test.parquet", [row | {"label": -1.0 if task == "STS-B" else -1} for row in rows], **classes)
    found = glue.read(glue.locate(tmp_path, spec, "train"), spec, "train")
    assert found.labels.tolist() == expected
    assert [column[0] for column in found.texts] == ["a", "b"][: len(spec.text)]
    assert found.index == (["7", "9"] if "idx" in rows[0] else ["0", "1"])
    assert glue.read(glue.locate(tmp_path, spec, "test"), spec, "test").labels is None


def test_classes_in_another_order_are_matched_by_name(tmp_path):
    spec = specs.find("RTE")
    write(tmp_path / "train.parquet", MRPC, label=["not_entailment", "entailment"])
    assert glue.read(tmp_path / "train.parquet", spec, "train").labels.tolist() == [0, 1]
    write(tmp_path / "dev.parquet", MRPC, label=["yes", "no"])
    with toy.refused("dev.parquet:1", "no"):
        glue.read(tmp_path / "dev.parquet", spec, "valid")


def test_bad_rows_are_named_or_counted(tmp_path):
    spec = specs.find("CoLA")
    write(tmp_path / "train.parquet", [{"sentence": s, "label": i} for s, i in ((None, 1), ("a", 5), ("b", 1))])
    with toy.refused("train.parquet:1", "sentence"):
        glue.read(tmp_path / "train.parquet", spec, "train")
    found = glue.read(tmp_path / "train.parquet", spec, "train", skip_bad_rows=True)
    assert (found.skipped, found.texts) == (2, [["b"]])


def test_the_cache_depends_on_every_part(tmp_path):
    class Tokenizer:
        def fingerprint(self):
            return "x"

    spec = specs.find("CoLA")
    paths = [tmp_path / f"train-0000{i}-of-00002.parquet" for i in range(2)]
    for path in paths:
        write(path, HUB["CoLA"][0])
    before = glue_dataset.key(paths[0], spec, "train", Tokenizer(), False)
    write(paths[1], HUB["CoLA"][0] * 2)
    assert glue_dataset.key(paths[0], spec, "train", Tokenizer(), False) != before


# Summaries


def test_summaries(tmp_path):
    rows = [{"article": f"document {i}", "highlights": f"summary {i}", "id": f"n{i}"} for i in range(3)]
    write(tmp_path / "validation.parquet", rows)
    path = summaries.locate(str(tmp_path), "valid")
    found = list(summaries.read(path))
    assert [(r.line, r.name, r.document, r.summary) for r in found][1] == (2, "n1", "document 1", "summary 1")
    assert list(summaries.read(summaries.locate(str(path), "valid"))) == found


# Errors


@pytest.mark.parametrize("name", ["train.parquet", "train.arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a table" * 100], ids=["empty", "short", "text"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with toy.refused(str(tmp_path / name)):
        list(columnar.records(tmp_path / name))
    with toy.refused(str(tmp_path / name)):
        columnar.class_names(tmp_path / name)


def test_a_truncated_file_is_named(tmp_path):
    write(tmp_path / "train.parquet", ROWS)
    whole = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(whole[: len(whole) // 2])
    with toy.refused(str(tmp_path / "train.parquet")):
        list(columnar.records(tmp_path / "train.parquet"))


def test_a_missing_part_is_named(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", ROWS)
    with toy.refused("train-00000-of-00002.parquet", "part 1"):
        list(columnar.records(columnar.find(tmp_path, ("train",))))


DAMAGED = ["3", '{"_type": "ClassLabel"}', '{"_type": "ClassLabel", "names": [1]}']


@pytest.mark.parametrize("stored", ["{", "[]", *(f'{{"info": {{"features": {{"label": {x}}}}}}}' for x in DAMAGED)])
def test_damaged_class_names_are_one_line(tmp_path, stored):
    from pyarrow import parquet

    damaged = pa.Table.from_pylist(MRPC).replace_schema_metadata({"huggingface": stored})
    parquet.write_table(damaged, tmp_path / "a.parquet")
    with toy.refused("a.parquet"):
        columnar.class_names(tmp_path / "a.parquet")


def test_without_pyarrow_the_file_and_the_package_are_named(tmp_path, monkeypatch):
    import sys

    write(tmp_path / "train.parquet", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with toy.refused("train.parquet", "pyarrow"):
        list(columnar.records(tmp_path / "train.parquet"))


# Text


def test_a_dataset_becomes_a_folder_for_masked_lms(tmp_path, run_script):
    texts = toy.sentences(200, 1)
    for split, rows in (("train", texts), ("validation", texts[:40])):
        write(tmp_path / "hf" / f"{split}-00000-of-00001.parquet", [{"content": text} for text in rows])
        (tmp_path / f"{split}.txt").write_text("\n\n".join(rows))
    options = ["--vocab-size", 110, "--workers", 1, "-o"]
    run_script("prepare_mlm", "--hf-dataset", tmp_path / "hf", "--jsonl-key", "content", *options, tmp_path / "ours")
    given = ["--train", tmp_path / "train.txt", "--valid", tmp_path / "validation.txt"]
    run_script("prepare_mlm", *given, *options, tmp_path / "text")
    for name in ("dict.txt", "train.bin", "valid.bin", "valid.idx"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "text" / name).read_bytes(), name


def test_a_column_without_text_is_named_with_its_row(tmp_path):
    write(tmp_path / "train.parquet", [{"text": "a"}, {"text": None}])
    with toy.refused("train.parquet:2", "text"):
        columnar.write_json_lines(tmp_path / "train.parquet", "text", tmp_path / "out.jsonl")
    with toy.refused("train.parquet:1", "body", "--jsonl-key"):
        columnar.write_json_lines(tmp_path / "train.parquet", "body", tmp_path / "out.jsonl")
    with toy.refused("elsewhere"):
        columnar.splits(tmp_path / "elsewhere")

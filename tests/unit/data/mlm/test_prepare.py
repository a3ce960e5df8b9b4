"""The preparation of a data folder, in this process."""

import gzip
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import toy
from fairseq.data import Dictionary, data_utils

from plugins.data.mlm import corpus, prepare
from plugins.data.mlm.prepare import Preparation
from plugins.data.text import blocks
from plugins.data.text.tokenizers import SentencePieceTokenizer

DOCUMENTS = [f"the cat saw {n} dogs\nand {n} dogs saw the cat" for n in range(40)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 300)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "sentencepiece.bpe.model"
    tokenizer = SentencePieceTokenizer.train("\n".join(DOCUMENTS).split("\n"), 101, exact=False)
    path.write_bytes(tokenizer.files()[path.name])
    return path


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(DOCUMENTS))
    return tmp_path / "text.txt"


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lines_of(folder, split="train"):
    dictionary = Dictionary.load(f"{folder}/dict.txt")
    rows = data_utils.load_indexed_dataset(f"{folder}/{split}", dictionary, combine=True)
    return [dictionary.string(row, "sentencepiece") for row in rows if len(row) > 1]


@pytest.mark.parametrize("valid", [False, True])
def test_shards_prepared_separately_equal_those_of_one_call(tmp_path, text, model, valid):
    options = {"train": [text], "sentencepiece_model": model, "shards": 3} | ({"valid": [text]} if valid else {})
    one = Preparation(tmp_path / "one", **options)
    assert [report.documents for report in one.run()] == ([40, 40] if valid else [37, 3])
    for index in (2, 0):
        apart = Preparation(tmp_path / "apart", **options, shard_index=index)
        assert apart.run() == []
        assert not (tmp_path / "apart").exists()
    assert apart.unfinished() == 1
    assert Preparation(tmp_path / "apart", **options, shard_index=1).run()
    assert contents(tmp_path / "one") == contents(tmp_path / "apart")
    assert {"train.bin", "train1.bin", "train2.bin"} < set(contents(tmp_path / "one"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apart", "one", "text.txt"]


def test_the_data_sets_of_all_shards_are_the_text_once(tmp_path, text, model):
    Preparation(tmp_path / "data", [text], [text], sentencepiece_model=model, shards=3).run()
    assert lines_of(tmp_path / "data") == "\n".join(DOCUMENTS).split("\n")


def test_a_document_boundary_lies_between_two_shards(tmp_path, text, model):
    Preparation(tmp_path / "data", [text], [text], sentencepiece_model=model, shards=3).run()
    dictionary = Dictionary.load(f"{tmp_path}/data/dict.txt")
    sizes = [len(row) for row in data_utils.load_indexed_dataset(f"{tmp_path}/data/train", dictionary, combine=True)]
    assert sizes.count(1) == 39 and sizes[2::3] == [1] * 39


@pytest.mark.parametrize("trained", [False, True])
def test_a_killed_call_continues_with_the_missing_shards(tmp_path, text, model, monkeypatch, trained):
    options = {"train": [text], "shards": 3} | ({"vocab_size": 101} if trained else {"sentencepiece_model": model})
    Preparation(tmp_path / "whole", **options).run()
    encode, made = prepare.encode_shard, []

    def killed(folder, *arguments):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(encode(folder, *arguments))

    monkeypatch.setattr(prepare, "encode_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        Preparation(tmp_path / "data", **options).run()
    assert Preparation(tmp_path / "data", **options).unfinished() == 1
    made.clear()
    Preparation(tmp_path / "data", **options).run()
    assert len(made) == 1
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")


def test_shards_of_other_settings_or_files_are_not_continued(tmp_path, text, model):
    options = {"train": [text], "sentencepiece_model": model, "shards": 2}
    Preparation(tmp_path / "data", **options, shard_index=0).run()
    with toy.refused(f"{tmp_path}/data.shards", "seed"):
        Preparation(tmp_path / "data", **options, shard_index=1, seed=2).run()
    os.utime(text, (1, 1))
    with toy.refused(f"{tmp_path}/data.shards", "files"):
        Preparation(tmp_path / "data", **options, shard_index=1).run()


def test_a_foreign_folder_is_not_used_for_shards(tmp_path, text, model):
    (tmp_path / "data.shards").mkdir()
    (tmp_path / "data.shards" / "thesis.tex").touch()
    with toy.refused(f"{tmp_path}/data.shards"):
        Preparation(tmp_path / "data", [text], sentencepiece_model=model, shards=2).run()


def test_a_bad_file_does_not_delete_complete_shards(tmp_path, text, model):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"\n\n".join([b"caf\xe9"] * 200))
    settings = Preparation(tmp_path / "data", [text, bad], [text], sentencepiece_model=model, shards=2)
    with toy.refused(f"{bad}:1"):
        settings.run()
    assert settings.unfinished() == 1 and not (tmp_path / "data").exists()


def test_a_record_is_an_item(tmp_path, model):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS))
    files = [tmp_path / "a.jsonl"]
    Preparation(tmp_path / "data", files, files, items="documents", sentencepiece_model=model).run()
    dictionary = Dictionary.load(f"{tmp_path}/data/dict.txt")
    rows = data_utils.load_indexed_dataset(f"{tmp_path}/data/train", dictionary)
    found = [dictionary.string(row, "sentencepiece") for row in rows]
    assert found == [document.replace("\n", " ") for document in DOCUMENTS]  # the model has a blank for a line break


@pytest.mark.parametrize(("mode", "kept"), [(None, 43), ("exact", 41), ("near", 40)])
def test_duplicates_are_dropped_from_training_and_counted(tmp_path, model, mode, kept):
    long = [f"{' '.join(str(n * k) for k in range(1, 90))} {document}" for n, document in enumerate(DOCUMENTS)]
    train, valid = tmp_path / "a.txt", tmp_path / "b.txt"
    train.write_text("\n\n".join([*long, long[3], long[4].upper(), long[5] + " end"]))
    valid.write_text("\n\n".join([long[3], long[3]]))
    reports = Preparation(
        tmp_path / "data", [train], [valid], deduplicate=mode, sentencepiece_model=model, shards=2
    ).run()
    assert [report.documents for report in reports] == [kept, 2]
    counted = json.loads((tmp_path / "data" / "manifest.json").read_text())["duplicates"]
    assert counted == {None: None, "exact": {"exact": 2, "near": 0}, "near": {"exact": 2, "near": 1}}[mode]


def test_folders_and_compressed_files_are_read_like_plain_ones(tmp_path, text, model):
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "0.txt.gz").write_bytes(gzip.compress("\n\n".join(DOCUMENTS[:20]).encode()))
    (tmp_path / "many" / "1.txt").write_text("\n\n".join(DOCUMENTS[20:]))
    (tmp_path / "many" / "notes.pdf").write_text("not text")
    for name, source in (("one", text), ("two", tmp_path / "many")):
        Preparation(tmp_path / name, [source], sentencepiece_model=model).run()
    one, two = (contents(tmp_path / name) for name in ("one", "two"))
    assert {name for name in one if one[name] != two[name]} == {"manifest.json"}


def test_a_truncated_archive_writes_no_files(tmp_path, model):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("\n\n".join(DOCUMENTS).encode())[:-50])
    with toy.refused(path):
        Preparation(tmp_path / "data", [path], sentencepiece_model=model).run()
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt.gz"]


def test_the_manifest_describes_what_was_read_and_written(tmp_path, text, model):
    Preparation(tmp_path / "data", [text], [text], sentencepiece_model=model).run()
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    digest = sha256(text)
    assert manifest["sources"]["train"] == [
        {"file": str(text), "start": 0, "bytes": text.stat().st_size, "sha256": digest}
    ]
    assert manifest["tokenizer"]["files"] == {model.name: sha256(model)}
    assert manifest["splits"][0] | {"unknown": 0} == manifest["splits"][1] | {"split": "train", "unknown": 0}
    assert manifest["train_shards"][0]["items"] == 119  # 80 lines and 39 separators
    for name, record in manifest["files"].items():
        assert record["sha256"] == sha256(tmp_path / "data" / name), name


def test_a_pipe_is_read_once_and_not_divided(tmp_path, model):
    for shards in (1, 2):
        reader, writer = os.pipe()
        os.write(writer, "\n\n".join(DOCUMENTS).encode())
        os.close(writer)
        settings = Preparation(tmp_path / "data", [f"/dev/fd/{reader}"], sentencepiece_model=model, shards=shards)
        if shards == 1:
            assert [report.documents for report in settings.run()] == [38, 2]
        else:
            with toy.refused(f"/dev/fd/{reader}", "--shards"):
                Preparation(tmp_path / "two", [f"/dev/fd/{reader}"], sentencepiece_model=model, shards=2).run()
        os.close(reader)


def test_more_shards_than_documents_are_no_error(tmp_path, model):
    (tmp_path / "a.txt").write_text("one cat\n\ntwo dogs")
    files = [tmp_path / "a.txt"]
    reports = Preparation(tmp_path / "data", files, files, sentencepiece_model=model, shards=20).run()
    assert [report.documents for report in reports] == [2, 2]
    assert len(lines_of(tmp_path / "data")) == 2


def test_lines_of_a_document_stay_together_across_blocks(tmp_path, text, model, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 20)
    Preparation(tmp_path / "data", [text], sentencepiece_model=model, valid_fraction=0.5).run()
    train, valid = (
        ["\n".join(pair) for pair in zip(lines[::2], lines[1::2], strict=True)]
        for lines in (lines_of(tmp_path / "data"), lines_of(tmp_path / "data", "valid"))
    )
    assert len(valid) == 20 and sorted(train + valid) == sorted(DOCUMENTS)
    assert train == [document for document in DOCUMENTS if document in train]


def test_documents_of_each_shard_are_held_out_at_other_places(tmp_path, model):
    """Three shards of 40 documents of the same length."""
    documents = [f"the cat saw {n:03d} dogs" for n in range(120)]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    Preparation(tmp_path / "data", [tmp_path / "a.txt"], sentencepiece_model=model, shards=3, valid_fraction=0.25).run()
    held = [documents.index(line) for line in lines_of(tmp_path / "data", "valid")]
    first, second = ({n % 40 for n in held if n // 40 == shard} for shard in (0, 1))
    assert len(held) == 30 and first != second


def test_the_fraction_is_of_the_documents_that_are_kept(tmp_path, model):
    (tmp_path / "a.txt").write_text("\n\n".join(DOCUMENTS + DOCUMENTS[:20]))
    settings = {"sentencepiece_model": model, "valid_fraction": 0.5, "deduplicate": "exact"}
    reports = Preparation(tmp_path / "data", [tmp_path / "a.txt"], **settings).run()
    assert [report.documents for report in reports] == [20, 20]


def test_a_tokenizer_is_trained_on_the_training_documents_alone(tmp_path, text, monkeypatch):
    seen, train = [], SentencePieceTokenizer.train

    def spy(lines, size, **options):
        seen.append((list(lines), size, options))
        return train(lines, 101, exact=False)

    monkeypatch.setattr(prepare.SentencePieceTokenizer, "train", spy)
    Preparation(tmp_path / "data", [text], valid_fraction=0.25, seed=3).run()
    (lines, size, options) = seen[0]
    assert lines == lines_of(tmp_path / "data") and len(lines) == 60
    assert (size, options) == (8000, {"exact": False, "seed": 3})
    Preparation(tmp_path / "two", [text], [text], vocab_size=200).run()
    assert seen[1] == ("\n".join(DOCUMENTS).split("\n"), 200, {"exact": True, "seed": 1})


def test_a_shard_prepared_apart_surveys_its_own_text_alone(tmp_path, text, model, monkeypatch):
    seen, survey = [], prepare.Corpus.survey
    monkeypatch.setattr(prepare.Corpus, "survey", lambda self, folder, shards, sample: (
        seen.append((list(shards), sample)) or survey(self, folder, shards, sample)
    ))  # fmt: skip
    options = {"train": [text], "sentencepiece_model": model, "shards": 3}
    Preparation(tmp_path / "apart", **options, shard_index=1).run()
    Preparation(tmp_path / "one", **options).run()
    Preparation(tmp_path / "two", [text], [text], sentencepiece_model=model).run()  # needs no survey
    assert seen == [([1], False), ([0, 1, 2], False)]


def test_complete_shards_are_joined_by_one_process(tmp_path, text, model, monkeypatch):
    settings = Preparation(tmp_path / "data", [text], sentencepiece_model=model, shards=2)
    join = prepare.Shards.join_if_complete
    monkeypatch.setattr(prepare.Shards, "join_if_complete", lambda self: [])
    settings.run()
    monkeypatch.setattr(prepare.Shards, "join_if_complete", join)
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "try_lock", lambda folder: None)  # another process joins them
        assert settings.run() == [] and not (tmp_path / "data").exists()
    assert len(settings.run()) == 2


def test_a_shard_that_another_process_has_just_written_is_used(tmp_path, text, model, monkeypatch):
    settings = Preparation(tmp_path / "data", [text], sentencepiece_model=model, shards=2)
    encode = prepare.encode_shard

    def raced(folder, *arguments):
        encode(folder, *arguments)
        if not (tmp_path / "data.shards" / "00000").exists():
            shutil.copytree(folder, tmp_path / "data.shards" / "00000")

    monkeypatch.setattr(prepare, "encode_shard", raced)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", exists_already(Path.rename))
        assert [report.documents for report in settings.run()] == [38, 2]


def exists_already(rename):
    def checked(self, target):
        if Path(target).is_dir() and any(Path(target).iterdir()):
            raise FileExistsError(target)
        return rename(self, target)

    return checked


def test_shards_of_another_tokenizer_are_not_continued(tmp_path, text, model):
    Preparation(tmp_path / "data", [text], sentencepiece_model=model, shards=2, shard_index=0).run()
    with toy.refused(f"{tmp_path}/data.shards", "tokenizer"):
        Preparation(tmp_path / "data", [text], vocab_size=101, shards=2).run()


@pytest.mark.parametrize(
    ("changed", "value"), [("valid_fraction", 0.2), ("items", "documents"), ("deduplicate", "exact"), ("shards", 3)]
)
def test_every_setting_that_the_shards_depend_on_is_compared(tmp_path, text, model, changed, value):
    options = {"train": [text], "sentencepiece_model": model, "shards": 2, "shard_index": 0}
    Preparation(tmp_path / "data", **options).run()
    with toy.refused(f"{tmp_path}/data.shards", changed):
        Preparation(tmp_path / "data", **options | {changed: value}).run()


def test_a_folder_is_not_written_over_its_own_text(tmp_path, model):
    (tmp_path / "train.bin").write_text("\n\n".join(DOCUMENTS))
    with toy.refused(tmp_path / "train.bin"):
        Preparation(tmp_path, [tmp_path / "train.bin"], sentencepiece_model=model, force=True).run()
    assert Preparation("x", ["a"], ["b"], ["c"], sentencepiece_model="m").inputs() == ["a", "b", "c", "m"]
    assert Preparation("x", gpt2_dir="g").inputs() == [Path("g/encoder.json"), Path("g/vocab.bpe"), Path("g/dict.txt")]


def test_a_validation_file_in_the_folder_of_the_training_text_is_refused(tmp_path, model):
    (tmp_path / "texts").mkdir()
    for name in ("train.txt", "valid.txt"):
        (tmp_path / "texts" / name).write_text("one\n\ntwo")
    with toy.refused(tmp_path / "texts" / "valid.txt"):
        folder = tmp_path / "texts"
        Preparation(tmp_path / "data", [folder], [folder / "valid.txt"], sentencepiece_model=model).run()
    assert not (tmp_path / "data").exists()


def test_the_embedded_text_is_identified_by_its_digest(tmp_path, model, monkeypatch):
    monkeypatch.setattr(corpus, "embedded_corpus", lambda: iter(DOCUMENTS))
    reports = Preparation(tmp_path / "data", sentencepiece_model=model).run()
    assert [report.documents for report in reports] == [38, 2]
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    digest = hashlib.sha256("\n\n".join(DOCUMENTS).encode()).hexdigest()
    assert manifest["sources"]["train"] == [{"installed documentation": 40, "sha256": digest}]


def test_a_single_document_is_not_divided(tmp_path, model):
    (tmp_path / "a.txt").write_text("one cat")
    with toy.refused("--valid"):
        Preparation(tmp_path / "data", [tmp_path / "a.txt"], sentencepiece_model=model).run()


def test_a_test_split_is_written_from_its_own_files(tmp_path, text, model):
    (tmp_path / "test.txt").write_text(DOCUMENTS[5])
    reports = Preparation(tmp_path / "data", [text], [text], [tmp_path / "test.txt"], sentencepiece_model=model).run()
    assert [(report.split, report.documents) for report in reports] == [("train", 40), ("valid", 40), ("test", 1)]
    assert lines_of(tmp_path / "data", "test") == DOCUMENTS[5].split("\n")


def test_the_manifest_records_settings_and_sizes(tmp_path, text, model):
    Preparation(tmp_path / "data", [text], sentencepiece_model=model, seed=4).run()
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["settings"] == {
        "items": "lines", "jsonl_key": "text", "valid_fraction": None, "deduplicate": None, "shards": 1, "seed": 4,
    }  # fmt: skip
    assert manifest["format"] == 1 and manifest["duplicates"] is None
    sizes = {name: (tmp_path / "data" / name).stat().st_size for name in manifest["files"]}
    assert {name: row["bytes"] for name, row in manifest["files"].items()} == sizes
    assert sizes.keys() == {"dict.txt", "train.bin", "train.idx", "valid.bin", "valid.idx"}

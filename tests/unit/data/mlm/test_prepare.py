"""The preparation of a data folder, in this process."""

import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest
import toy
from fairseq.data import Dictionary, data_utils

from plugins.data.mlm import prepare
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
def test_shards_prepared_apart_are_those_of_one_call(tmp_path, text, model, valid):
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

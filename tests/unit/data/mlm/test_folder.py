import errno
import os
from collections import Counter
from pathlib import Path

import pytest
import toy
from fairseq.data import Dictionary, data_utils
from fairseq.data.token_block_dataset import TokenBlockDataset

from plugins.data.mlm import folder as mlm_folder
from plugins.data.mlm import streams
from plugins.data.mlm.folder import new_folder, split_documents, write_mlm_folder
from plugins.data.text.tokenizers import SentencePieceTokenizer

TRAIN = ["the cat sat on the mat\nthe dog sat on the log", "a cat met a dog"]
VALID = ["the log sat\non a cat"]


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePieceTokenizer.train("\n".join(TRAIN * 5).split("\n"), 101)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    output = tmp_path_factory.mktemp("mlm") / "data"
    write_mlm_folder(output, {"train": TRAIN, "valid": VALID}, tokenizer)
    return output


def load(folder, split):
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    return dictionary, data_utils.load_indexed_dataset(str(folder / split), dictionary)


def test_the_folder_contains_the_files_that_fairseq_reads(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "dict.txt", "sentencepiece.bpe.model", "train.bin", "train.idx", "valid.bin", "valid.idx",
    ]  # fmt: skip


def test_each_line_is_what_fairseq_would_encode(folder, tokenizer):
    dictionary, dataset = load(folder, "valid")
    for row, line in zip(dataset, ["the log sat", "on a cat"], strict=True):
        expected = dictionary.encode_line(" ".join(tokenizer.encode(line)), add_if_not_exist=False)
        assert row.tolist() == expected.tolist()


def test_documents_are_separated_by_a_lone_eos(folder):
    dictionary, dataset = load(folder, "train")
    assert [len(row) == 1 for row in dataset] == [False, False, True, False]
    assert dataset[2].tolist() == [dictionary.eos()]


def test_complete_doc_blocks_are_the_documents(folder):
    dictionary, dataset = load(folder, "train")
    blocks = TokenBlockDataset(
        dataset, dataset.sizes, 512, dictionary.pad(), dictionary.eos(), break_mode="complete_doc"
    )
    texts = [dictionary.string(block, "sentencepiece") for block in blocks]
    assert texts == ["the cat sat on the mat the dog sat on the log", "a cat met a dog"]


def test_the_dictionary_is_sorted_by_frequency_and_padded(folder):
    rows = [line.rsplit(" ", 1) for line in (folder / "dict.txt").read_text().splitlines()]
    counts = [int(count) for _, count in rows]
    assert counts == sorted(counts, reverse=True)
    assert (len(rows) + 4) % 8 == 0
    assert [symbol for symbol, _ in rows[97:]] == ["madeupword0000", "madeupword0001", "madeupword0002"]


def test_unused_pieces_have_embedding_rows(folder):
    assert "Z 0" in (folder / "dict.txt").read_text().splitlines()


def test_reports_count_documents_lines_tokens_and_unknowns(tokenizer, tmp_path):
    splits = {"train": ["a\na", "\u2603"], "valid": ["a"]}
    train, valid = write_mlm_folder(tmp_path / "data", splits, tokenizer)
    # train: "_ a </s>", "_ a </s>", "</s>", "_ <unk> </s>"; valid: "_ a </s>"
    assert (train.documents, train.lines, train.tokens, train.types, train.unknown) == (2, 3, 10, 2, 10.0)
    assert (valid.documents, valid.lines, valid.tokens, valid.types, valid.unknown) == (1, 1, 3, 2, 0.0)


def test_an_empty_split_is_refused(tokenizer, tmp_path):
    with toy.refused("valid"):
        write_mlm_folder(tmp_path / "data", {"train": TRAIN, "valid": []}, tokenizer)
    assert not list(tmp_path.iterdir())


def test_splitting_keeps_every_document_and_their_order():
    documents = [f"document {i}" for i in range(100)]
    train, valid = split_documents(documents, 0.05)
    assert (len(train), len(valid)) == (95, 5)
    assert sorted(train + valid) == sorted(documents)
    assert train == sorted(train, key=documents.index) and valid == sorted(valid, key=documents.index)


def test_splitting_depends_only_on_the_seed():
    documents = [f"document {i}" for i in range(100)]
    assert split_documents(documents, 0.05, seed=1) == split_documents(documents, 0.05, seed=1)
    assert split_documents(documents, 0.05, seed=1) != split_documents(documents, 0.05, seed=2)


def test_each_side_of_a_split_gets_a_document():
    assert [len(part) for part in split_documents(["one", "two"], 0.001)] == [1, 1]
    assert [len(part) for part in split_documents(["one", "two"], 0.999)] == [1, 1]


def test_a_single_document_cannot_be_split():
    with toy.refused("--valid"):
        split_documents(["one"], 0.5)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_the_existing_file(tmp_path, error):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dict.txt").write_text("old")
    with pytest.raises(error), new_folder(tmp_path / "data", force=True) as folder:
        (folder / "dict.txt").write_text("new")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / "dict.txt").read_text() == "old"


def test_force_replaces_an_earlier_folder_and_all_its_files(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.bin").write_text("old")
    with new_folder(tmp_path / "data", force=True) as folder:
        (folder / "dict.txt").write_text("new")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["data", "data/dict.txt"]


def test_force_deletes_only_data_folders(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with toy.refused("thesis.tex"), new_folder(tmp_path, force=True):
        pass


def test_a_nonempty_folder_requires_force(tmp_path):
    (tmp_path / "dict.txt").touch()
    with toy.refused("--force"), new_folder(tmp_path, force=False):
        pass


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "dict.txt").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("new")
    for name in ("link", "dangling"):
        with new_folder(tmp_path / name, force=True) as folder:
            (folder / "dict.txt").write_text("new")
        assert (tmp_path / name).is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "link", "new", "real"]
    assert (tmp_path / "real" / "dict.txt").read_text() == (tmp_path / "new" / "dict.txt").read_text() == "new"


def test_a_failed_swap_restores_the_old_folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dict.txt").write_text("old")
    rename = Path.rename

    def fail(self, target):
        if self.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with toy.refused(f"{tmp_path}/data"):
        with new_folder(tmp_path / "data", force=True) as folder:
            (folder / "dict.txt").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / "dict.txt").read_text() == "old"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, tokenizer, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mlm_folder, "join_shards", full)
    with toy.refused(f"{tmp_path}/data"):
        write_mlm_folder(tmp_path / "data", {"train": TRAIN}, tokenizer)
    assert not list(tmp_path.iterdir())


NOTHING = "\u200b"  # a line that the tokenizer has no symbol for


@pytest.mark.parametrize(
    "documents",
    [
        ["the cat\n" + NOTHING + "\na dog", "a cat"],
        [NOTHING + "\nthe cat\na dog\n" + NOTHING, NOTHING, "a cat"],
        [NOTHING, "the cat\na dog", NOTHING + "\n" + NOTHING, "a cat\n" + NOTHING, NOTHING],
    ],
)
def test_lines_without_symbols_vanish_and_separate_nothing(tmp_path, tokenizer, documents, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK", 4)  # a block for each document
    assert tokenizer.encode(NOTHING) == []
    write_mlm_folder(tmp_path / "data", {"train": documents}, tokenizer)
    dictionary, dataset = load(tmp_path / "data", "train")
    rows = [dictionary.string(row, "sentencepiece") if len(row) > 1 else None for row in dataset]
    assert rows == ["the cat", "a dog", None, "a cat"]


def test_a_split_without_symbols_is_refused(tmp_path, tokenizer):
    with toy.refused():
        write_mlm_folder(tmp_path / "data", {"train": TRAIN, "valid": [NOTHING]}, tokenizer)
    assert not list(tmp_path.iterdir())


def test_the_dictionary_counts_every_batch_of_lines(tmp_path, tokenizer, monkeypatch):
    write_mlm_folder(tmp_path / "one", {"train": TRAIN * 3}, tokenizer)
    monkeypatch.setattr(streams, "BLOCK", 4)  # a block for each document
    write_mlm_folder(tmp_path / "many", {"train": TRAIN * 3}, tokenizer)
    one, many = ((tmp_path / name / "dict.txt").read_text() for name in ("one", "many"))
    assert one == many
    encoded = [symbol for document in TRAIN * 3 for line in document.split("\n") for symbol in tokenizer.encode(line)]
    counts = {word: int(count) for word, count in (line.split(" ") for line in many.splitlines()) if int(count)}
    assert counts == Counter(encoded)


@pytest.mark.parametrize(("documents", "fraction", "held_out"), [(10, 0.26, 3), (10, 0.24, 2), (7, 0.5, 4)])
def test_the_fraction_is_rounded(documents, fraction, held_out):
    train, valid = split_documents(list(map(str, range(documents))), fraction)
    assert (len(train), len(valid)) == (documents - held_out, held_out)
    assert sorted(train + valid, key=int) == list(map(str, range(documents)))


def test_held_out_documents_depend_on_the_seed():
    documents = list(map(str, range(50)))
    first, again, other = (split_documents(documents, 0.2, seed)[1] for seed in (1, 1, 2))
    assert first == again != other


def test_a_folder_in_memory_is_encoded_in_this_process_and_replaces_nothing(tmp_path, tokenizer, monkeypatch):
    asked, ordered_map = [], mlm_folder.ordered_map
    monkeypatch.setattr(
        mlm_folder, "ordered_map", lambda task, workers: asked.append(workers) or ordered_map(task, workers)
    )
    write_mlm_folder(tmp_path / "data", {"train": TRAIN}, tokenizer)
    assert asked == [1]
    with toy.refused(tmp_path / "data", "--force"):
        write_mlm_folder(tmp_path / "data", {"train": TRAIN}, tokenizer)
    write_mlm_folder(tmp_path / "data", {"train": TRAIN}, tokenizer, force=True)


def test_the_files_that_a_folder_may_have():
    one, three = mlm_folder.folder_files(), mlm_folder.folder_files(3)
    assert one == sorted(set(one)) and {"dict.txt", "manifest.json", "sentencepiece.bpe.model"} < set(one)
    assert {name for name in one if name.endswith((".bin", ".idx"))} == {
        "train.bin", "train.idx", "valid.bin", "valid.idx", "test.bin", "test.idx",
    }  # fmt: skip
    assert set(three) - set(one) == {"train1.bin", "train1.idx", "train2.bin", "train2.idx"}


@pytest.mark.parametrize("name, foreign", [
    ("train.bin", False), ("train12.idx", False), ("manifest.json", False), ("valid1.bin", True), ("trainx.bin", True),
    ("train.bin.old", True), ("encoder.json", False), ("dictXtxt", True),
])  # fmt: skip
def test_force_knows_the_files_of_data_folders(tmp_path, name, foreign):
    (tmp_path / name).touch()
    if not foreign:
        mlm_folder.check_output(tmp_path, force=True)
    else:
        with toy.refused(name):
            mlm_folder.check_output(tmp_path, force=True)


def test_a_file_is_no_folder_and_an_empty_folder_needs_no_force(tmp_path):
    mlm_folder.check_output(tmp_path, force=False)
    mlm_folder.check_output(tmp_path / "new", force=False)
    (tmp_path / "file").touch()
    with toy.refused(tmp_path / "file", "-o"):
        mlm_folder.check_output(tmp_path / "file", force=True)


def test_a_folder_that_another_process_has_written_meanwhile_is_kept(tmp_path):
    kept = tmp_path / f"data.{os.getpid()}"
    with toy.refused(tmp_path / "data", kept), new_folder(tmp_path / "data", force=False) as folder:
        (folder / "dict.txt").touch()
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "theirs").touch()
    assert sorted(map(str, tmp_path.rglob("*"))) == sorted(
        map(str, (tmp_path / "data", tmp_path / "data" / "theirs", kept, kept / "dict.txt"))
    )

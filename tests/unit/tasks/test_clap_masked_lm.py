"""The task: blocks from a data folder, and one-line errors for bad folders."""

import shutil
from types import SimpleNamespace

import pytest
import torch
import toy
from omegaconf import OmegaConf

from plugins.errors import UserError
from plugins.tasks import clap_masked_lm


def lines_of(dataset):
    return [block.tolist() for _, block in (dataset[i] for i in range(len(dataset)))]


def folder_with(tmp_path, toy_data, lines):
    folder = toy.copy_folder(toy_data, tmp_path / "data")
    toy.write_split(folder / "train", lines)
    return folder


def loaded(data, **options):
    task = toy.make_task(data, **options)
    task.load_dataset("train")
    return task, task.dataset("train")


LINES = [[10, 11, 12, 2], [13, 14, 2], [15, 16, 17, 18, 19, 2]]


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("none", [[0, 10, 11, 12, 2], [0, 13, 14, 2, 15], [0, 16, 17, 18, 19], [0, 2]]),
        ("eos", [[0, 10, 11, 12, 2], [0, 13, 14, 2], [0, 15, 16, 17, 18, 19, 2]]),
    ],
)
def test_break_modes(tmp_path, toy_data, mode, expected):
    _, dataset = loaded(folder_with(tmp_path, toy_data, LINES), tokens_per_sample=5, sample_break_mode=mode)
    assert lines_of(dataset) == expected


@pytest.mark.parametrize("mode", ["complete", "complete_doc"])
def test_complete_lines_stay_together(tmp_path, toy_data, mode):
    _, dataset = loaded(folder_with(tmp_path, toy_data, LINES), tokens_per_sample=9, sample_break_mode=mode)
    assert lines_of(dataset) == [[0, 10, 11, 12, 2, 13, 14, 2], [0, 15, 16, 17, 18, 19, 2]]


def test_long_lines_are_shortened_on_request(tmp_path, toy_data):
    folder = folder_with(tmp_path, toy_data, LINES)
    _, dataset = loaded(folder, tokens_per_sample=4, sample_break_mode="eos", shorten_method="truncate")
    assert all(len(line) <= 4 for line in lines_of(dataset))
    assert lines_of(dataset)[2][:3] == [0, 15, 16]


def test_a_block_longer_than_the_model_takes_is_refused(tmp_path, toy_data):
    task, dataset = loaded(folder_with(tmp_path, toy_data, LINES), sample_break_mode="eos")
    with toy.refused(1, 6, 7, "--shorten-method", "--tokens-per-sample"):
        task.filter_indices_by_size(dataset.ordered_indices(), dataset, 6)
    assert sorted(task.filter_indices_by_size(dataset.ordered_indices(), dataset, 6, ignore_invalid_inputs=True)) == [
        0,
        1,
    ]
    with toy.refused(3, 2, 4):
        task.filter_indices_by_size(dataset.ordered_indices(), dataset, 2, ignore_invalid_inputs=True)


def test_an_epoch_is_all_folders_and_all_data_sets_of_each(tmp_path, toy_data):
    rows = {"a": 10, "b": 20}
    folders = [folder_with(tmp_path / name, toy_data, [[word, 2]] * 3) for name, word in rows.items()]
    for suffix in ("bin", "idx"):
        shutil.copyfile(folders[1] / f"train.{suffix}", folders[0] / f"train1.{suffix}")
    task = toy.make_task(f"{folders[0]}:{folders[1]}", sample_break_mode="eos")
    assert not task.has_sharded_data("train")
    for epoch in (1, 2):
        task.load_dataset("train", epoch=epoch, combine=True)
        assert [line[1] for line in lines_of(task.dataset("train"))] == [10] * 3 + [20] * 6


def test_validation_reads_the_first_folder(tmp_path, toy_data):
    folders = [folder_with(tmp_path / name, toy_data, [[10, 2]] * 3) for name in ("a", "b")]
    task = toy.make_task(f"{folders[0]}:{folders[1]}", sample_break_mode="eos")
    for suffix in ("bin", "idx"):
        shutil.copyfile(folders[0] / f"train.{suffix}", folders[0] / f"valid.{suffix}")
    task.load_dataset("valid", epoch=2)
    assert len(task.dataset("valid")) == 3


def test_blocks_do_not_cross_folders(tmp_path, toy_data):
    folders = [folder_with(tmp_path / name, toy_data, [[10, 11, 2]]) for name in ("a", "b")]
    _, dataset = loaded(f"{folders[0]}:{folders[1]}", tokens_per_sample=100)
    assert lines_of(dataset) == [[0, 10, 11, 2]] * 2


def test_folders_with_other_dictionaries_are_refused(tmp_path, toy_data):
    folders = [folder_with(tmp_path / name, toy_data, [[10, 2]]) for name in ("a", "b")]
    (folders[1] / "dict.txt").write_text("other 1\n")
    with toy.refused(folders[1] / "dict.txt", folders[0]):
        toy.make_task(f"{folders[0]}:{folders[1]}")


@pytest.mark.parametrize("omit", [False, True])
def test_the_mask_is_last_with_a_row_or_without(toy_data, omit):
    task = toy.make_task(toy_data, omit_mask=omit)
    assert task.mask_idx == len(task.dictionary) - (not omit)
    assert task.dictionary[task.mask_idx] == "<mask>"
    assert task.target_dictionary is task.source_dictionary is task.dictionary


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("omit", [False, True])
def test_random_words_exclude_special_symbols_and_the_mask(toy_data, omit, weighted):
    task = toy.make_task(toy_data, omit_mask=omit, freq_weighted_replacement=weighted)
    weights = task.masking().word_weights
    assert len(weights) == len(task.dictionary)
    assert weights[:4].sum() == 0
    assert omit or weights[task.mask_idx] == 0
    assert (weights[4] == task.dictionary.count[4]) if weighted else (weights[4] == 1)


def test_whole_words_of_real_text_are_masked_together(toy_data):
    task = toy.make_task(toy_data, mask_whole_words=True, mask_prob=0.5, leave_unmasked_prob=0.0, random_token_prob=0.0)
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = dataset.collater([dataset[i] for i in range(8)])
    for source, target, (_, original) in zip(
        batch["net_input"]["src_tokens"], batch["target"], (dataset[i] for i in range(8)), strict=True
    ):
        asked = target != 1
        assert 0 < asked.sum() < len(asked)
        assert (source[asked] == task.mask_idx).all()
        pieces = [task.dictionary[i] for i in original.tolist()]
        for position in range(1, len(pieces)):
            inside = not pieces[position].startswith(("\u2581", "<"))
            if inside:
                assert asked[position] == asked[position - 1]


def test_a_batch_is_masked_like_another_of_the_same_seed(toy_data):
    batches = []
    for _ in range(2):
        task = toy.make_task(toy_data)
        task.load_dataset("train")
        dataset = task.dataset("train")
        batches.append(dataset.collater([dataset[0], dataset[1]]))
    assert torch.equal(batches[0]["net_input"]["src_tokens"], batches[1]["net_input"]["src_tokens"])


@pytest.mark.parametrize(
    "options, named",
    [
        ({"mask_prob": 1.5}, ["--mask-prob 1.5"]),
        ({"leave_unmasked_prob": -0.1}, ["--leave-unmasked-prob -0.1"]),
        ({"leave_unmasked_prob": 0.6, "random_token_prob": 0.6}, ["--leave-unmasked-prob", "--random-token-prob"]),
    ],
)
def test_probabilities_that_are_none_are_refused(toy_data, options, named):
    with toy.refused(*named):
        toy.make_task(toy_data, **options)


def damage(folder, what):
    if what == "missing index":
        (folder / "train.idx").unlink()
    elif what == "missing data":
        (folder / "train.bin").unlink()
    elif what == "empty data":
        (folder / "train.bin").write_bytes(b"")
    elif what == "empty index":
        (folder / "train.idx").write_bytes(b"")
    elif what == "index of another format":
        (folder / "train.idx").write_bytes(b"not an index at all, but long enough to be read as one")
    elif what == "truncated index":
        (folder / "train.idx").write_bytes((folder / "train.idx").read_bytes()[:60])
    elif what == "truncated data":
        content = (folder / "train.bin").read_bytes()
        (folder / "train.bin").write_bytes(content[: len(content) // 2])
    elif what == "no lines":
        toy.write_split(folder / "train", [])


DAMAGES = ["missing index", "missing data", "empty data", "empty index", "index of another format", "truncated index",
           "truncated data", "no lines"]  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_split_gives_one_line_that_names_it(tmp_path, toy_data, what):
    folder = toy.copy_folder(toy_data, tmp_path / "data")
    damage(folder, what)
    with toy.refused() as error:
        toy.make_task(folder).load_dataset("train")
    assert f"{folder}/train" in str(error.value)


def test_tokens_beyond_the_dictionary_give_one_line(tmp_path, toy_data):
    """Binarized with a larger dictionary: a foreign dict.txt."""
    folder = folder_with(tmp_path, toy_data, [[4, 5, 4000, 2]] * 4)
    with toy.refused(folder / "train.bin", "dict.txt"):
        toy.make_task(folder).load_dataset("train")


def test_a_checkpoints_folder_gets_dictionary_and_tokenizer(tmp_path, toy_data):
    toy.make_task(toy_data).post_save(str(tmp_path / "checkpoint_last.pt"), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dict.txt", "sentencepiece.bpe.model"]
    assert (tmp_path / "dict.txt").read_bytes() == (toy_data / "dict.txt").read_bytes()


def test_the_dictionary_of_another_run_next_to_the_checkpoint_is_replaced(tmp_path, toy_data):
    (tmp_path / "dict.txt").write_text("old 1\n")
    toy.make_task(toy_data).post_save(str(tmp_path / "checkpoint_last.pt"), 1)
    assert (tmp_path / "dict.txt").read_bytes() == (toy_data / "dict.txt").read_bytes()


def test_a_checkpoint_of_another_dictionary_of_the_same_size_is_refused(tmp_path, toy_data):
    state = toy.make_task(toy_data).state_dict()
    folder = tmp_path / "data"
    shutil.copytree(toy_data, folder)
    lines = (folder / "dict.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "dict.txt").write_text("".join([lines[1], lines[0], *lines[2:]]), encoding="utf-8")
    toy.make_task(toy_data).load_state_dict(state)
    with toy.refused("dict.txt"):
        toy.make_task(folder).load_state_dict(state)


@pytest.mark.parametrize(
    ("split", "given", "named"),
    [
        ("train", {"max_tokens": 20, "max_tokens_valid": 99}, "--max-tokens 20"),
        ("valid", {"max_tokens": 20, "max_tokens_valid": 20}, "--max-tokens 20"),
        ("valid", {"max_tokens": 99, "max_tokens_valid": 20}, "--max-tokens-valid 20"),
    ],
)
def test_batches_that_are_smaller_than_a_block_are_refused(split, given, named):
    run = OmegaConf.create({"task": {"tokens_per_sample": 32}, "dataset": {"train_subset": "train", **given}})
    with pytest.raises(UserError) as error:
        clap_masked_lm.check_batch(run.task, split, SimpleNamespace(sizes=[10, 32]))
    assert named in str(error.value) and "32 tokens" in str(error.value)


def test_batches_as_large_as_the_longest_block_pass():
    dataset = {"train_subset": "train", "max_tokens": 32, "max_tokens_valid": None}
    run = OmegaConf.create({"task": {"tokens_per_sample": 32}, "dataset": dataset})
    for split in ("train", "valid"):
        clap_masked_lm.check_batch(run.task, split, SimpleNamespace(sizes=[10, 32]))

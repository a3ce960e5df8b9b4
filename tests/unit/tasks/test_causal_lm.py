"""The task: its vocabulary from the options, the text or the checkpoint, and the files written next to it."""

import pytest
import torch
import toy
from fairseq import tasks
from omegaconf import OmegaConf

from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.options import NO_START
from plugins.tasks.causal_lm import CausalLMTaskConfig

START = {"path": None, "restore_file": "checkpoint_last.pt"}
TEXT = "the quick brown fox jumps over the lazy dog\n" * 20


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def make_task(tmp_path, text):
    def make(block=16, **options):
        options = {**NO_START, **START, "data": str(text), "seed": 1, "save_dir": str(tmp_path / "run"), **options}
        config = CausalLMTaskConfig(**options)
        config._name = "causal_lm"
        task = tasks.setup_task(OmegaConf.structured(config))
        task.block_size = block
        return task

    return make


@pytest.fixture
def run(tmp_path):
    """The folder of an earlier run whose vocabulary has a separator."""
    folder = tmp_path / "earlier"
    folder.mkdir()
    dictionary = TokenDictionary(Characters(sorted(set(TEXT))), ["<|summary|>"])
    dictionary.save_files(folder)
    torch.save({"model": {}}, folder / "checkpoint_last.pt")
    return folder


def test_targets_are_the_next_tokens_of_the_batch(make_task):
    task = make_task(vocabulary="char")
    task.load_dataset("train")
    batch = task.dataset("train").collater([0, 1, 2])
    tokens, target = batch["net_input"]["src_tokens"], batch["target"]
    assert tokens.shape == target.shape == (3, 16)
    assert torch.equal(tokens[:, 1:], target[:, :-1])
    assert task.dictionary.decode(tokens[0]) in "<|endoftext|>" + TEXT


def test_validation_predicts_every_token_but_the_first_once(make_task):
    task = make_task(vocabulary="char")
    task.load_dataset("valid")
    data = task.dataset("valid")
    batches = [data.collater(list(indices)) for indices in data.batches(4)]
    total = sum(int((batch["target"] != task.dictionary.pad()).sum()) for batch in batches)
    assert total == len(data.text) - 1 == len(TEXT) - int(len(TEXT) * 0.9)


def test_a_vocabulary_is_named_by_its_folder(make_task, run):
    assert "<|summary|>" in make_task(vocabulary=str(run)).dictionary


def test_the_checkpoint_that_training_starts_from_decides(make_task, run):
    task = make_task(finetune_from_model=str(run / "checkpoint_last.pt"))
    assert task.dictionary.added == ["<|summary|>", "<|endoftext|>"]
    assert make_task(save_dir=str(run)).dictionary.symbols == task.dictionary.symbols
    assert make_task(path=str(run / "checkpoint_last.pt")).dictionary.symbols == task.dictionary.symbols


def test_another_vocabulary_than_the_checkpoints_is_refused(make_task, run, tmp_path):
    TokenDictionary(Characters("abc")).save_files(tmp_path)
    task = make_task(finetune_from_model=str(run / "checkpoint_last.pt"), vocabulary=str(tmp_path))
    with toy.refused(f"--vocabulary {tmp_path}", run):
        task.dictionary  # noqa: B018


def test_a_checkpoint_of_another_vocabulary_is_refused(make_task):
    task = make_task(vocabulary="char")
    task.load_state_dict(dict(make_task(vocabulary="char").dictionary and task.state_dict()))
    with toy.refused("vocabulary"):
        task.load_state_dict({"dictionary_sha256": "0" * 64})


def test_vocabulary_files_are_written_next_to_checkpoints(make_task, tmp_path):
    task = make_task(vocabulary="char")
    (tmp_path / "run").mkdir(exist_ok=True)
    task.post_save(str(tmp_path / "run" / "checkpoint_last.pt"), 1)
    assert TokenDictionary.from_files(tmp_path / "run").symbols == task.dictionary.symbols


def test_a_window_beyond_the_block_is_refused(make_task):
    with toy.refused("--tokens-per-sample 17", 16):
        make_task(vocabulary="char", tokens_per_sample=17).load_dataset("train")

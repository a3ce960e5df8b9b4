"""The base of the tasks on windows of text: files, cache, splits and batches."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from plugins.compat.preflight import UNLIMITED
from plugins.data.text.sources import Reading
from plugins.data.text.splits import TextSplit
from plugins.data.text.windows import ConsecutiveWindows, RandomWindows
from plugins.tasks.windows import WindowsConfig, WindowsTask, cache_folder, check, corpus_spec


def config(**given):
    return OmegaConf.structured(WindowsConfig(**{"data": "a:b", "seed": 1, "path": None, "save_dir": "run", **given}))


def test_files_of_all_splits_and_their_shares_are_passed_on():
    reading = Reading()
    found = corpus_spec(config(valid_fraction=0.2, test_fraction=0.3, valid_data="c", test_data="d:e"), reading)
    assert found == type(found)(("a", "b"), reading, 0.2, 0.3, ("c",), ("d", "e"))
    with toy.refused("no text"):
        corpus_spec(config(data=""), reading)


@pytest.mark.parametrize("given, folder", [
    ({}, "run/data"), ({"path": "x/y.pt:z/w.pt"}, "x/data"), ({"path": "y.pt"}, "./data"),
    ({"data_cache": "own", "path": "x/y.pt"}, "own"), ({"save_dir": None}, "./data"),
])  # fmt: skip
def test_the_cache_is_next_to_the_checkpoint_unless_it_is_named(given, folder):
    assert cache_folder(config(**given)) == folder


def test_fractions_of_nothing_and_of_everything_pass():
    check(config(valid_fraction=0.0, test_fraction=1.0, epoch_windows=1))
    for name in ("valid_fraction", "test_fraction"):
        with toy.refused(f"--{name.replace('_', '-')} 1.5"):
            check(config(**{name: 1.5}))


class Windows(torch.utils.data.Dataset):
    """Notes what it is asked for."""

    length = 16

    def __init__(self):
        self.calls = []

    def __len__(self):
        return 5

    def collater(self, samples):
        return samples

    def set_epoch(self, epoch):
        self.calls.append(epoch)

    def batches(self, size, shards):
        self.calls.append((size, shards))
        return []


def test_the_smaller_of_two_limits_of_a_batch_counts():
    task, dataset = object.__new__(WindowsTask), Windows()
    for limits in ({"max_tokens": 64, "max_sentences": 3}, {"max_tokens": 47, "max_sentences": 8}):
        task.get_batch_iterator(dataset, **limits, epoch=7, num_shards=2)
    assert dataset.calls == [7, (3, 2), 7, (2, 2)]


def test_a_batch_without_a_limit_has_the_windows_of_an_epoch():
    for limits in ({"max_sentences": UNLIMITED}, {"max_tokens": UNLIMITED}):
        dataset = Windows()
        object.__new__(WindowsTask).get_batch_iterator(dataset, **limits)
        assert dataset.calls[-1] == (5, 1)


def test_the_block_is_that_of_the_model(monkeypatch):
    monkeypatch.setattr(FairseqTask, "build_model", lambda *given: SimpleNamespace(max_positions=lambda: 24))
    task = WindowsTask(config(mixed_precision="none"))
    assert task.max_positions() is None
    task.build_model(SimpleNamespace())
    assert task.max_positions() == 24


@pytest.mark.parametrize("asked, window", [(0, 16), (1, 1), (16, 16), (-15, 1), (17, None), (-16, None)])
def test_a_window_has_at_least_one_token_and_at_most_a_block(asked, window):
    task = WindowsTask(config(tokens_per_sample=asked, mixed_precision="none"))
    task.block_size = 16
    if window is None:
        with toy.refused(f"--tokens-per-sample {asked}", 16):
            task.window  # noqa: B018
    else:
        assert task.window == window


@pytest.mark.parametrize("split, given, path, kind", [
    ("train", {}, None, RandomWindows), ("valid", {}, None, ConsecutiveWindows),
    ("train", {}, "x.pt", ConsecutiveWindows), ("train", {"task_cfg": 1}, None, ConsecutiveWindows),
])  # fmt: skip
def test_training_alone_reads_random_windows(monkeypatch, split, given, path, kind):
    task = WindowsTask(config(path=path, seed=7, epoch_windows=3, mixed_precision="none"))
    task.block_size, asked = 4, []
    text = TextSplit(np.arange(40), np.zeros(1, np.int64))
    monkeypatch.setattr(WindowsTask, "target_dictionary", SimpleNamespace(pad=lambda: 99))
    monkeypatch.setattr(task, "read", lambda *request: asked.append(request) or text)
    task.load_dataset(split, **given)
    made = task.datasets[split]
    assert type(made) is kind and asked == [(split, 4)]
    assert (made.text, made.length, made.pad) == (text, 4, 99)
    if kind is RandomWindows:
        assert (made.seed, made.windows) == (7, 3)


def test_an_iterator_keeps_the_order_and_the_place_of_its_process():
    dataset = Windows()
    dataset.batches = lambda size, shards: [[i] for i in range(6)]
    made = object.__new__(WindowsTask).get_batch_iterator(
        dataset, max_sentences=1, seed=3, num_shards=2, shard_id=1, num_workers=0, epoch=5
    )
    assert (made.epoch, made.seed, made.num_shards, made.shard_id) == (5, 3, 2, 1)
    assert made.disable_shuffling and made.buffer_size == 0 and not made.persistent_workers
    plain = object.__new__(WindowsTask).get_batch_iterator(dataset, max_tokens=5)
    assert (plain.epoch, plain.seed, plain.num_shards, plain.shard_id, plain.num_workers) == (1, 1, 1, 0, 0)

"""The base of the tasks on windows of text: files, cache, splits and batches."""

import pytest
import torch
import toy
from omegaconf import OmegaConf

from plugins.data.text.sources import Reading
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

"""Windows: positions and frequencies, which depend only on (seed, epoch, index)."""

from collections import Counter

import numpy as np
import pytest
import torch

from plugins.data.text.splits import TextSplit
from plugins.data.text.windows import ConsecutiveWindows, RandomWindows, uniform

PAD = 1000


def split(*lengths, labels=None):
    """Documents whose ids count up: 0, 1, 2, ..."""
    starts = np.cumsum([0, *lengths[:-1]])
    return TextSplit(np.arange(sum(lengths), dtype=np.uint16), starts, None if labels is None else np.array(labels))


def batches(windows, size, **options):
    return [windows.collater([windows[i] for i in batch]) for batch in windows.batches(size, **options)]


def test_the_target_of_a_character_is_the_next():
    batch = batches(RandomWindows(split(50), 8, PAD, seed=1, most=100), 4)[0]
    source = batch["net_input"]["src_tokens"]
    assert source.shape == (4, 8)
    assert source.dtype == batch["target"].dtype == torch.int64
    assert torch.equal(batch["target"], source + 1)
    assert torch.equal(source - source[:, :1], torch.arange(8).expand(4, 8))
    assert (batch["ntokens"], batch["nsentences"]) == (32, 4)
    assert "style_labels" not in batch["net_input"]


def test_every_position_of_a_text_is_drawn_equally_often():
    """nanoGPT's distribution: with n characters, start 0 to n - T - 1, each with probability 1 / (n - T)."""
    windows = RandomWindows(split(20), 8, PAD, seed=3, most=10**6)
    _, start, end = windows.locate(np.arange(120_000))
    counts = np.bincount(start)
    assert len(counts) == 12
    assert np.abs(counts - 10_000).max() < 400  # four standard deviations
    assert (end - start == 9).all()


def test_documents_are_sampled_by_length_and_windows_do_not_cross_them():
    text = split(30, 10, 60)
    document, start, end = RandomWindows(text, 8, PAD, seed=3, most=10**6).locate(np.arange(60_000))
    assert np.abs(np.bincount(document) / 600 - [30, 10, 60]).max() < 1
    assert (text.starts[document] <= start).all()
    assert (end <= text.ends[document]).all()


def test_a_document_shorter_than_a_window_is_one_padded_window():
    windows = RandomWindows(split(4), 8, PAD, seed=1, most=10)
    batch = batches(windows, 2)[0]
    assert batch["net_input"]["src_tokens"].tolist() == [[0, 1, 2]] * 2
    mixed = RandomWindows(split(4, 96), 8, PAD, seed=1, most=100)
    batch = mixed.collater(range(100))
    short = batch["net_input"]["src_lengths"] == 3
    assert 0 < short.sum() < 20
    assert batch["net_input"]["src_tokens"][short].unique(dim=0).tolist() == [[0, 1, 2, 0, 0, 0, 0, 0]]
    assert batch["target"][short].unique(dim=0).tolist() == [[1, 2, 3] + [PAD] * 5]
    assert batch["ntokens"] == int((batch["target"] != PAD).sum())


def test_documents_of_one_character_have_no_predictions():
    windows = RandomWindows(split(1, 1, 1), 8, PAD, seed=1, most=10)
    batch = batches(windows, 1)[0]
    assert batch["target"].tolist() == [[PAD]]
    assert batch["ntokens"] == 0


def test_labels_travel_with_their_documents():
    text = split(30, 30, labels=[5, 7])
    document, *_ = (windows := RandomWindows(text, 8, PAD, seed=1, most=100)).locate(np.arange(20))
    labels = windows.collater(range(20))["net_input"]["style_labels"]
    assert labels.tolist() == [[5, 7][d] for d in document]


def test_a_window_depends_only_on_seed_epoch_and_index():
    one, two = (RandomWindows(split(500), 8, PAD, seed=1, most=100) for _ in range(2))
    together = one.locate(np.arange(40))[1]
    assert together.tolist() == [two.locate(np.array([i]))[1][0] for i in range(40)]
    order = np.random.permutation(40)
    assert two.locate(order)[1].tolist() == together[order].tolist()
    two.set_epoch(2)
    assert (two.locate(np.arange(40))[1] != together).sum() > 30
    assert (RandomWindows(split(500), 8, PAD, seed=2, most=100).locate(np.arange(40))[1] != together).sum() > 30


def test_the_drawn_numbers_are_uniform_and_stay_as_they_are():
    one, two = uniform(1, 1, np.arange(40_000))
    for numbers in (one, two):
        assert 0 <= numbers.min() < 0.001
        assert 0.999 < numbers.max() < 1
        assert np.abs(np.histogram(numbers, 10, (0, 1))[0] - 4000).max() < 250
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.02


def test_an_epoch_covers_the_text_once_up_to_the_limit():
    assert len(RandomWindows(split(100), 8, PAD, seed=1, most=1000)) == 13
    assert len(RandomWindows(split(100), 8, PAD, seed=1, most=5)) == 5


@pytest.mark.parametrize("size, shards, count", [(4, 1, 4), (4, 3, 6), (100, 1, 1), (100, 2, 2)])
def test_batches_are_full_and_each_process_gets_as_many(size, shards, count):
    batches = RandomWindows(split(100), 8, PAD, seed=1, most=1000).batches(size, shards)
    assert [len(batch) for batch in batches] == [size] * count


@pytest.mark.parametrize("context", [0, 5])
@pytest.mark.parametrize("lengths", [[100], [17], [9], [8], [2], [1, 30, 1, 1, 8, 9, 10, 1]])
def test_each_character_but_the_first_of_a_document_is_predicted_once(lengths, context):
    text = split(*lengths)
    windows = ConsecutiveWindows(text, 8, PAD, context)
    predicted = Counter()
    for batch in batches(windows, 3):
        predicted.update(batch["target"][batch["target"] != PAD].tolist())
        assert batch["ntokens"] == int((batch["target"] != PAD).sum())
    expected = set(range(sum(lengths))) - set(text.starts.tolist())
    assert predicted == dict.fromkeys(expected, 1)


def test_the_context_of_a_window_is_what_its_document_has_before_it():
    windows = ConsecutiveWindows(split(3, 20), 8, PAD, context=5)
    (batch,) = batches(windows, 4)
    assert batch["net_input"]["src_tokens"].tolist() == [
        [0, 1] + [0] * 11,
        [*range(3, 11)] + [0] * 5,
        [*range(6, 19)],
        [*range(14, 22)] + [0] * 5,
    ]
    assert batch["start_indices"] == [0, 0, 5, 5]
    assert batch["target"].tolist()[2] == [PAD] * 5 + [*range(12, 20)]
    assert batch["target"].tolist()[3] == [PAD] * 5 + [20, 21, 22] + [PAD] * 5


def test_zero_windows_give_no_batch():
    assert RandomWindows(split(100), 8, PAD, seed=1, most=10).collater([]) == {}


def test_ids_are_translated_by_a_table():
    text = TextSplit(np.array([0, 1, 2, 1], np.uint8), np.array([0]), table=np.array([7, 5, 6]))
    assert ConsecutiveWindows(text, 8, PAD).collater([0])["net_input"]["src_tokens"].tolist() == [[7, 5, 6]]


def test_pages_are_given_back_and_read_again(tmp_path, monkeypatch):
    np.arange(10_000, dtype=np.uint16).tofile(tmp_path / "ids")
    text = TextSplit(np.memmap(tmp_path / "ids", np.uint16, "r"), np.array([0]))
    monkeypatch.setattr(TextSplit, "RELEASE_AFTER", 3)
    monkeypatch.setattr(TextSplit, "SMALL", 0)
    for _ in range(5):
        assert text.read(np.array([0, 9_990]), 3).tolist() == [[0, 1, 2], [9_990, 9_991, 9_992]]


def test_the_first_epoch_is_number_one():
    new, first = (RandomWindows(split(30), 4, -1, seed=3, most=10) for _ in range(2))
    first.set_epoch(1)
    assert [part.tolist() for part in new.locate(np.arange(10))] == [
        part.tolist() for part in first.locate(np.arange(10))
    ]


def test_a_text_shorter_than_a_window_is_one_window():
    assert len(RandomWindows(split(5), 8, -1, seed=3, most=10)) == 1


def test_windows_have_no_context_unless_it_is_wanted():
    batch = ConsecutiveWindows(split(20), 8, PAD).collater([1])
    assert batch["net_input"]["src_tokens"].tolist() == [[*range(8, 16)]] and "start_indices" not in batch
    assert batch["predicted"] == {"rows": None, "count": 8, "most": 8} and batch["id"].tolist() == [1]


def test_predicted_positions_leave_out_padding_and_context():
    batch = ConsecutiveWindows(split(3, 20), 8, PAD, context=5).collater([0, 2])
    assert batch["predicted"]["rows"].tolist() == [0, 1, *range(18, 26)] and batch["predicted"]["most"] == 8
    assert batch["ntokens"] == batch["predicted"]["count"] == 10


def test_sizes_and_epochs_are_reported_to_fairseq():
    windows = RandomWindows(split(30), 4, PAD, seed=3, most=10)
    assert windows.size(0) == windows.num_tokens(3) == 4
    assert not windows.can_reuse_epoch_itr_across_epochs and ConsecutiveWindows(split(30), 4, PAD)[3] == 3


def test_windows_are_the_same_in_every_version():
    """A resumed run sees the windows that it would have seen; the numbers were recorded from an earlier run."""
    found = RandomWindows(split(500, 300), 8, PAD, seed=5, most=100)
    found.set_epoch(2)
    assert found.locate(np.array([0, 1, 7]))[1].tolist() == [709, 592, 68]


def test_a_batch_has_at_most_as_many_windows_as_the_text_has_positions(caplog):
    windows = RandomWindows(split(30, 20), 8, PAD, seed=1, most=100)
    with caplog.at_level("INFO"):
        assert windows.batches(10**9) == [range(50)]
    assert caplog.messages == ["batches of 50 windows, the tokens of the text, instead of 1000000000"]
    assert windows.batches(49) == [range(49)]

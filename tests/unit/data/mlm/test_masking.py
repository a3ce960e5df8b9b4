"""Masking: its rates, its independence of the batch, and its invariants."""

import numpy as np
import pytest
import torch

from plugins.data.mlm.masking import MaskedBlocks, Masking, mask_batch, mix, sample_words, uniform

BOS, PAD, MASK, WORDS = 0, 1, 99, 100


def masking(prob=0.15, leave=0.1, random=0.1, starts=None, weights=None):
    if weights is None:
        weights = np.ones(WORDS)
        weights[[0, 1, 2, 3, MASK]] = 0
    return Masking(prob, leave, random, MASK, PAD, weights, starts)


def tokens_of(rows, length):
    return np.random.RandomState(0).randint(4, MASK, (rows, length))


def masked(tokens, how, epoch=1, ids=None, seed=1):
    lengths = (tokens != PAD).sum(1)
    return mask_batch(tokens, lengths, np.arange(len(tokens)) if ids is None else ids, how, seed, epoch)


@pytest.fixture(scope="module")
def large():
    """200 blocks of 500 tokens, masked."""
    tokens = tokens_of(200, 500)
    return tokens, *masked(tokens, masking())


def test_fifteen_percent_are_predicted(large):
    _, _, target = large
    assert (target != PAD).mean() == pytest.approx(0.15, abs=0.001)


def test_of_those_80_percent_are_masks_10_random_and_10_unchanged(large):
    tokens, inputs, target = large
    asked = target != PAD
    kept = (inputs == tokens)[asked].mean()
    masks = (inputs == MASK)[asked].mean()
    assert masks == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1 + 0.1 / 95, abs=0.01)
    assert 1 - masks - kept == pytest.approx(0.1 - 0.1 / 95, abs=0.01)


def test_targets_are_the_tokens_themselves_and_the_rest_is_untouched(large):
    tokens, inputs, target = large
    asked = target != PAD
    assert (target[asked] == tokens[asked]).all()
    assert (inputs[~asked] == tokens[~asked]).all()


def test_every_position_is_as_likely_as_any_other(large):
    share = (large[2] != PAD).mean(0)
    assert share.std() == pytest.approx((0.15 * 0.85 / 200) ** 0.5, rel=0.15)


def test_each_block_gets_its_share_rounded_up_or_down():
    counts = (masked(tokens_of(3000, 10), masking())[1] != PAD).sum(1)
    assert set(counts) == {1, 2}
    assert counts.mean() == pytest.approx(1.5, abs=0.05)


def test_a_random_word_is_never_a_special_symbol():
    inputs, _ = masked(tokens_of(200, 500), masking(prob=1, leave=0, random=1))
    drawn = np.bincount(inputs.ravel(), minlength=WORDS)
    assert drawn[[0, 1, 2, 3, MASK]].sum() == 0
    assert (drawn[4:MASK] == 0).sum() == 0
    assert drawn[4:MASK].std() < 3 * drawn[4:MASK].mean() ** 0.5


def test_random_words_follow_their_frequency():
    weights = np.zeros(WORDS)
    weights[[10, 20]] = [3, 1]
    inputs, _ = masked(tokens_of(100, 500), masking(prob=1, leave=0, random=1, weights=weights))
    assert set(np.unique(inputs)) == {10, 20}
    assert (inputs == 10).mean() == pytest.approx(0.75, abs=0.01)


def test_whole_words_are_masked_together():
    starts = np.ones(WORDS, dtype=bool)
    starts[50:] = False  # tokens from 50 continue a word
    tokens = tokens_of(300, 200)
    tokens[:, 0] = BOS
    inputs, target = masked(tokens, masking(leave=0, random=0, starts=starts))
    words = starts[tokens].cumsum(1)
    for row in range(300):
        asked = target[row] != PAD
        assert set(words[row][asked]).isdisjoint(words[row][~asked])
    assert (target != PAD).mean() == pytest.approx(0.15, abs=0.01)
    assert (inputs[target != PAD] == MASK).all()


def test_the_same_kind_for_all_tokens_of_a_word():
    starts = np.ones(WORDS, dtype=bool)
    starts[50:] = False
    tokens = np.tile([10, 60, 61, 62], (400, 10))
    inputs, target = masked(tokens, masking(random=0.0, leave=0.5, starts=starts))
    words = (inputs == MASK).reshape(400, 10, 4).sum(-1)[(target != PAD).reshape(400, 10, 4).all(-1)]
    assert set(words) == {0, 4}


def test_no_padding_is_predicted_and_none_is_changed():
    tokens = tokens_of(50, 40)
    lengths = np.random.RandomState(1).randint(1, 41, 50)
    tokens[np.arange(40) >= lengths[:, None]] = PAD
    for starts in (None, np.ones(WORDS, dtype=bool)):
        inputs, target = masked(tokens, masking(prob=0.5, starts=starts))
        assert (target[tokens == PAD] == PAD).all()
        assert (inputs[tokens == PAD] == PAD).all()


@pytest.mark.parametrize("prob, share", [(0, 1), (1, 1)])
def test_the_extremes_of_the_probability(prob, share):
    tokens = tokens_of(3, 8)
    inputs, target = masked(tokens, masking(prob=prob, leave=0, random=0))
    assert (target == tokens).mean() == share
    assert (inputs == (tokens if prob == 0 else MASK)).all()


def blocks(how, sizes=(5, 30, 17, 30, 9)):
    rng = np.random.RandomState(0)
    rows = [torch.from_numpy(rng.randint(4, MASK, size)) for size in sizes]
    rows = type("Blocks", (list,), {"sizes": np.array(sizes)})(rows)
    return MaskedBlocks(rows, how, seed=1)


@pytest.mark.parametrize("whole_words", [False, True])
def test_the_mask_of_a_block_does_not_depend_on_its_batch(whole_words):
    starts = np.arange(WORDS) % 3 > 0 if whole_words else None
    dataset = blocks(masking(prob=0.33, starts=starts), sizes=range(3, 60))
    everything = range(57)
    together = dataset.collater([dataset[i] for i in everything])
    for row, index in enumerate(everything):
        alone = dataset.collater([dataset[index]])
        length = len(dataset[index][1])
        for batch, other in (
            (together["target"], alone["target"]),
            (together["net_input"]["src_tokens"], alone["net_input"]["src_tokens"]),
        ):
            assert torch.equal(batch[row, :length], other[0])


def test_the_mask_changes_with_the_epoch_the_seed_and_the_block_and_with_nothing_else():
    tokens = np.tile(tokens_of(1, 400), (2, 1))

    def where(**options):
        return masked(tokens, masking(), **options)[1] != PAD

    base = where()
    assert (base == where()).all()
    assert (base[0] != base[1]).any()
    for change in ({"epoch": 2}, {"seed": 2}):
        overlap = (where(**change)[0] & base[0]).sum() / base[0].sum()
        assert overlap < 0.35  # 0.15 by chance


def test_set_epoch_changes_the_masks_of_a_dataset():
    dataset = blocks(masking(prob=0.5))
    batches = []
    for epoch in (1, 2, 1):
        dataset.set_epoch(epoch)
        batches.append(dataset.collater([dataset[i] for i in range(5)])["target"])
    assert not torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[2])


def test_a_batch_has_what_fairseq_expects():
    dataset = blocks(masking())
    batch = dataset.collater([dataset[1], dataset[0]])
    assert batch["id"].tolist() == [1, 0]
    assert batch["net_input"]["src_tokens"].shape == batch["target"].shape == (2, 30)
    assert batch["net_input"]["src_lengths"].tolist() == [30, 5]
    assert (batch["nsentences"], batch["ntokens"]) == (2, 35)
    assert batch["net_input"]["has_padding"] is True
    assert batch["predicted"]["count"] == (batch["target"] != PAD).sum()
    assert dataset.collater([dataset[1], dataset[3]])["net_input"]["has_padding"] is False
    assert "predicted" not in blocks(masking(prob=0)).collater([dataset[1]])
    assert batch["net_input"]["src_tokens"].dtype == batch["target"].dtype == torch.int64
    assert dataset.collater([]) == {}


def test_the_order_is_by_length_and_random_within():
    dataset = blocks(masking(), sizes=[3, 9] * 200)
    order = dataset.ordered_indices()
    assert sorted(order) == list(range(400))
    assert (np.diff(dataset.sizes[order]) >= 0).all()
    assert (np.diff(order[:200]) < 0).mean() == pytest.approx(0.5, abs=0.15)
    assert (order == blocks(masking(), sizes=[3, 9] * 200).ordered_indices()).all()


@pytest.mark.parametrize("most", [1, 2, 4, 8])
def test_no_block_is_skipped_if_the_last_batch_is_not_a_multiple_of_eight(most):
    """fairseq drops it, and calls a data set of fewer than eight blocks empty."""
    dataset = blocks(masking(), sizes=(9,) * 5)
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_sentences=most, required_batch_size_multiple=8)
    assert sorted(np.concatenate(batches)) == [0, 1, 2, 3, 4]
    assert max(map(len, batches)) <= most


def test_the_numbers_are_uniform_and_independent_across_rows_and_streams():
    numbers = np.stack([uniform(1, 1, np.arange(300), 300, stream) for stream in range(3)])
    assert 0 <= numbers.min() and numbers.max() < 1
    histogram = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert ((histogram - 13500) ** 2 / 13500).sum() < 45  # chi-squared with 19 degrees of freedom: 0.9993
    flat = numbers.reshape(3, -1)
    assert abs(np.corrcoef(flat)[np.triu_indices(3, 1)]).max() < 5 / 300
    assert abs(np.corrcoef(numbers[0][:-1].ravel(), numbers[0][1:].ravel())[0, 1]) < 5 / 300


def test_the_order_of_blocks_of_one_length_follows_the_seed():
    orders = []
    for seed in (1, 1, 2):
        made = blocks(masking(), sizes=(7,) * 50)
        made = MaskedBlocks(made.blocks, masking(), seed)
        orders.append(made.ordered_indices().tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(50))


def test_mask_prob_zero_masks_no_tokens_in_the_task():
    tokens = tokens_of(4, 20)
    inputs, target = masked(tokens, masking(prob=0))
    assert (inputs == tokens).all() and (target == tokens).all()


def test_the_hash_is_splitmix64():
    """The first number of the published generator for the seed 0, and numbers computed with Python's integers."""
    assert mix(np.array([0, 1], np.uint64)).tolist() == [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1]
    assert uniform(3, 2, np.array([0, 7]), 3, 1).tolist() == [
        [0.9821772233643361, 0.7261832524565259, 0.8365108949520146],
        [0.8406932723183527, 0.3192809916760281, 0.6496596321449206],
    ]


def test_masks_are_the_same_in_every_version():
    """A resumed run sees the masks that it would have seen; the numbers were recorded from an earlier run."""
    tokens = np.arange(4, 34).reshape(2, 15)
    inputs, target = masked(tokens, masking(prob=0.5, leave=0.2, random=0.3), epoch=3, seed=7)
    assert inputs.tolist() == [
        [4, 5, 6, 99, 99, 54, 10, 11, 12, 17, 99, 15, 99, 17, 18],
        [70, 20, 21, 22, 23, 99, 25, 26, 99, 99, 29, 30, 99, 36, 99],
    ]
    assert np.flatnonzero(target != PAD).tolist() == [0, 3, 4, 5, 9, 10, 12, 15, 20, 23, 24, 26, 27, 28, 29]


def test_sizes_are_reported_to_fairseq():
    dataset = blocks(masking())
    assert (len(dataset), dataset.num_tokens(1), dataset.size(2)) == (5, 30, 17)
    assert dataset.num_tokens_vec(np.array([4, 0])).tolist() == [9, 5]
    assert dataset.can_reuse_epoch_itr_across_epochs and not dataset.supports_prefetch
    dataset.blocks.supports_prefetch, fetched = True, []
    dataset.blocks.prefetch = fetched.extend
    assert dataset.supports_prefetch
    dataset.prefetch([3, 1])
    assert fetched == [3, 1]


def test_the_largest_draw_is_a_word_with_a_weight():
    """Cumulative sums of weights are rounded, and the last words, fillers, have none."""
    weights = np.array([0.1] * 57 + [0.0, 0.0])
    assert sample_words(np.array([0.0, 1 - 2.0**-53]), weights).tolist() == [0, 56]

"""Batches of rows of texts: tokens, ids of equal texts, teachers, deleted tokens, limits."""

import numpy as np
import pytest
import toy

from plugins.data.embedding.dataset import EmbeddingRows
from plugins.data.embedding.encoding import TextEncoder
from plugins.data.embedding.rows import TextRows

LABELS = np.array([0, 1, 0, 1])
ENCODER = TextEncoder(None, lambda text: [ord(c) for c in text], (1,), (2,), pad=9)


def dataset(*columns, labels=None, **options):
    index = [str(i + 1) for i in range(len(columns[0]))]
    return EmbeddingRows(TextRows(list(columns), labels, [], index), ENCODER, **{"longest": 20, **options})


def test_a_batch_has_all_first_texts_then_all_second_ones():
    rows = dataset(["a", "bcd", "a"], ["e", "a", "gh"], labels=np.array([0.5, 1.5, 2.5]))
    batch = rows.collater([rows[2], rows[1]])
    assert batch["id"].tolist() == [2, 1]
    assert batch["net_input"]["src_tokens"].tolist() == [
        [1, 97, 2, 9, 9], [1, 98, 99, 100, 2], [1, 103, 104, 2, 9], [1, 97, 2, 9, 9],
    ]  # fmt: skip
    assert batch["net_input"]["src_lengths"].tolist() == [3, 5, 4, 3]
    assert (batch["nsentences"], batch["ntokens"]) == (2, 15)
    assert batch["target"].tolist() == [2.5, 1.5]
    ids = batch["text_ids"]
    assert ids.shape == (2, 2) and ids[0, 0] == ids[1, 1]  # "a" is the first text of one row, the second of another
    assert len(set(ids.flatten().tolist())) == 3
    assert not {"teacher", "whole"} & batch.keys()
    assert rows.collater([]) == {}


def test_a_row_is_as_long_as_its_longest_text():
    assert dataset(["a", "bcd", "a"], ["e", "a", "ghijk"]).sizes.tolist() == [3, 5, 7]
    assert dataset(["abcdefgh"], longest=5).sizes.tolist() == [5]


def test_vectors_of_a_teacher_follow_their_rows():
    teacher = np.eye(3, dtype=np.float32)
    assert dataset(["a", "b", "c"], teacher=teacher).collater([2, 0])["teacher"].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_rows_without_labels_have_no_target():
    assert "target" not in dataset(["a"]).collater([0])


def test_a_denoised_text_loses_a_share_of_its_tokens_and_no_symbol_around_them():
    text = "".join(chr(200 + i) for i in range(1000))
    rows = dataset([text, "a"], longest=2000, deletion=0.3)
    batch = rows.collater([0, 1])
    whole, short = (batch[name]["src_tokens"][0].tolist() for name in ("whole", "net_input"))
    length = batch["net_input"]["src_lengths"][0]
    assert whole == [1, *range(200, 1200), 2]
    assert 640 < length < 760 and batch["whole"]["src_lengths"].tolist() == [1002, 3]
    assert (short[0], short[length - 1]) == (1, 2)
    inner = short[1 : length - 1]
    assert inner == sorted(set(inner)) and set(inner) < set(range(200, 1200))
    assert batch["net_input"]["src_tokens"][1, :3].tolist() == [1, 97, 2]
    assert batch["ntokens"] == 1005


def test_one_token_stays_where_all_are_deleted_each_with_equal_chance():
    rows, kept = dataset(["abcd"] * 400, deletion=1 - 1e-9), []
    for i, ids in enumerate(rows.columns[0]):
        before, token, after = rows.shortened(ids, i).tolist()
        assert (before, after) == (1, 2)
        kept.append(chr(token))
    assert all(60 < kept.count(letter) < 140 for letter in "abcd")  # 100 +- 4.6 standard deviations


def test_deleted_tokens_differ_by_row_and_epoch_and_are_fixed_for_validation():
    text = "".join(map(chr, range(200, 300)))
    train, valid = (dataset([text] * 2, longest=200, deletion=0.5, shuffle=shuffle) for shuffle in (True, False))

    def epoch(rows, seed, row=0):
        np.random.seed(seed)
        rows.ordered_indices()
        return rows.collater([row])["net_input"]["src_tokens"].tolist()

    assert epoch(train, 1) == epoch(train, 1) != epoch(train, 2)
    assert epoch(train, 1) != epoch(train, 1, row=1)
    assert epoch(valid, 1) == epoch(valid, 2)


def test_batches_of_classes_differ_by_epoch():
    rows = dataset(list("abcdefgh"), labels=np.repeat([0, 1], 4), classes=(2, 2), shuffle=True)

    def epoch(seed):
        np.random.seed(seed)
        return [batch.tolist() for batch in rows.batches_of(rows.ordered_indices(), None, 4)]

    assert epoch(1) == epoch(1) != epoch(2)
    assert [len(batch) for batch in epoch(1)] == [4, 4]


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ((None, 4), 4),
        ((12, None), 4),
        ((14, None), 4),
        ((None, None), 8),
        ((24, 4), 4),
        ((12, 8), None),
        ((11, 4), None),
    ],
)
def test_a_batch_of_classes_fits_both_limits(limits, size):
    """Rows have 3 tokens: 12 tokens are 4 rows."""
    rows = dataset(list("abcdefgh"), labels=np.repeat([0, 1], 4), classes=(2, None))
    if size is None:
        with toy.refused(f"--max-tokens {limits[0]}", "2 classes"):
            rows.batches_of(range(8), *limits)
    else:
        assert len(rows.batches_of(range(8), *limits)[0]) == size


def test_rows_without_classes_are_batched_by_length():
    rows = dataset(["a", "bb", "ccc"], labels=np.array([0, 1, 0]))
    assert [batch.tolist() for batch in rows.batches_of([0, 1, 2], 8, None)] == [[0, 1], [2]]


def test_a_text_without_tokens_is_named_by_its_row():
    encoder = TextEncoder(None, lambda text: [ord(c) for c in text])
    with toy.refused("row 2", "''"):
        EmbeddingRows(TextRows([["a", ""]], None, [], ["1", "2"]), encoder, 5)


def test_classes_of_one_row_are_refused_when_the_rows_are_read():
    with toy.refused("0 of 2 classes"):
        dataset(["a", "b"], labels=np.array([0, 1]), classes=(None, None))

"""How documents and summaries become texts, targets and batches."""

import numpy as np
import pytest
import toy

from plugins.data.summaries.dataset import Layout, SummaryDataset, describe, encode, load
from plugins.data.summaries.reader import Columns, Record
from plugins.data.text.causal_tokenizers import ByteLevelBPE, Characters
from plugins.data.text.token_dictionary import TokenDictionary

RECORDS = [("abcabc", "ab"), ("ca", "c"), ("bbbbbbbbbbbb", "abc"), ("a", "b"), ("cab", "ba")]


@pytest.fixture
def dictionary():
    return TokenDictionary(Characters(sorted("\n :TLDR;abc")))


@pytest.fixture
def make(tmp_path, dictionary):
    """Make a dataset of records, 16 tokens long at most."""

    def make(records=RECORDS, separator="<|sep|>", longest=16, **options):
        layout = Layout.of(separator, dictionary)
        path = tmp_path / "train.csv"
        text = "article,highlights\n" + "".join(f"{a},{b}\n" for a, b in records)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        encoded = load(path, Columns(), layout, dictionary, str(tmp_path / "cache"))
        return SummaryDataset(encoded, layout, dictionary.pad(), longest, **options)

    return make


def test_a_separator_in_bars_is_one_new_token(dictionary):
    before = len(dictionary)
    layout = Layout.of("<|sep|>", dictionary)
    assert layout.separator == (before,) and not layout.blank and dictionary.symbols[-1] == "<|sep|>"
    assert Layout.of("<|sep|>", dictionary) == layout and len(dictionary) == before + 1


def test_a_word_separator_is_on_its_own_line_and_the_summary_follows_it(dictionary, make):
    before = len(dictionary)
    dataset = make(separator="TL;DR:")
    assert len(dictionary) == before
    assert dictionary.decode(dataset[1]["tokens"]) == "ca\nTL;DR: c<|endoftext|>"


def test_a_text_is_document_separator_summary_end(dictionary, make):
    dataset = make()
    assert dictionary.decode(dataset[0]["tokens"]) == "abcabc<|sep|>ab<|endoftext|>"
    assert dictionary.decode(make(separator="")[1]["tokens"]) == "ca c<|endoftext|>"


def test_the_loss_is_on_the_summary_and_its_end_and_inputs_are_shifted_by_one(dictionary, make):
    dataset = make()
    batch = dataset.collater([dataset[0], dataset[3]])
    tokens, target = batch["net_input"]["src_tokens"], batch["target"]
    assert tokens.shape == target.shape == (2, 9)
    assert [dictionary.decode(row[row != dictionary.pad()]) for row in target] == ["ab<|endoftext|>", "b<|endoftext|>"]
    assert dictionary.decode(tokens[0]) == "abcabc<|sep|>ab"
    assert (target[0] != dictionary.pad()).nonzero().flatten().tolist() == [6, 7, 8]
    assert tokens.max() < len(dictionary), "inputs have no symbol without a row"
    assert batch["ntokens"] == 9 + 3 and batch["nsentences"] == 2


def test_the_loss_may_include_the_document(dictionary, make):
    dataset = make(loss_on="all")
    target = dataset.collater([dataset[0]])["target"]
    assert dictionary.decode(target[0]) == "bcabc<|sep|>ab<|endoftext|>"


def test_documents_are_truncated_and_summaries_are_not(dictionary, make):
    dataset = make(longest=8)
    texts = [dictionary.decode(dataset[i]["tokens"]) for i in range(len(dataset))]
    assert texts[0] == "abcab<|sep|>ab<|endoftext|>" and texts[2] == "bbbb<|sep|>abc<|endoftext|>"
    assert dataset.sizes.max() == 8 and dataset.cut == 2
    assert describe(dataset) == "5 records, 2 documents cut"
    short = make(document_tokens=2)
    assert dictionary.decode(short[0]["tokens"]) == "ab<|sep|>ab<|endoftext|>"


def test_a_summary_that_does_not_fit_is_an_error_or_skipped(make):
    records = [*RECORDS, ("abc", "abcabcabc")]
    with toy.refused("train.csv:7", 9, 10):
        make(records, longest=10)
    dataset = make(records, longest=10, skip_too_long=True)
    assert len(dataset) == 5 and "1 records left out" in describe(dataset)


def test_a_document_without_a_token_is_named_with_its_line(make, dictionary, monkeypatch):
    encode = dictionary.tokenizer.encode
    monkeypatch.setattr(dictionary.tokenizer, "encode", lambda text: [] if text == "cc" else encode(text))
    records = [*RECORDS, ("cc", "a")]  # as sentencepiece makes nothing of a zero-width space
    with toy.refused("train.csv:7"):
        make(records)
    assert len(make(records, skip_too_long=True)) == 5


def test_the_sample_is_drawn_by_the_seed_and_has_batches_of_its_own(make):
    dataset = make(sampled=2, seed=3)
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_sentences=8)
    assert [len(batch) for batch in batches] == [2, 3] and sorted(batches[0]) == dataset.sample.tolist()
    assert sorted(np.concatenate(batches)) == [0, 1, 2, 3, 4]
    assert make(sampled=2, seed=3).sample.tolist() == dataset.sample.tolist()
    assert len({tuple(make(sampled=2, seed=seed).sample) for seed in range(8)}) > 1
    first, second = (dataset.collater([dataset[i] for i in batch]) for batch in batches)
    assert "prompts" not in second and len(first["prompts"]) == len(first["references"]) == 2


def test_prompts_leave_room_for_a_summary(dictionary, make):
    dataset = make(sampled=5, prompt_room=4)
    batch = dataset.collater([dataset[i] for i in range(5)])
    assert [dictionary.decode(prompt) for prompt in batch["prompts"]] == [
        "abc<|sep|>", "ca<|sep|>", "bbb<|sep|>", "a<|sep|>", "cab<|sep|>",
    ]  # fmt: skip
    assert [dictionary.decode(tokens) for tokens in batch["references"]] == ["ab", "c", "abc", "b", "ba"]


def test_batches_contain_rows_of_similar_length_within_max_tokens(make):
    dataset = make()
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=16)
    assert sorted(np.concatenate(batches)) == [0, 1, 2, 3, 4]
    assert all(len(batch) * dataset.sizes[batch].max() <= 16 for batch in batches)
    assert batches[0].tolist() == [3, 1]
    with toy.refused("--max-tokens 9", 16, "--document-tokens"):
        dataset.batch_by_size(dataset.ordered_indices(), max_tokens=9)


def test_unknown_symbols_are_named_with_their_line(make):
    with toy.refused("train.csv:3", "'x'", "U+0078"):
        make([("a", "b"), ("axb", "c")])


def test_a_file_is_encoded_once_and_again_when_it_changes(tmp_path, make, monkeypatch, dictionary):
    make()
    monkeypatch.setattr("plugins.data.summaries.dataset.encode", None)
    make()  # from the cache
    monkeypatch.undo()
    assert dictionary.decode(make([("cc", "a")])[0]["tokens"]) == "cc<|sep|>a<|endoftext|>"


def test_records_are_encoded_again_for_other_merges_of_the_same_symbols(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("article,highlights\nabc,abc\n")
    symbols = ["a", "b", "c", "ab", "bc", "Ġ", "Ċ", *"TLDR;:"]
    found = []
    for merges in ([("a", "b"), ("b", "c")], [("b", "c"), ("a", "b")]):
        dictionary = TokenDictionary(ByteLevelBPE({symbol: i for i, symbol in enumerate(symbols)}, merges))
        records = load(path, Columns(), Layout.of("<|sep|>", dictionary), dictionary, str(tmp_path / "cache"))
        found.append(records.tokens.tolist())
    assert found[0] != found[1]


def test_encodings_of_a_changed_file_are_removed(tmp_path, dictionary):
    path, cache = tmp_path / "a.csv", tmp_path / "cache"
    for text in ("a,b", "ab,c"):
        path.write_text(f"article,highlights\n{text}\n", encoding="utf-8")
        load(path, Columns(), Layout.of("<|sep|>", dictionary), dictionary, str(cache))
    assert len(list(cache.iterdir())) == 1


def test_parts_of_a_file_are_disjoint_and_whole(tmp_path, dictionary):
    path, cache = tmp_path / "all.csv", str(tmp_path / "cache")
    documents = ["a" * (i % 7 + 1) + "b" * (i // 7) for i in range(70)]
    path.write_text("article,highlights\n" + "".join(f"{d},c\n" for d in documents), encoding="utf-8")
    layout = Layout.of("<|sep|>", dictionary)
    parts = [load(path, Columns(), layout, dictionary, cache, part=part) for part in ((0.3, 1.0), (0.0, 0.3))]
    found = [[dictionary.decode(part.document(i)) for i in range(len(part))] for part in parts]
    assert sorted(found[0] + found[1]) == sorted(documents) and min(map(len, found)) > 5


def test_a_document_of_one_token_is_used(make):
    assert len(make([("a", "b"), ("ab", "c")])) == 2


def test_ids_are_stored_in_the_smallest_type(tmp_path):
    class Dictionary:
        tokenizer = type("Tokenizer", (), {"encode": staticmethod(lambda text: list(map(ord, text)))})

        def __init__(self, size):
            self.size = size

        def __len__(self):
            return self.size

    for size, dtype in ((2**16 - 1, np.uint16), (2**16, np.int32)):
        records = [Record(2, "0", "ab", "c"), Record(7, "1", "d", None)]
        assert encode(tmp_path / "x", records, Layout((1,), False, 2), Dictionary(size), tmp_path) == {"records": 2}
        tokens, offsets, lines = (np.load(tmp_path / f"{name}.npy") for name in ("tokens", "offsets", "lines"))
        assert tokens.dtype == dtype and tokens.tolist() == [97, 98, 99, 100]
        assert (offsets.tolist(), lines.tolist()) == ([0, 2, 3, 4, 4], [2, 7])
    with toy.refused(tmp_path / "x", "--valid-fraction"):
        encode(tmp_path / "x", [], Layout((1,), False, 2), Dictionary(9), tmp_path)


def test_a_summary_leaves_room_for_one_token_of_its_document(make, dictionary):
    dataset = make([("abc", "abcabc")], longest=8)
    assert dictionary.decode(dataset[0]["tokens"]) == "a<|sep|>abcabc<|endoftext|>" and dataset.cut == 1
    with toy.refused("train.csv:2", "6 tokens", "takes 7"):
        make([("abc", "abcabc")], longest=7)


def test_the_first_record_that_does_not_fit_is_named(make):
    records = [("a", "b"), ("abc", "abcabc"), ("abc", "abcabcabc")]
    with toy.refused("train.csv:3", "6 tokens"):
        make(records, longest=7)
    with toy.refused("train.csv:2"):  # no record is left
        make(records[1:], longest=7, skip_too_long=True)


def test_a_document_that_just_fits_is_not_cut(make):
    assert make([("abc", "ab")], longest=6).cut == 0 and make([("abc", "ab")], longest=5).cut == 1
    assert make([("abc", "ab")], document_tokens=3).cut == 0 and make([("abc", "ab")], document_tokens=2).cut == 1


@pytest.mark.parametrize("options, prompt", [
    ({}, "abcabc<|sep|>"), ({"document_tokens": 2}, "ab<|sep|>"), ({"prompt_room": 4}, "abc<|sep|>"),
    ({"prompt_room": 4, "document_tokens": 2}, "ab<|sep|>"), ({"longest": 6}, "abcab<|sep|>"),
])  # fmt: skip
def test_a_prompt_is_as_long_as_the_options_allow(make, dictionary, options, prompt):
    assert dictionary.decode(make(**options).prompt(0)) == prompt


def test_only_a_batch_of_sampled_rows_has_prompts(make):
    dataset = make(sampled=2)
    inside, outside = dataset.sample.tolist(), [i for i in range(5) if i not in dataset.sample]
    for ids, has in ((inside, True), (inside[:1], True), (outside, False), ([inside[0], outside[0]], False)):
        batch = dataset.collater([dataset[i] for i in ids])
        assert ("prompts" in batch) == has and batch["id"].tolist() == ids
    assert "prompts" not in make().collater([make()[0]])
    assert dataset.collater([]) == {}


def test_a_batch_describes_its_rows(make, dictionary):
    dataset = make()
    batch = dataset.collater([dataset[0], dataset[3]])
    assert batch["net_input"]["src_lengths"].tolist() == [9, 3]
    assert batch["net_input"]["src_tokens"][1, 3:].unique().tolist() == [dictionary.eos()]
    assert batch["target"][1, 3:].unique().tolist() == [dictionary.pad()]
    assert batch["predicted"]["count"] == 3 + 2
    assert [make(loss_on=kind)[0]["start"] for kind in ("summary", "all")] == [6, 0]


def test_batches_of_training_vary_and_those_of_validation_do_not(make):
    def order(dataset, seed):
        np.random.seed(seed)
        return dataset.ordered_indices().tolist()

    records = [("a" * (1 + i % 3), "b") for i in range(40)]
    plain, shuffled = make(records), make(records, shuffle=True)
    assert order(plain, 1) == order(plain, 2) and order(shuffled, 1) != order(shuffled, 2)


def test_all_records_of_a_file_are_loaded_unless_bad_ones_are_skipped(tmp_path, dictionary):
    path, cache = tmp_path / "a.csv", str(tmp_path / "cache")
    path.write_text("article,highlights\n" + "a,b\n" * 30 + "c,\n", encoding="utf-8")
    layout = Layout.of("<|sep|>", dictionary)
    with toy.refused("a.csv:32"):
        load(path, Columns(), layout, dictionary, cache)
    found = load(path, Columns(), layout, dictionary, cache, skip_bad_rows=True)
    assert len(found) == 30 and found.lines.tolist() == list(range(2, 32)) and found.path == str(path)


def test_what_is_left_out_is_described_only_where_something_is(make):
    assert describe(make()) == "5 records, 0 documents cut"

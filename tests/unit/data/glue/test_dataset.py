"""Tokenized pairs: fairseq's own format, truncation, the cache, and batches by length."""

import os
import random
import shutil

import numpy as np
import pytest
import toy

import plugins
from plugins.data.glue import dataset, reader, specs

RTE, SST = specs.SPECS["RTE"], specs.SPECS["SST-2"]
ENTAILED = ("entailment", "not_entailment")


@pytest.fixture
def tokenizer(toy_data):
    made = dataset.FolderTokenizer(toy_data)
    made.dictionary.add_mask()
    return made


@pytest.fixture
def train(tmp_path):
    """A small RTE training file."""
    texts = toy.sentences(60)
    rows = [f"{i}\t{texts[2 * i]} {'x' * (i % 7)}\t{texts[2 * i + 1]}\t{ENTAILED[i % 2]}\n" for i in range(30)]
    path = tmp_path / "train.tsv"
    path.write_text("index\tsentence1\tsentence2\tlabel\n" + "".join(rows))
    return path


def pairs(train, tokenizer, **options):
    data = dataset.load(train, RTE, "train", tokenizer)
    return dataset.SentencePairs(data, tokenizer.dictionary, **{"max_positions": 64, **options})


def test_inputs_are_those_of_fairseqs_hub_interface(train, tokenizer, toy_data, tmp_path):
    task = toy.make_task(toy_data)
    model = toy.make_model(task)
    hub = object.__new__(plugins.hub.RobertaInterface)
    from fairseq.data import encoders

    hub.__dict__.update(task=task, model=model, bpe=encoders.build_bpe(tokenizer.options))
    rows = [line.split("\t") for line in train.read_text().splitlines()[1:]]
    found = pairs(train, tokenizer, max_positions=200)
    for i, (_, first, second, _) in enumerate(rows):
        assert found[i]["tokens"].tolist() == hub.encode(first, second).tolist()


def test_gpt2s_tokenizer_gives_the_ids_of_fairseqs_own(train, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    learned = tokenizers.ByteLevelBPETokenizer()
    learned.train_from_iterator(toy.sentences(200), vocab_size=330, show_progress=False)
    learned.save_model(str(tmp_path))
    (tmp_path / "vocab.json").rename(tmp_path / "encoder.json")
    (tmp_path / "merges.txt").rename(tmp_path / "vocab.bpe")
    words = random.Random(0).sample(range(330), 330)  # dict.txt is ordered by frequency, not by id
    (tmp_path / "dict.txt").write_text("".join(f"{word} 1\n" for word in words))
    tokenizer = dataset.FolderTokenizer(tmp_path)
    text = train.read_text().splitlines()[1].split("\t")[1]
    ids = tokenizer.encode(text)
    assert [int(tokenizer.dictionary[i]) for i in ids] == learned.encode(text).ids
    assert len(ids) < len(text) and tokenizer.dictionary.unk() not in ids


def test_a_single_sentence_is_enclosed_in_bos_and_eos(tokenizer, tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("sentence\tlabel\nthe river\t1\n")
    data = dataset.load(path, SST, "train", tokenizer)
    tokens = dataset.SentencePairs(data, tokenizer.dictionary, 64)[0]["tokens"].tolist()
    assert tokens == [0, *tokenizer.encode("the river"), 2]


@pytest.mark.parametrize(
    "first, second, budget, kept",
    [
        (3, 4, 10, (3, 4)),
        (3, 9, 10, (3, 7)),
        (9, 3, 10, (7, 3)),
        (9, 9, 10, (5, 5)),
        (9, 9, 11, (6, 5)),
        (6, 5, 10, (5, 5)),
        (5, 6, 10, (5, 5)),
        (20, 0, 10, (10, 0)),
    ],
)
def test_the_longer_text_of_a_pair_is_cut_first(first, second, budget, kept):
    found = dataset.truncated(np.array([first]), np.array([second]), budget)
    assert (found[0][0], found[1][0]) == kept


def test_truncation_equals_taking_tokens_one_by_one():
    """As ``longest_first`` of Hugging Face: of equals, the second loses."""
    for first in range(12):
        for second in range(12):
            for budget in range(13):
                a, b = first, second
                while a + b > budget:
                    a, b = (a - 1, b) if a > b else (a, b - 1)
                found = dataset.truncated(np.array([first]), np.array([second]), budget)
                assert (found[0][0], found[1][0]) == (a, b)


def test_no_input_is_longer_than_max_positions(train, tokenizer):
    found = pairs(train, tokenizer, max_positions=20)
    assert found.sizes.max() == 20
    assert [len(found[i]["tokens"]) for i in range(len(found))] == found.sizes.tolist()
    assert all(found[i]["tokens"][-1] == 2 for i in range(len(found)))


@pytest.mark.parametrize("task, least", [("SST-2", 3), ("RTE", 6)])
def test_an_input_has_room_for_a_token_of_each_text(tokenizer, tmp_path, task, least):
    path = tmp_path / "t.tsv"
    path.write_text("sentence\tsentence1\tsentence2\tlabel\n" + "the river\tthe river\ta garden\t{}\n" * 2)
    path.write_text(path.read_text().replace("{}", specs.SPECS[task].labels[0]))
    data = dataset.load(path, specs.SPECS[task], "train", tokenizer)
    assert dataset.SentencePairs(data, tokenizer.dictionary, least).sizes.tolist() == [least, least]
    with toy.refused("--max-positions", least - 1, least):
        dataset.SentencePairs(data, tokenizer.dictionary, least - 1)


def test_a_batch_is_padded_to_a_small_multiple_and_has_its_labels(train, tokenizer):
    found = pairs(train, tokenizer, pad_multiple=8)
    batch = found.collater([found[0], found[1]])
    tokens = batch["net_input"]["src_tokens"]
    assert tokens.shape[1] % 8 == 0
    assert tokens.shape[1] - found.sizes[:2].max() < 8
    assert (tokens != tokenizer.dictionary.pad()).sum(1).tolist() == found.sizes[:2].tolist()
    assert batch["target"].tolist() == [0, 1]
    assert batch["ntokens"] == found.sizes[:2].sum()


@pytest.mark.parametrize("limits", [{"max_sentences": 4}, {"max_tokens": 200}, {"max_sentences": 5, "max_tokens": 150}])
def test_every_row_is_in_one_batch_within_the_limits(train, tokenizer, limits):
    """fairseq's own batching would drop the last rows for --required-batch-size-multiple, 8 by default."""
    found = pairs(train, tokenizer, shuffle=True)
    batches = found.batch_by_size(found.ordered_indices(), **limits, required_batch_size_multiple=8)
    assert sorted(np.concatenate(batches)) == list(range(30))
    for batch in batches:
        assert len(batch) <= limits.get("max_sentences", 30)
        assert len(batch) * found.sizes[batch].max() <= limits.get("max_tokens", 10**9)


def test_an_input_that_fits_no_batch_is_an_error(train, tokenizer):
    found = pairs(train, tokenizer)
    with toy.refused("--max-tokens 8"):
        found.batch_by_size(found.ordered_indices(), max_tokens=8)


def test_batches_contain_inputs_of_similar_length_and_differ_between_epochs(train, tokenizer):
    found = pairs(train, tokenizer, shuffle=True)
    orders = []
    for seed in (1, 2):
        np.random.seed(seed)
        orders.append(found.ordered_indices())
    assert orders[0].tolist() != orders[1].tolist()
    assert not found.can_reuse_epoch_itr_across_epochs
    for order in orders:
        spread = [np.ptp(found.sizes[batch]) for batch in found.batch_by_size(order, max_sentences=5)]
        assert np.mean(spread) < 0.5 * np.ptp(found.sizes)


# The cache


def load(train, tokenizer, cache, **options):
    return dataset.load(train, RTE, "train", tokenizer, cache, **options)


def same(a, b):
    arrays = ("tokens", "offsets", "labels", "index")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)


def test_a_second_run_uses_the_cache(train, tokenizer, tmp_path, monkeypatch):
    first = load(train, tokenizer, tmp_path / "cache")
    monkeypatch.setattr(dataset, "tokenize", None)
    monkeypatch.setattr(reader, "read", None)
    assert same(load(train, tokenizer, tmp_path / "cache"), first)


def test_other_content_is_not_taken_for_the_cached(train, tokenizer, tmp_path):
    first = load(train, tokenizer, tmp_path / "cache")
    stat = train.stat()
    train.write_text(train.read_text().replace("river", "table"))
    os.utime(train, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not same(load(train, tokenizer, tmp_path / "cache"), first)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_damaged_cache_is_rebuilt(train, tokenizer, tmp_path):
    first = load(train, tokenizer, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert same(load(train, tokenizer, tmp_path / "cache"), first)
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".npz"]


def test_a_cache_that_cannot_be_written_is_skipped(train, tokenizer, tmp_path):
    (tmp_path / "file").write_text("")
    assert len(load(train, tokenizer, tmp_path / "file" / "cache")) == 30


def test_an_unlabeled_split_stays_unlabeled_in_the_cache(tokenizer, tmp_path):
    path = tmp_path / "test.tsv"
    path.write_text("index\tsentence1\tsentence2\n5\ta\tb\n")
    for _ in range(2):
        data = dataset.load(path, RTE, "test", tokenizer, tmp_path / "cache")
        assert (data.labels, data.index.tolist()) == (None, ["5"])


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path, toy_data):
    (tmp_path / "dict.txt").write_bytes((toy_data / "dict.txt").read_bytes())
    with toy.refused("--tokenizer-dir"):
        dataset.FolderTokenizer(tmp_path)


@pytest.mark.slow
def test_67000_rows_are_read_and_tokenized_in_15_seconds(tokenizer, tmp_path):
    """The size of SST-2's training split: 67,349 phrases, 9.4 words each on average."""
    import time

    words = " ".join(toy.sentences(2000)).split()
    rows = [" ".join(words[i % 18000 : i % 18000 + 1 + i % 18]) + f"\t{i % 2}\n" for i in range(67_349)]
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\n" + "".join(rows))
    start = time.process_time()
    dataset.load(path, SST, "train", tokenizer, tmp_path / "cache")
    assert time.process_time() - start < 15
    start = time.process_time()
    dataset.load(path, SST, "train", tokenizer, tmp_path / "cache")
    assert time.process_time() - start < 2


def test_the_cache_key_covers_everything_the_result_depends_on(train, tokenizer, tmp_path, toy_data):
    def key(**changes):
        options = {"path": train, "spec": RTE, "split": "train", "tokenizer": tokenizer, "skip_bad_rows": False}
        return dataset.key(**options | changes)

    csv = tmp_path / "train.csv"
    csv.write_bytes(train.read_bytes())
    other = tmp_path / "other"
    shutil.copytree(toy_data, other)
    with (other / "dict.txt").open("a") as file:
        file.write("another 1\n")
    changed = [
        {"skip_bad_rows": True},
        {"tokenizer": dataset.FolderTokenizer(other)},
        {"split": "valid"},
        {"spec": specs.SPECS["WNLI"]},
        {"path": csv},
    ]
    keys = {key(), *(key(**change) for change in changed)}
    assert len(keys) == 1 + len(changed) and key() in keys
    shutil.copytree(toy_data, tmp_path / "copy")
    assert key(tokenizer=dataset.FolderTokenizer(tmp_path / "copy")) == key(), "the same files elsewhere"


def test_shuffled_batches_are_filled(train, tokenizer):
    made = pairs(train, tokenizer, shuffle=True)
    sizes = [len(batch) for batch in made.batch_by_size(made.ordered_indices(), max_sentences=8)]
    assert sizes == [8, 8, 8, 6]


def test_some_rows_of_a_split_keep_their_texts_labels_and_numbers(train, tokenizer):
    whole, some = pairs(train, tokenizer), pairs(train, tokenizer, rows=np.array([7, 2, 9]), split="held_out")
    for i, row in enumerate((7, 2, 9)):
        assert some[i]["tokens"].tolist() == whole[row]["tokens"].tolist() and some[i]["label"] == whole[row]["label"]
        assert some.index[i] == whole.index[row] and some.sizes[i] == whole.sizes[row]
    batch = some.collater([some[2], some[0]])
    assert (batch["id"].tolist(), batch["rows"].tolist()) == ([2, 0], [9, 7])
    assert (batch["split"], batch["of"], batch["nsentences"]) == ("held_out", 30, 2)
    other = whole.collater([whole[4]])
    assert (other["split"], other["of"], other["rows"].tolist()) == ("", 30, [4])


def test_padding_is_reported_and_only_where_there_is_any(train, tokenizer):
    found = pairs(train, tokenizer)
    long, short = int(found.sizes.argmax()), int(found.sizes.argmin())
    batch = found.collater([found[long], found[short]])
    assert batch["net_input"]["has_padding"] is True
    assert batch["net_input"]["src_lengths"].tolist() == [found.sizes[long], found.sizes[short]]
    assert found.collater([found[long]])["net_input"]["has_padding"] is False
    multiple = pairs(train, tokenizer, pad_multiple=64).collater([found[short]])
    assert multiple["net_input"]["has_padding"] is True and multiple["net_input"]["src_tokens"].shape == (1, 64)
    assert found.collater([]) == {} and found.can_reuse_epoch_itr_across_epochs


def test_rows_without_labels_have_no_target(tokenizer, tmp_path):
    path = tmp_path / "test.tsv"
    path.write_text("index\tsentence1\tsentence2\n5\ta\tb\n6\tc\td\n")
    for rows in (None, np.array([1])):
        data = dataset.load(path, RTE, "test", tokenizer)
        found = dataset.SentencePairs(data, tokenizer.dictionary, 64, rows=rows)
        assert found[0]["label"] is None and "target" not in found.collater([found[0]])
        assert found.index.tolist() == (["5", "6"] if rows is None else ["6"])


def test_rows_that_were_left_out_are_counted_from_the_cache_too(train, tokenizer, tmp_path):
    train.write_text(train.read_text() + "31\ta\tb\tneither\n")
    for _ in range(2):
        data = load(train, tokenizer, tmp_path / "cache", skip_bad_rows=True)
        assert (len(data), data.skipped) == (30, 1) and data.tokens.dtype == np.int32
        assert dataset.part(data, np.array([3])).skipped == 1


@pytest.mark.parametrize("missing", ["tokens", "offsets", "index", "skipped"])
def test_a_cache_file_without_an_array_is_rebuilt(train, tokenizer, tmp_path, missing, caplog):
    first = load(train, tokenizer, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files if name != missing}
    np.savez(path, **arrays)
    assert same(load(train, tokenizer, tmp_path / "cache"), first) and "damaged" in caplog.text
    assert path.name.startswith("RTE-train-") and len(path.stem) == len("RTE-train-") + 32


def test_the_cache_is_in_the_users_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert dataset.default_cache() == "/caches/fairseq-workbench/glue"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert dataset.default_cache() == "/home/me/.cache/fairseq-workbench/glue"


def test_without_a_cache_nothing_is_written(train, tokenizer):
    before = sorted(train.parent.iterdir())
    dataset.load(train, RTE, "train", tokenizer)
    assert sorted(train.parent.iterdir()) == before


@pytest.mark.parametrize("labels, times", [(("entailment",) * 3, 1), (("entailment", "not_entailment") * 2, 0)])
def test_rows_with_one_label_are_warned_of_once(tokenizer, tmp_path, caplog, labels, times):
    path = tmp_path / "train.tsv"
    rows = "".join(f"{i}\ta\tb\t{label}\n" for i, label in enumerate(labels))
    path.write_text("index\tsentence1\tsentence2\tlabel\n" + rows)
    for _ in range(2):
        dataset.load(path, RTE, "train", tokenizer, tmp_path / "cache")
    assert caplog.text.count("label, entailment") == times

"""The task: characters and styles from the text or the checkpoint, datasets, batches."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq import models, tasks
from omegaconf import OmegaConf

from plugins.options import NO_START
from plugins.tasks.char_lm import CharLMTaskConfig


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    return path


@pytest.fixture
def make_task(tmp_path):
    def make(data, block=16, **options):
        options = {**NO_START, "seed": 1, "path": None, "save_dir": str(tmp_path / "run"), **options}
        config = CharLMTaskConfig(data=str(data), **options)
        config._name = "char_lm"
        task = tasks.setup_task(OmegaConf.structured(config))
        task.block_size = block
        return task

    return make


def save(path, dictionary="abc", styles=(), unit="char"):
    state = {"dictionary": {"unit": unit, "characters": list(dictionary)}, "styles": list(styles)}
    torch.save({"model": {}, "task_state": state}, path)
    return str(path)


def test_a_task_is_built_without_reading_its_data(make_task):
    make_task("/no/such/file")


def test_characters_come_from_the_training_text_and_are_stored_in_the_checkpoint(make_task, text):
    task = make_task(text)
    assert "".join(task.source_dictionary.characters) == "\n abcdefghijklmnopqrstuvwxyz"
    assert task.target_dictionary is task.source_dictionary
    assert task.state_dict() == {
        "dictionary": {"unit": "char", "characters": task.source_dictionary.characters},
        "styles": [],
    }


@pytest.mark.parametrize(
    ("content", "unit", "warning"),
    [
        (b"one\r\ntwo\r\n", "char", "'\\r' (U+000D); convert Windows line ends to remove '\\r'"),
        (b"one\x00\x1btwo\n", "char", "'\\x00' (U+0000), '\\x1b' (U+001B)"),
        (b"one\ttwo\n", "char", None),
        (b"one\r\ntwo\x00", "byte", None),
    ],
)
def test_control_characters_of_the_training_text_are_named(make_task, tmp_path, caplog, content, unit, warning):
    path = tmp_path / "text.txt"
    path.write_bytes(content * 50)
    assert len(make_task(path, unit=unit).source_dictionary) > 2
    expected = [] if warning is None else [f"the training text has control characters, which are learned: {warning}"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in warnings if "null characters" not in text] == expected  # of which the reader warns
    assert len(warnings) == len(expected) + (b"\x00" in content)


def test_characters_are_those_of_the_checkpoint_that_training_starts_from(make_task, text, tmp_path):
    start = save(tmp_path / "start.pt", "\n ABCabcdefghijklmnopqrstuvwxyz", ["x", "y"])
    task = make_task(text, finetune_from_model=start)
    assert len(task.source_dictionary) == 31
    assert task.style_names == ["x", "y"]
    task.load_dataset("train")
    batch = task.dataset("train").collater([0])
    assert batch["target"].max() < 31
    assert "style_labels" not in batch["net_input"]
    (tmp_path / "run").mkdir(exist_ok=True)
    save(tmp_path / "run" / "checkpoint_last.pt")  # a run that can be resumed is resumed
    assert len(make_task(text, finetune_from_model=start, restore_file="checkpoint_last.pt").source_dictionary) == 3


def test_a_text_with_other_characters_than_the_checkpoint_is_one_line(make_task, text, tmp_path):
    start = save(tmp_path / "start.pt", "\n abcdefghijklmnopqrstuvwxy")
    with toy.refused("text.txt", "'z'", "U+007A", "character 38", "train", "start.pt"):
        make_task(text, finetune_from_model=start).load_dataset("train")


def test_a_unit_that_contradicts_the_checkpoint_is_one_line(make_task, text, tmp_path):
    start = save(tmp_path / "start.pt", map(chr, range(256)), unit="byte")
    assert len(make_task(text, finetune_from_model=start).source_dictionary) == 256
    with toy.refused("--unit char", "start.pt", "--unit byte"):
        make_task(text, unit="char", finetune_from_model=start).source_dictionary  # noqa: B018


def test_a_checkpoint_of_another_task_is_one_line(make_task, text, tmp_path):
    torch.save({"model": {}, "task_state": {}}, tmp_path / "other.pt")
    with toy.refused("other.pt", "--task char_lm"):
        make_task(text, finetune_from_model=str(tmp_path / "other.pt")).source_dictionary  # noqa: B018


def test_a_loaded_state_defines_dictionary_and_styles(make_task):
    task = make_task("/no/such/file")
    task.load_state_dict({"dictionary": {"unit": "char", "characters": ["a", "b"]}, "styles": ["x"]})
    assert (task.source_dictionary.characters, task.style_names) == (["a", "b"], ["x"])


def test_training_reads_random_windows_and_evaluation_all_of_them(make_task, text, tmp_path):
    task = make_task(text)
    task.load_dataset("train")
    task.load_dataset("valid")
    kinds = [type(task.dataset(split)).__name__ for split in ("train", "valid")]
    assert kinds == ["RandomWindows", "ConsecutiveWindows"]
    task.load_dataset("train", task_cfg=task.cfg)  # as fairseq-validate does
    assert sum(task.dataset("train").collater([i])["ntokens"] for i in range(len(task.dataset("train")))) == 791


@pytest.mark.parametrize("asked, length", [(0, 16), (10, 10), (-6, 10)])
def test_windows_have_the_block_size_by_default(make_task, text, asked, length):
    task = make_task(text, tokens_per_sample=asked)
    task.load_dataset("valid")
    assert task.dataset("valid").collater([0])["target"].shape == (1, length)


@pytest.mark.parametrize("asked", [17, -16])
def test_windows_that_do_not_fit_the_block_are_one_line(make_task, text, asked):
    with toy.refused(f"--tokens-per-sample {asked}", 16):
        make_task(text, tokens_per_sample=asked).load_dataset("valid")


@pytest.mark.parametrize(
    "options, named",
    [
        ({"valid_fraction": 1.5}, "--valid-fraction 1.5"),
        ({"test_fraction": -1}, "--test-fraction -1.0"),
        ({"epoch_windows": 0}, "--epoch-windows 0"),
    ],
)
def test_options_out_of_range_fail_when_the_task_is_set_up(make_task, options, named):
    with toy.refused(named):
        make_task("x", **options)


def test_several_files_are_one_corpus(make_task, text, tmp_path):
    (tmp_path / "other.txt").write_text("ZZZ " * 20)
    task = make_task(f"{text}:{tmp_path / 'other.txt'}", style_from="file")
    assert not task.has_sharded_data("train")
    assert task.style_names == ["other", "text"]
    task.load_dataset("train")
    assert set(task.dataset("train").collater(range(100))["net_input"]["style_labels"].tolist()) == {0, 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_continues_with_the_windows_that_were_to_come(make_task, text, workers):
    def starts(iterator):
        return [batch["net_input"]["src_tokens"].tolist() for batch in iterator]

    task = make_task(text)
    task.load_dataset("train")

    def iterator(epoch):
        return task.get_batch_iterator(
            task.dataset("train"), max_sentences=4, epoch=epoch, num_workers=workers, data_buffer_size=10
        )

    reference = {epoch: starts(iterator(epoch).next_epoch_itr()) for epoch in (1, 2)}
    assert reference[1] != reference[2]
    interrupted = iterator(1)
    running = interrupted.next_epoch_itr()
    assert [next(running)["net_input"]["src_tokens"].tolist() for _ in range(5)] == reference[1][:5]
    resumed = iterator(1)
    resumed.load_state_dict(interrupted.state_dict())
    assert starts(resumed.next_epoch_itr()) == reference[1][5:]
    assert starts(iterator(2).next_epoch_itr()) == reference[2]


def test_processes_share_the_batches_of_one_out(make_task, text):
    task = make_task(text)
    task.load_dataset("train")

    def ids(shard, shards):
        iterator = task.get_batch_iterator(task.dataset("train"), max_sentences=4, num_shards=shards, shard_id=shard)
        return [batch["id"].tolist() for batch in iterator.next_epoch_itr()]

    alone, shared = ids(0, 1), [ids(0, 2), ids(1, 2)]
    assert shared[0] == alone[0::2]
    assert len(shared[0]) == len(shared[1])


@pytest.mark.parametrize("limits, size", [({"max_sentences": 5}, 5), ({"max_tokens": 64}, 4), ({"max_tokens": 1}, 1)])
def test_a_batch_keeps_to_the_limits(make_task, text, limits, size):
    task = make_task(text)
    task.load_dataset("valid")
    batch = next(iter(task.get_batch_iterator(task.dataset("valid"), **limits).next_epoch_itr()))
    assert batch["nsentences"] == size


def test_the_block_size_is_the_models(make_task, text, monkeypatch):
    monkeypatch.setattr(models, "build_model", lambda *args: SimpleNamespace(max_positions=lambda: 24))
    task = make_task(text)
    task.build_model(SimpleNamespace(quant_noise_scalar=0))
    assert task.window == task.max_positions() == 24


def test_the_encoded_text_is_cached_next_to_the_checkpoint_or_in_data_cache(make_task, text, tmp_path):
    make_task(text).source_dictionary  # noqa: B018
    assert (tmp_path / "run" / "data").is_dir()
    make_task(text, path=str(tmp_path / "elsewhere" / "ckpt.pt")).corpus("char")
    assert (tmp_path / "elsewhere" / "data").is_dir()
    make_task(text, data_cache=str(tmp_path / "shared")).corpus("char")
    assert (tmp_path / "shared").is_dir()


def test_training_validation_and_test_text_of_a_file_are_disjoint_and_all_of_it(make_task, tmp_path):
    path = tmp_path / "digits.txt"
    path.write_text("0123456789" * 10)
    task = make_task(path, valid_fraction=0.2, test_fraction=0.1)
    parts = [task.read(split, 4) for split in ("train", "valid", "test")]
    texts = ["".join(task.dictionary.characters[i - task.dictionary.nspecial] for i in ids_of(part)) for part in parts]
    assert [len(text) for text in texts] == [70, 20, 10]
    assert "".join(texts) == path.read_text()


def ids_of(part):
    return part.read(part.starts[:1], len(part))[0].tolist()


@pytest.mark.parametrize(("window", "asked", "context"), [(16, 8, 0), (10, 8, 6), (10, 4, 4), (4, 0, 0)])
def test_context_and_window_fit_the_block(make_task, text, window, asked, context):
    task = make_task(text, block=16, tokens_per_sample=window)
    task.load_dataset("valid", task_cfg=task.cfg)
    batches = list(task.eval_lm_dataloader(task.dataset("valid"), batch_size=4, context_window=asked))
    assert max(batch["net_input"]["src_tokens"].size(1) for batch in batches) == window + context


def test_the_unit_is_the_one_named_else_characters(make_task, text):
    assert make_task(text, unit="byte").source_dictionary.unit == "byte"
    assert make_task(text).source_dictionary.unit == "char"

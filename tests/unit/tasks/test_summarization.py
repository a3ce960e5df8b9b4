"""The task summarization: which options it refuses."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import toy
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from plugins.data.summaries.reader import share
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.options import NO_START
from plugins.tasks.summarization import SummarizationConfig, SummarizationTask, check, find_dictionary, version_of


@pytest.mark.parametrize(
    "options", [{"document_tokens": 0}, {"document_tokens": -1}, {"rouge_max_length": 0}, {"rouge_sample": -1}]
)
def test_numbers_that_are_too_small_name_their_flags(options):
    with toy.refused("--rouge-max-length", "--document-tokens"):
        check(SummarizationConfig(**options), None)


def test_by_default_documents_are_not_cut():
    check(SummarizationConfig(), None)


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_each_record_of_a_file_is_for_training_or_for_validation(fraction):
    task = object.__new__(SummarizationTask)
    task.cfg = SimpleNamespace(data="records.jsonl", valid_fraction=fraction)
    parts = [task.part("records.jsonl", split) for split in ("train", "valid")]
    shares = [share(f"document {i}") for i in range(1000)]
    counts = [[first <= s < last for first, last in parts] for s in shares]
    assert all(sum(row) == 1 for row in counts)
    assert sum(row[1] for row in counts) == pytest.approx(1000 * fraction, abs=50)


def test_a_file_has_no_test_split():
    task = object.__new__(SummarizationTask)
    task.cfg = SimpleNamespace(data="records.jsonl", valid_fraction=0.1)
    with pytest.raises(UserError) as error:
        task.part("records.jsonl", "test")
    assert "records.jsonl" in str(error.value) and "test" in str(error.value)


def run_of(metric, criterion="summarization"):
    checkpoint = {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": False}
    return OmegaConf.create({"checkpoint": checkpoint, "criterion": criterion and {"_name": criterion}})


@pytest.mark.parametrize("metric, maximize", [("rouge1", True), ("rougeLsum", True), ("loss", False)])
def test_the_best_rouge_is_the_highest(metric, maximize):
    run = run_of(metric)
    check(SummarizationConfig(rouge_sample=4), run)
    assert run.checkpoint.maximize_best_checkpoint_metric is maximize


@pytest.mark.parametrize("sample, criterion", [(0, "summarization"), (4, "causal_lm"), (4, None)])
def test_a_best_rouge_needs_summaries(sample, criterion):
    with toy.refused("--best-checkpoint-metric rouge2", "--rouge-sample", "--criterion summarization"):
        check(SummarizationConfig(rouge_sample=sample), run_of("rouge2", criterion))
    check(SummarizationConfig(rouge_sample=sample), run_of("loss", criterion))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_share_for_validation_is_a_part(fraction):
    with toy.refused(f"--valid-fraction {fraction}"):
        check(SummarizationConfig(valid_fraction=fraction), None)


def test_a_folder_has_a_file_for_each_split(tmp_path):
    task = object.__new__(SummarizationTask)
    for data in (str(tmp_path), "docstrings"):
        task.cfg = SimpleNamespace(data=data, valid_fraction=0.1)
        assert task.part("any", "test") == task.part("any", "train") == (0.0, 1.0)


def test_numbers_at_their_limits_pass():
    check(SummarizationConfig(rouge_sample=0, rouge_max_length=1, document_tokens=1), None)


def test_the_dictionary_is_next_to_the_checkpoint_or_named(tmp_path):
    for name, letters in (("a", "abc"), ("b", "abd")):
        (tmp_path / name).mkdir()
        TokenDictionary(Characters(letters)).save_files(tmp_path / name)
    (tmp_path / "a" / "x.pt").touch()
    cfg = SummarizationConfig(vocabulary=str(tmp_path / "b"), **NO_START, path=None)
    assert "d" in find_dictionary(cfg).symbols
    cfg.finetune_from_model = str(tmp_path / "a" / "x.pt")
    assert "c" in find_dictionary(cfg).symbols
    cfg.finetune_from_model = str(tmp_path / "a" / "gone.pt")
    with toy.refused(tmp_path / "a" / "gone.pt"):
        find_dictionary(cfg)
    cfg.path = str(tmp_path / "a" / "x.pt")  # which is evaluated, wherever it came from
    assert "c" in find_dictionary(cfg).symbols
    with toy.refused("--finetune-from-model", "--vocabulary"):
        find_dictionary(SummarizationConfig(**NO_START, path=None))


@pytest.fixture
def task(tmp_path):
    TokenDictionary(Characters("abc ")).save_files(tmp_path)
    cfg = SummarizationConfig(data="x", vocabulary=str(tmp_path), **NO_START, path=None, seed=1, rouge_sample=4,
                              rouge_max_length=8)  # fmt: skip
    return SummarizationTask(OmegaConf.structured(cfg))


def test_the_separator_is_added_and_stored(task, caplog):
    assert task.dictionary.added[-1] == "<|sep|>" or "<|sep|>" in task.dictionary.added
    state = task.state_dict()
    assert state["separator"] == "<|sep|>" and state["dictionary_sha256"] == task.fingerprints[1]
    for fingerprint in task.fingerprints:
        task.load_state_dict({"dictionary_sha256": fingerprint})
    assert len(set(task.fingerprints)) == 2 and not caplog.records
    task.load_state_dict({"dictionary_sha256": task.fingerprints[0], "separator": "TL;DR"})
    assert "TL;DR" in caplog.text
    with toy.refused("vocabulary"):
        task.load_state_dict({"dictionary_sha256": "0" * 64})


@pytest.mark.parametrize("longest, fits", [(9, False), (10, True)])
def test_the_model_has_room_for_a_summary_its_separator_and_a_document(task, monkeypatch, longest, fits):
    monkeypatch.setattr(FairseqTask, "build_model", lambda *given: SimpleNamespace(max_positions=lambda: longest))
    if fits:
        task.build_model(None)
        assert task.max_positions() == 10
    else:
        with toy.refused("--rouge-max-length 8", 9):
            task.build_model(None)


def test_versions_of_packages_are_found_under_their_distribution_names():
    import sklearn

    assert version_of("sklearn") == sklearn.__version__
    assert version_of("no-such-package") == "not installed"


@pytest.mark.parametrize(
    "split, path, training", [("train", None, True), ("valid", None, False), ("train", "x.pt", False)]
)
def test_a_split_is_loaded_with_the_options_and_shuffled_in_training_alone(task, monkeypatch, split, path, training):
    from plugins.tasks import summarization

    seen = []
    monkeypatch.setattr(summarization, "locate", lambda data, split: Path(data, split))
    monkeypatch.setattr(
        summarization.summary_dataset, "load", lambda *given, **more: seen.append((given, more)) or "all"
    )
    monkeypatch.setattr(summarization.summary_dataset, "SummaryDataset", lambda *given, **more: (given, more))
    monkeypatch.setattr(summarization.summary_dataset, "describe", str)
    task.cfg.update(data="x.jsonl", path=path, document_column="d", summary_column="s", skip_bad_rows=True, seed=5,
                    document_tokens=3, loss_on="all", save_dir="run")  # fmt: skip
    task.longest = 20
    given, more = task.load_dataset(split)
    assert given == ("all", task.layout, task.dictionary.pad(), 20) and task.datasets[split] == (given, more)
    assert more == {
        "document_tokens": 3, "loss_on": "all", "skip_too_long": True, "shuffle": training,
        "sampled": 0 if training else 4, "seed": 5, "prompt_room": 12,
    }  # fmt: skip
    [((file, columns, layout, dictionary, cache), rest)] = seen
    assert file == Path("x.jsonl", split) and (columns.document, columns.summary) == ("d", "s")
    assert layout is task.layout and dictionary is task.dictionary and cache == ("./data" if path else "run/data")
    assert rest == {"skip_bad_rows": True, "part": (0.1, 1.0) if split == "train" else (0.0, 0.1)}


def test_the_installed_docstrings_are_written_once_for_their_versions(tmp_path, monkeypatch):
    from plugins.tasks import summarization

    written = []
    monkeypatch.setattr(summarization.docstrings, "write", lambda folder: written.append(folder) or {})
    folders = [summarization.embedded(str(tmp_path)) for _ in range(2)]
    monkeypatch.setattr(summarization, "version_of", lambda name: "another")
    folders.append(summarization.embedded(str(tmp_path)))
    assert folders[0] == folders[1] != folders[2] and len(written) == 2

"""The base of the tasks on whole texts: the encoder of the model that training starts from, and the best metric."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from plugins.data.dictionaries import MaskDictionary, fingerprint
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.options import NO_START
from plugins.tasks.glue import DEFAULT_POSITIONS
from plugins.tasks.texts import TextsTask, choose_metric, find_encoder


def run_of(metric="loss", model="clap_roberta", size=10, **start):
    return OmegaConf.create({
        "checkpoint": {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": False, **NO_START, **start},
        "common": {"all_gather_list_size": size}, "model": {"_name": model}, "common_eval": {"path": None},
    })  # fmt: skip


@pytest.mark.parametrize("given, name, chosen, maximize", [
    ("loss", "map", "map", True), ("loss", None, "loss", False), ("ppl", "map", "ppl", False),
    ("auc", "map", "auc", True), ("loss", "ppl", "ppl", False),
])  # fmt: skip
def test_a_metric_picks_the_best_checkpoint_unless_another_was_given(given, name, chosen, maximize):
    run = run_of(given)
    choose_metric(run, name, {"map", "auc"})
    assert run.checkpoint.best_checkpoint_metric == chosen
    assert run.checkpoint.maximize_best_checkpoint_metric is maximize
    assert run.common.all_gather_list_size > 10
    large = run_of(size=1 << 40)
    choose_metric(large, None, ())
    assert large.common.all_gather_list_size == 1 << 40


def encoder_of(model, tokenizer_dir=None, **start):
    cfg = OmegaConf.create({**NO_START, "tokenizer_dir": tokenizer_dir, "data": "nowhere", **start})
    return find_encoder(cfg, run_of(model=model, **start))


def test_a_character_lm_brings_its_characters_and_styles(tmp_path):
    state = {"dictionary": {"unit": "char", "characters": ["a", "b"]}, "styles": ["x"]}
    torch.save({"model": {}, "task_state": state}, tmp_path / "x.pt")
    encoder, styles = encoder_of("style_char_lm_nano", finetune_from_model=str(tmp_path / "x.pt"))
    assert styles == ["x"] and encoder.dictionary.characters == ["a", "b"]
    with toy.refused("--arch char_lm", "--finetune-from"):
        encoder_of("char_lm")
    torch.save({"model": {}}, tmp_path / "y.pt")
    with toy.refused(tmp_path / "y.pt"):
        encoder_of("char_lm", finetune_from_model=str(tmp_path / "y.pt"))


def test_a_causal_lm_brings_its_tokenizer_or_gets_one(tmp_path):
    for name, letters in (("a", "abc"), ("b", "abd")):
        (tmp_path / name).mkdir()
        TokenDictionary(Characters(letters)).save_files(tmp_path / name)
    torch.save({"model": {}}, tmp_path / "a" / "x.pt")
    start = {"finetune_from_model": str(tmp_path / "a" / "x.pt")}
    assert "c" in encoder_of("causal_lm_tiny", **start)[0].dictionary.symbols
    assert "d" in encoder_of("causal_lm_tiny", str(tmp_path / "b"), **start)[0].dictionary.symbols
    assert encoder_of("causal_lm", str(tmp_path / "b"))[1] == []
    with toy.refused("--finetune-from", "--tokenizer-dir"):
        encoder_of("causal_lm")


def test_a_finished_checkpoint_brings_the_tokenizer_next_to_it(tmp_path):
    """Not that of the model that its training started from, which may be gone."""
    TokenDictionary(Characters("abc")).save_files(tmp_path)
    cfg = OmegaConf.create({**NO_START, "tokenizer_dir": "gone", "data": "nowhere", "finetune_from_model": "gone.pt"})
    run = run_of(model="causal_lm")
    run.common_eval.path = str(tmp_path / "x.pt")
    encoder, styles = find_encoder(cfg, run, from_checkpoint=True)
    assert "c" in encoder.dictionary.symbols and styles == []


def test_a_masked_lm_brings_its_dictionary(toy_data):
    encoder, styles = encoder_of("clap_roberta_tiny", str(toy_data))
    assert (
        styles == []
        and encoder.dictionary.symbols[4:6] == [line.split()[0] for line in open(toy_data / "dict.txt")][:2]
    )


@pytest.mark.parametrize("model", ["char_lm", "causal_lm", "clap_roberta"])
def test_a_missing_checkpoint_to_start_from_is_named(tmp_path, model):
    with toy.refused(tmp_path / "gone.pt"):
        encoder_of(model, "anywhere", finetune_from_model=str(tmp_path / "gone.pt"))


def test_the_tokenizer_is_written_next_to_checkpoints_and_outputs_of_a_split_are_forgotten(monkeypatch):
    saved, reset = [], []
    task = object.__new__(TextsTask)
    task.encoder = SimpleNamespace(save=saved.append)
    monkeypatch.setattr(metrics, "reset_meters", reset.append)
    task.post_save("run/checkpoint_last.pt", 1)
    task.post_validate(None, {}, None)
    assert (saved, reset) == (["run"], ["valid"])


class Encoder:
    """Stands for the encoder of a model."""

    dictionary, before, after = MaskDictionary(), (0,), (2,)

    def identity(self):
        return {"dictionary_sha256": fingerprint(self.dictionary)}


class Task(TextsTask):
    key = "toy"

    def settings(self):
        return {"a": 1}

    def add_head(self, model):
        model.head = "added"


@pytest.fixture
def built(monkeypatch):
    """Return a function that builds the model of a task, which has a number of positions: (task, model, options)."""

    def build(limit, pooling="mean", stored=None, from_checkpoint=False, **options):
        cfg, seen = OmegaConf.create(options), []
        model = SimpleNamespace(max_positions=lambda: limit)
        monkeypatch.setattr(
            FairseqTask, "build_model", lambda self, cfg, again: seen.append((dict(cfg), again)) or model
        )
        task = Task(SimpleNamespace(pooling=pooling, mixed_precision="none"), Encoder(), ["x"])
        if stored is not None:
            task.load_state_dict({"dictionary_sha256": fingerprint(task.dictionary), "toy": stored})
        assert task.build_model(cfg, from_checkpoint) is model and model.head == "added"
        return task, seen[0]

    return build


@pytest.mark.parametrize("limit, stored, options, longest", [
    (300, None, {}, 300), (9000, None, {}, DEFAULT_POSITIONS), (300, {"longest": 64}, {}, 64),
    (50, {"longest": 64}, {}, 50), (300, {}, {}, 300),
    (300, None, {"positions": "learned", "max_positions": 100}, 100),
    (300, {"longest": 64}, {"positions": "learned", "max_positions": 300}, 300),
    (300, {"longest": 64}, {"positions": "learned", "max_positions": None}, 64),
    (9000, None, {"positions": "alibi", "max_positions": 2000}, 2000),
])  # fmt: skip
def test_a_text_is_as_long_as_was_asked_for_else_as_stored_else_as_the_model_takes(
    built, limit, stored, options, longest
):
    task, (passed, _) = built(limit, stored=stored, **options)
    assert task.longest == task.max_positions() == longest
    assert task.state_dict()["toy"] == {"a": 1, "longest": longest}
    assert passed == {**options, **({"max_positions": None} if options else {})}  # the model keeps its own positions


def test_a_model_of_a_checkpoint_keeps_its_number_of_positions(built):
    task, (passed, again) = built(300, from_checkpoint=True, positions="learned", max_positions=100)
    assert again is True and passed["max_positions"] == 100 and task.longest == 300


def test_more_positions_than_the_model_has_are_refused(built):
    with toy.refused("--max-positions 301", 300):
        built(300, positions="learned", max_positions=301)


@pytest.mark.parametrize("positions", [1, 2])
def test_a_text_needs_room_between_the_symbols_around_it(built, positions):
    with toy.refused(f"--max-positions {positions}", "3"):
        built(300, positions="learned", max_positions=positions)
    assert built(300, positions="learned", max_positions=3)[0].longest == 3


@pytest.mark.parametrize("pooling, causal", [("bos", False), ("attention", False), ("mean", True), ("last", True)])
def test_a_causal_model_takes_some_poolings(built, pooling, causal):
    built(300, pooling)
    if causal:
        built(300, pooling, decoder_layers=2)
    else:
        with toy.refused(f"--pooling {pooling}", "mean, max, last"):
            built(300, pooling, decoder_layers=2)


def test_a_task_stores_its_dictionary_styles_and_settings():
    task = Task(SimpleNamespace(mixed_precision="none"), Encoder(), ("x", "y"))
    assert task.max_positions() == DEFAULT_POSITIONS and task.source_dictionary is task.target_dictionary
    assert "<mask>" in task.dictionary.symbols
    assert task.state_dict()["styles"] == ["x", "y"] and task.state_dict()["toy"] == {"a": 1}
    with toy.refused("the checkpoint"):
        task.load_state_dict({"dictionary_sha256": "0" * 64})


def test_validation_scores_what_all_batches_logged_and_no_text_is_filtered(monkeypatch):
    called = []
    monkeypatch.setattr(FairseqTask, "reduce_metrics", lambda self, logs, criterion: called.append(("fairseq", logs)))
    criterion = SimpleNamespace(training=True, log_scores=lambda logs: called.append(("scores", logs)))
    task = object.__new__(TextsTask)
    task.reduce_metrics(["log"], criterion)
    assert called == [("fairseq", ["log"]), ("scores", ["log"])]
    assert TextsTask.logging_outputs_can_be_summed(criterion) is True
    criterion.training = False
    assert TextsTask.logging_outputs_can_be_summed(criterion) is False
    assert task.filter_indices_by_size([3, 1], None, 0) == [3, 1]

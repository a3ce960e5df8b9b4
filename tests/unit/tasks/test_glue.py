"""The task ``glue``: errors and set-up, without training."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from fairseq.tasks.fairseq_task import StatefulContainer
from omegaconf import OmegaConf

from plugins.criterions.glue import ANSWERS
from plugins.data.glue import specs
from plugins.options import NO_START
from plugins.tasks import glue

SPEC = """
name: mood
files: {train: train.csv, valid: dev.csv}
text: sentence
label: mood
labels: ["sad, angry", glad]
metrics: [accuracy]
"""


@pytest.mark.parametrize("from_checkpoint", [True, False])
def test_a_label_may_contain_a_comma(tmp_path, from_checkpoint):
    (tmp_path / "own.yaml").write_text(SPEC)
    cfg = SimpleNamespace(spec=str(tmp_path / "own.yaml"), label_names="sad, angry,glad")
    assert glue.choose_spec(cfg, from_checkpoint).labels == ("sad, angry", "glad")
    cfg.label_names = "glad,sad, angry"
    with toy.refused("glad, sad,  angry", "mood"):
        glue.choose_spec(cfg, from_checkpoint)


def test_a_run_of_another_task_is_not_resumed(tmp_path):
    torch.save({"model": {}, "task_state": {"spec": specs.SPECS["RTE"].plain()}}, tmp_path / "checkpoint_last.pt")
    task = object.__new__(glue.GlueTask)
    task.spec = specs.SPECS["CoLA"]
    options = {"save_dir": str(tmp_path), "restore_file": "checkpoint_last.pt", "finetune_from_model": "/elsewhere.pt"}
    with toy.refused(f"--save-dir {tmp_path}", "RTE", "CoLA"):
        task.prepare(None, options)


@pytest.fixture
def prepared(toy_data, tmp_path):
    """A function that prepares a new model for RTE with a fresh top layer, and returns it and its initial weights."""
    task = object.__new__(glue.GlueTask)
    task.spec = specs.SPECS["RTE"]
    task.cfg = SimpleNamespace(reinit_layers=1, layer_lr_decay=1.0, classification_head_name=None)

    def prepare(**start):
        model = toy.make_model(toy.make_task(toy_data))
        model.register_classification_head("rte", num_classes=2)
        task.prepare(model, NO_START | start)
        return model, {name: value.clone() for name, value in model.state_dict().items()}

    return prepare


def test_a_classifier_without_trained_layers_is_no_last_layer(prepared):
    with toy.refused("--peft last_layer", "--peft-blocks"):
        prepared(peft="last_layer", peft_blocks=0)
    prepared(peft="last_layer", peft_blocks=1)


def save_state(path):
    torch.save({"model": {}, "task_state": {"spec": specs.SPECS["RTE"].plain()}}, path)
    return str(path)


def loaded(model, initial):
    """Load other weights, and return which of the layers and the head were changed."""
    model.load_state_dict({name: value + 1 for name, value in initial.items()})
    names = {"0": "encoder.sentence_encoder.layers.0.fc1.weight", "1": "encoder.sentence_encoder.layers.1.fc1.weight",
             "head": "classification_heads.rte.dense.weight"}  # fmt: skip
    return {short for short, name in names.items() if not model.state_dict()[name].equal(initial[name])}


def test_fine_tuning_starts_with_a_fresh_top_layer_and_head(prepared, tmp_path):
    assert loaded(*prepared(finetune_from_model=save_state(tmp_path / "base.pt"))) == {"0"}


def test_resuming_takes_all_weights_of_the_checkpoint(prepared, tmp_path):
    save_state(tmp_path / "checkpoint_last.pt")
    start = {"save_dir": str(tmp_path), "restore_file": "checkpoint_last.pt"}
    assert loaded(*prepared(**start, finetune_from_model=save_state(tmp_path / "base.pt"))) == {"0", "1", "head"}


def test_the_language_model_head_is_frozen_and_its_table_is_not(prepared):
    model, _ = prepared()
    moving = {name for name, p in model.named_parameters() if p.requires_grad}
    assert "encoder.sentence_encoder.embed_tokens.weight" in moving
    assert not {name for name in moving if name.startswith("encoder.lm_head") and not name.endswith("lm_head.weight")}


def test_the_predictions_of_a_split_are_forgotten_after_it():
    """fairseq would keep them for the next split, and store them in every checkpoint."""
    metrics.reset()
    with metrics.aggregate(new_root=True), metrics.aggregate("valid"):
        metrics.log_concat_tensor(ANSWERS, torch.zeros(3, 2, dtype=torch.double))
        metrics.log_scalar("loss", 1.0)
    assert metrics.get_meter("valid", ANSWERS).tensor.shape == (3, 2)
    object.__new__(glue.GlueTask).post_validate(None, None, None)
    assert metrics.get_meter("valid", ANSWERS).tensor is None


def test_held_out_rows_need_a_fold():
    task = object.__new__(glue.GlueTask)
    task.cfg = SimpleNamespace(fold=None, fold_file=None)
    assert task.rows_of("train", 4) is None and task.rows_of("valid", 4) is None
    with toy.refused("--valid-subset held_out", "--fold", "--fold-file"):
        task.rows_of("held_out", 4)


@pytest.mark.parametrize("split, given, expected", [
    ("train", {}, ("train", "default", True, "others")), ("held_out", {}, ("train", "default", False, "own")),
    ("valid", {"cache_dir": "own"}, ("valid", "own", False, None)),
    ("valid", {"cache_dir": "none"}, ("valid", None, False, None)),
])  # fmt: skip
def test_a_split_is_loaded_with_the_options(monkeypatch, split, given, expected):
    source, cache, shuffle, rows = expected
    loads, pairs = [], []
    monkeypatch.setattr(glue.reader, "locate", lambda data, spec, split: f"{data}/{split}.tsv")
    monkeypatch.setattr(glue.glue_dataset, "default_cache", lambda: "default")
    monkeypatch.setattr(glue.glue_dataset, "load", lambda *given: loads.append(given) or [1, 2, 3])
    monkeypatch.setattr(
        glue.glue_dataset, "SentencePairs", lambda *given, **more: pairs.append((given, more)) or "pairs"
    )
    monkeypatch.setattr(glue.folds, "rows", lambda fold, file, total: ("others", "own") if total == 3 else None)
    task = object.__new__(glue.GlueTask)
    spec = SimpleNamespace(valid_splits=())
    task.spec, task.tokenizer, task.dictionary, task.longest, task.datasets = spec, "tokenizer", "words", 99, {}
    options = {"cache_dir": None, "skip_bad_rows": True, "pad_to_multiple": 8, "fold": "1/2", "fold_file": "f.npy"}
    task.cfg = SimpleNamespace(data="data", **options | given)
    assert task.load_dataset(split) == task.datasets[split] == "pairs"
    assert loads == [(f"data/{source}.tsv", spec, source, "tokenizer", cache, True)]
    assert pairs == [(([1, 2, 3], "words", 99, 8), {"shuffle": shuffle, "rows": rows, "split": split})]


class Encoder(torch.nn.Module):
    """A model with a number of positions, which registers a head."""

    def __init__(self, limit):
        super().__init__()
        self.args, self.limit, self.heads = SimpleNamespace(max_positions=limit), limit, []

    def max_positions(self):
        return self.limit

    def register_classification_head(self, name, num_classes):
        self.heads.append((name, num_classes))


@pytest.mark.parametrize("limit, stored, asked, longest", [
    (128, None, None, 128), (128, None, 64, 64), (128, 32, None, 32), (128, 32, 64, 64), (128, None, 129, None),
    (128, None, 128, 128),
])  # fmt: skip
def test_an_input_is_as_long_as_asked_for_else_as_stored_else_as_the_model_takes(
    monkeypatch, limit, stored, asked, longest
):
    model, seen = Encoder(limit), []
    monkeypatch.setattr(FairseqTask, "build_model", lambda self, cfg, again: seen.append(cfg.max_positions) or model)
    monkeypatch.setattr(glue.GlueTask, "prepare", lambda self, model, cfg: seen.append("prepared"))
    task = object.__new__(glue.GlueTask)
    task.spec, task.longest, task.state = specs.SPECS["MNLI"], stored, StatefulContainer()
    task.cfg = SimpleNamespace(classification_head_name=None)
    cfg = OmegaConf.create({"positions": "learned", "max_positions": asked})
    if longest is None:
        with toy.refused(f"--max-positions {asked}", limit):
            task.build_model(cfg)
        return
    assert task.build_model(cfg) is model and seen == [None, "prepared"] and model.heads == [("mnli", 3)]
    assert task.max_positions() == longest == task.state_dict()["max_positions"]
    seen.clear()
    assert task.build_model(OmegaConf.create({"positions": "x", "max_positions": 5}), from_checkpoint=True) is model
    assert seen == [5]  # of the checkpoint, whose head is not prepared anew


def test_workers_sum_what_they_log_in_training_alone(monkeypatch):
    called = []
    monkeypatch.setattr(FairseqTask, "reduce_metrics", lambda self, logs, criterion: called.append("fairseq"))
    criterion = SimpleNamespace(training=True, log_scores=lambda logs: called.append(logs))
    object.__new__(glue.GlueTask).reduce_metrics(["log"], criterion)
    assert called == ["fairseq", ["log"]]
    assert glue.GlueTask.logging_outputs_can_be_summed(criterion) is True
    criterion.training = False
    assert glue.GlueTask.logging_outputs_can_be_summed(criterion) is False


def test_the_head_is_named_after_the_task_unless_it_has_a_name(prepared):
    task = object.__new__(glue.GlueTask)
    task.spec, task.longest = specs.SPECS["RTE"], None
    for name, expected in ((None, "rte"), ("own", "own")):
        task.cfg = SimpleNamespace(classification_head_name=name)
        assert task.head_name == expected
    assert task.max_positions() == glue.DEFAULT_POSITIONS == 512
    assert task.filter_indices_by_size([2, 1], None) == [2, 1]


def test_more_layers_than_the_model_has_cannot_be_fresh(toy_data):
    task = object.__new__(glue.GlueTask)
    task.spec = specs.SPECS["RTE"]
    for layers in (2, 3):
        task.cfg = SimpleNamespace(reinit_layers=layers, layer_lr_decay=1.0, classification_head_name=None)
        model = toy.make_model(toy.make_task(toy_data))
        if layers == 3:
            with toy.refused("--reinit-layers 3", "2 layers"):
                task.prepare(model, dict(NO_START))
        else:
            task.prepare(model, dict(NO_START))


def test_a_head_of_the_checkpoint_is_kept_if_its_labels_are_the_same(prepared, tmp_path):
    state = {"spec": specs.SPECS["RTE"].plain(), "head": "rte", "id2label": list(specs.SPECS["RTE"].id2label)}
    torch.save({"model": {}, "task_state": state}, tmp_path / "rte.pt")
    assert loaded(*prepared(finetune_from_model=str(tmp_path / "rte.pt"))) == {"0", "head"}
    state["id2label"] = state["id2label"][::-1]
    torch.save({"model": {}, "task_state": state}, tmp_path / "rte.pt")
    with toy.refused(tmp_path / "rte.pt", "RTE"):
        prepared(finetune_from_model=str(tmp_path / "rte.pt"))


@pytest.mark.parametrize("same", [True, False])
def test_one_file_for_training_and_validation_is_warned_of(monkeypatch, tmp_path, caplog, same):
    (tmp_path / "own.yaml").write_text(SPEC)
    (tmp_path / "train.csv").touch()
    (tmp_path / "dev.csv").symlink_to("train.csv") if same else (tmp_path / "dev.csv").touch()
    monkeypatch.setattr(glue.glue_dataset, "load", lambda *_: [])
    monkeypatch.setattr(glue.glue_dataset, "SentencePairs", lambda *_, **__: [])
    task = object.__new__(glue.GlueTask)
    task.spec, task.tokenizer, task.dictionary, task.longest, task.datasets = (
        specs.read(str(tmp_path / "own.yaml")), None, None, 9, {})  # fmt: skip
    task.cfg = SimpleNamespace(data=str(tmp_path), cache_dir=None, skip_bad_rows=False, pad_to_multiple=1, fold=None)
    task.load_dataset("train")
    assert (str(tmp_path / "dev.csv") in caplog.text) == same

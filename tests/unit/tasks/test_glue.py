"""The task ``glue``: errors and set-up, without training."""

from types import SimpleNamespace

import pytest
import torch
import toy
from fairseq.logging import metrics

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

"""The task ``glue``: what it refuses, without training."""

from types import SimpleNamespace

import pytest
import torch

from plugins.data.glue import specs
from plugins.errors import UserError
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
def test_a_label_may_hold_a_comma(tmp_path, from_checkpoint):
    (tmp_path / "own.yaml").write_text(SPEC)
    cfg = SimpleNamespace(spec=str(tmp_path / "own.yaml"), label_names="sad, angry,glad")
    assert glue.choose_spec(cfg, from_checkpoint).labels == ("sad, angry", "glad")
    cfg.label_names = "glad,sad, angry"
    with pytest.raises(UserError, match="in this order, are not those of mood"):
        glue.choose_spec(cfg, from_checkpoint)


def test_a_run_of_another_task_is_not_resumed(tmp_path):
    torch.save({"model": {}, "task_state": {"spec": specs.SPECS["RTE"].plain()}}, tmp_path / "checkpoint_last.pt")
    task = object.__new__(glue.GlueTask)
    task.spec = specs.SPECS["CoLA"]
    options = {"save_dir": str(tmp_path), "restore_file": "checkpoint_last.pt", "finetune_from_model": "/elsewhere.pt"}
    with pytest.raises(UserError, match=f"--save-dir {tmp_path}: the run in it is of RTE, not of CoLA"):
        task.prepare(None, options)

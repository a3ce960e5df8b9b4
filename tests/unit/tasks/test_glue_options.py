"""Options of the task glue, and what is derived from them: spec, metric of the best checkpoint, tokenizer."""

import os

import pytest
import toy
from omegaconf import OmegaConf

from plugins.data.glue import specs
from plugins.options import NO_START
from plugins.tasks import glue_options
from plugins.tasks.glue_options import GlueConfig

START = {**NO_START, "restore_file": "checkpoint_last.pt"}


def options(**given):
    return GlueConfig(**{"data": "glue", "glue_task": "RTE", "seed": 1, **given})


@pytest.mark.parametrize("given, named", [
    ({"spec": "x.yaml"}, ["--glue-task", "--spec"]), ({"glue_task": None}, ["--glue-task", "--spec"]),
    ({"fold": "1/2"}, ["--fold", "--fold-file"]), ({"fold_file": "x.npy"}, ["--fold", "--fold-file"]),
    ({"fold": "3/2", "fold_file": "x.npy"}, ["--fold 3/2"]),
    ({"layer_lr_decay": 0.0}, ["--layer-lr-decay 0.0"]), ({"layer_lr_decay": 1.1}, ["--layer-lr-decay 1.1"]),
    ({"reinit_layers": -1}, ["--reinit-layers"]), ({"pad_to_multiple": 0}, ["--pad-to-multiple"]),
])  # fmt: skip
def test_options_out_of_range_are_named(given, named):
    with toy.refused(*named):
        glue_options.check(options(**given), None)


def test_options_at_their_limits_pass():
    glue_options.check(options(layer_lr_decay=0.5, reinit_layers=0, pad_to_multiple=1), None)
    glue_options.check(options(glue_task=None, spec="x.yaml", fold="2/2", fold_file="x.npy"), None)


@pytest.mark.parametrize(
    "optimizer, named",
    [
        ({"_name": "fused_adamw"}, None),
        ({"_name": "adamw_8bit"}, None),
        ({"_name": "adafactor", "relative_step": False}, None),
        ({"_name": "adafactor", "relative_step": True}, "--relative-step"),
        ({"_name": "adam"}, "--optimizer fused_adamw"),
        (None, "--optimizer fused_adamw"),
    ],
)
def test_rates_by_layer_need_an_optimizer_with_groups(optimizer, named):
    run = OmegaConf.create({"optimizer": optimizer})
    glue_options.check(options(), run)
    if named is None:
        glue_options.check(options(layer_lr_decay=0.5), run)
    else:
        with toy.refused("--layer-lr-decay", named):
            glue_options.check(options(layer_lr_decay=0.5), run)


@pytest.mark.parametrize("task, given, chosen, maximize", [
    ("CoLA", "loss", "matthews_correlation", True), ("STS-B", "loss", "pearson", True),
    ("RTE", "loss", "accuracy", True), ("CoLA", "accuracy", "accuracy", True), ("CoLA", "nll", "nll", False),
])  # fmt: skip
def test_the_best_checkpoint_is_chosen_by_the_metric_of_the_task_unless_one_is_given(task, given, chosen, maximize):
    run = OmegaConf.create({"checkpoint": {"best_checkpoint_metric": given, "maximize_best_checkpoint_metric": False}})
    glue_options.choose_metric(run, specs.SPECS[task])
    checkpoint = run.checkpoint
    assert (checkpoint.best_checkpoint_metric, checkpoint.maximize_best_checkpoint_metric) == (chosen, maximize)


def test_a_spec_that_the_checkpoint_contains_need_not_be_there(tmp_path):
    cfg = options(glue_task=None, spec=str(tmp_path / "gone.yaml"))
    assert glue_options.choose_spec(cfg, from_checkpoint=True).name == ""
    with toy.refused(tmp_path / "gone.yaml"):
        glue_options.choose_spec(cfg, from_checkpoint=False)
    assert glue_options.choose_spec(options(), False) is specs.SPECS["RTE"]
    with toy.refused("--label-names", "RTE"):
        glue_options.choose_spec(options(label_names="b,a"), False)
    with toy.refused("the checkpoint's options", "RTE"):
        glue_options.choose_spec(options(label_names="b,a"), True)
    names = ",".join(specs.SPECS["RTE"].id2label)
    assert glue_options.choose_spec(options(label_names=names), False) is specs.SPECS["RTE"]


@pytest.fixture
def folders(tmp_path):
    """Folders with a dictionary: {name: path}; checkpoints are in ``run`` and ``base``."""
    found = {}
    for name in ("data", "tokenizer", "run", "base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dict.txt").touch()
        found[name] = str(tmp_path / name)
    (tmp_path / "run" / "checkpoint_last.pt").touch()
    (tmp_path / "base" / "x.pt").touch()
    return found


def run_of(folders, save_dir="run", base="x.pt", path=None):
    start = {**START, "save_dir": folders[save_dir], "finetune_from_model": os.path.join(folders["base"], base)}
    return OmegaConf.create({"checkpoint": start, "common_eval": {"path": path}})


def test_the_tokenizer_is_the_one_named_or_next_to_the_checkpoint_or_the_data(folders):
    cfg = options(data=folders["data"])
    find = glue_options.tokenizer_folder
    assert find(options(tokenizer_dir="anywhere"), None, False) == "anywhere"
    assert find(cfg, run_of(folders), False) == folders["run"]
    os.remove(os.path.join(folders["run"], "dict.txt"))  # a run that ended right after its first checkpoint
    assert find(cfg, run_of(folders), False) == folders["base"]
    os.remove(os.path.join(folders["base"], "dict.txt"))
    assert find(cfg, run_of(folders), False) == folders["data"]
    assert find(cfg, None, False) == folders["data"]
    os.remove(os.path.join(folders["data"], "dict.txt"))
    with toy.refused(folders["run"], folders["base"], folders["data"], "--tokenizer-dir"):
        find(cfg, run_of(folders), False)


def test_a_missing_checkpoint_to_start_from_is_named(folders):
    with toy.refused(os.path.join(folders["base"], "gone.pt")):
        glue_options.tokenizer_folder(options(), run_of(folders, save_dir="data", base="gone.pt"), False)


def test_an_evaluated_checkpoint_has_its_tokenizer_next_to_it_or_where_it_was(folders):
    cfg = options(data=folders["data"], tokenizer_dir=folders["tokenizer"])
    run = run_of(folders, path=os.path.join(folders["run"], "checkpoint_last.pt"))
    assert glue_options.tokenizer_folder(cfg, run, True) == folders["run"]
    os.remove(os.path.join(folders["run"], "dict.txt"))
    assert glue_options.tokenizer_folder(cfg, run, True) == folders["data"]
    os.remove(os.path.join(folders["data"], "dict.txt"))
    for each in (run, None, OmegaConf.create({})):
        assert glue_options.tokenizer_folder(cfg, each, True) == folders["tokenizer"]

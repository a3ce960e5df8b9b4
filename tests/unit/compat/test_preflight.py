"""Options that are checked before training."""

from types import SimpleNamespace

import pytest
import toy
from fairseq import tasks
from omegaconf import OmegaConf

from plugins.compat import preflight, trainer
from plugins.errors import UserError


def run_of(tmp_path, **given):
    """The options of a run that are checked; dotted names are written with two underscores."""
    cfg = OmegaConf.create({
        "common": {"log_interval": 100}, "optimization": {"update_freq": [1], "lr": [0.1]},
        "dataset": {"disable_validation": False}, "model": {"dropout": "${optimization.update_freq}", "size": "???"},
        "checkpoint": {"save_dir": str(tmp_path), "restore_file": "checkpoint_last.pt", "finetune_from_model": None,
                       "checkpoint_suffix": "", "best_checkpoint_metric": "loss"},
        "optimizer": {"_name": "adam"},
    })  # fmt: skip
    for name, value in given.items():
        OmegaConf.update(cfg, name.replace("__", "."), value)
    return cfg


def test_a_folder_to_start_from_means_its_checkpoint(tmp_path):
    (tmp_path / "model").mkdir()
    cfg = run_of(tmp_path, checkpoint__finetune_from_model=str(tmp_path / "model"))
    with toy.refused(str(tmp_path / "model"), "checkpoint_best.pt"):
        preflight.check_run(cfg, CRITERION)
    (tmp_path / "model" / "checkpoint_best.pt").touch()
    preflight.check_run(cfg, CRITERION)
    assert cfg.checkpoint.finetune_from_model == str(tmp_path / "model" / "checkpoint_best.pt")
    with toy.refused(f"--restore-file {tmp_path / 'model'}", "--save-dir"):
        preflight.check_run(run_of(tmp_path, checkpoint__restore_file=str(tmp_path / "model")), CRITERION)


CRITERION = SimpleNamespace(validation_metrics=lambda: {"loss", "ppl"})


def test_usual_options_pass(tmp_path):
    preflight.check_run(run_of(tmp_path), CRITERION)
    (tmp_path / "x.pt").touch()
    preflight.check_run(run_of(tmp_path, checkpoint__restore_file=str(tmp_path / "x.pt")), CRITERION)
    anything = run_of(tmp_path, checkpoint__best_checkpoint_metric="bleu")
    preflight.check_run(anything, SimpleNamespace())  # a criterion that does not declare its metrics
    preflight.check_run(run_of(tmp_path, dataset__disable_validation=True), CRITERION)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"optimizer": None}, ["--optimizer"]),
        ({"common__log_interval": 0}, ["--log-interval", "0"]),
        ({"common__seed": -1}, ["--seed", "-1"]),
        ({"common__seed": 2**31}, ["--seed", "2147483648"]),
        ({"dataset__batch_size": 0}, ["--batch-size", "0"]),
        ({"dataset__max_tokens": -2}, ["--max-tokens", "-2"]),
        ({"dataset__num_workers": -1}, ["--num-workers", "-1"]),
        ({"dataset__validate_interval": 0}, ["--validate-interval", "0"]),
        ({"optimization__max_update": -5}, ["--max-update", "-5"]),
        ({"optimization__max_update": 0, "lr_scheduler": {"_name": "cosine"}}, ["--max-update", "cosine"]),
        (
            {"optimization__max_update": 9, "lr_scheduler": {"_name": "cosine", "warmup_updates": 9}},
            ["--warmup-updates 9", "cosine", "--max-update 9"],
        ),
        ({"lr_scheduler": {"_name": "inverse_sqrt", "warmup_updates": 0}}, ["--warmup-updates 0", "inverse_sqrt"]),
        ({"checkpoint__save_dir": ""}, ["--save-dir"]),
        ({"optimization__update_freq": [2, 0]}, ["--update-freq", "0"]),
        ({"optimization__lr": [0.1, float("nan")]}, ["--lr", "nan"]),
        ({"optimization__clip_norm": float("nan")}, ["--clip-norm", "nan"]),
        ({"model__dropout": float("inf")}, ["--dropout", "inf"]),
        ({"optimization__lr": [-0.1]}, ["--lr", "-0.1"]),
        ({"checkpoint__restore_file": "gone.pt"}, ["--restore-file gone.pt"]),
        ({"checkpoint__finetune_from_model": "gone.pt"}, ["--finetune-from-model gone.pt"]),
        ({"checkpoint__best_checkpoint_metric": "accuracy"}, ["--best-checkpoint-metric accuracy", "loss, ppl"]),
    ],
)
def test_mistakes_are_found_before_training(tmp_path, given, named):
    with pytest.raises(UserError) as error:
        preflight.check_run(run_of(tmp_path, **given), CRITERION)
    for part in named:
        assert part in str(error.value)


def test_a_resumed_run_does_not_need_its_initial_checkpoint(tmp_path):
    (tmp_path / "checkpoint_last.pt").touch()
    preflight.check_run(run_of(tmp_path, checkpoint__finetune_from_model="gone.pt"), CRITERION)


@pytest.mark.parametrize(("name", "text"), [("lr", "1e-3x"), ("lr", "[1e-3"), ("lr", "a,b"), ("update_freq", "two")])
def test_text_in_the_place_of_a_number_is_named_with_its_flag(name, text):
    with pytest.raises(UserError) as error:
        preflight.check_lists({name: text})
    assert f"--{name.replace('_', '-')} {text!r}" in str(error.value) or text in str(error.value)


@pytest.mark.parametrize("text", ["1e-3", "1e-3,5e-4", "[1e-3, 5e-4]", "1"])
def test_numbers_and_lists_of_them_pass(text):
    preflight.check_lists({"lr": text})


def test_an_unknown_metric_is_listed_with_the_known_ones():
    cfg = OmegaConf.create({"checkpoint": {"best_checkpoint_metric": "bleu"}})
    with pytest.raises(UserError) as error:
        preflight.checked_stats(lambda *_: {}, cfg, None, {"loss": 1.0}, False)
    assert "bleu" in str(error.value) and "loss" in str(error.value)


class Dataset:
    """Has an epoch, as every dataset of fairseq."""

    epoch = 3


def test_the_training_set_is_validated_through_a_copy():
    """What validation does to its dataset and iterator must not reach training."""
    training, seen = Dataset(), []
    task = SimpleNamespace(datasets={"train": training, "valid": Dataset()})
    own = SimpleNamespace(task=task, cfg=OmegaConf.create({"dataset": {"train_subset": "train"}}))

    def iterator(self, subset, disable_iterator_cache):
        seen.append(self.task.datasets[subset])
        self.task.datasets[subset].epoch = 1

    for subset in ("train", "valid", "train"):
        trainer.get_valid_iterator(iterator, own, subset)
    assert seen[0] is seen[2] is not training
    assert seen[1] is task.datasets["valid"]
    assert task.datasets["train"] is training and training.epoch == 3


def test_the_options_of_a_run_are_completed_and_then_checked(monkeypatch):
    called, cfg = [], SimpleNamespace(checkpoint="checkpoint", dataset={"batch_size": -1})
    for owner, name in ((preflight.unavailable, "check"), (preflight.precision, "check"), (preflight, "check_parts"),
                        (preflight, "check_numbers"), (preflight, "check_start")):  # fmt: skip
        monkeypatch.setattr(owner, name, lambda given, place=(owner.__name__, name): called.append((*place, given)))
    preflight.checked_defaults(lambda given: called.append(("original", given)), cfg)
    assert cfg.dataset == {"batch_size": preflight.UNLIMITED}
    assert called[0] == ("original", cfg) and called[-1] == (preflight.__name__, "check_start", "checkpoint")
    assert [name for _, name, *_ in called[1:]] == ["check", "check", "check_parts", "check_numbers", "check_start"]
    assert {owner for owner, *_ in called[1:3]} == {preflight.unavailable.__name__, preflight.precision.__name__}


def test_statistics_of_a_known_metric_are_fairseqs():
    for name in ("loss", "num_updates"):
        cfg = OmegaConf.create({"checkpoint": {"best_checkpoint_metric": name}})
        found = preflight.checked_stats(lambda *given: given, cfg, "trainer", {"loss": 1.0}, True)
        assert found == (cfg, "trainer", {"loss": 1.0}, True)


def test_numbers_with_which_fairseq_switches_an_option_off_pass(tmp_path):
    preflight.check_run(
        run_of(tmp_path, optimization__clip_norm=-1.0, checkpoint__save_interval_updates=-1,
               dataset__validate_interval_updates=-1), CRITERION,
    )  # fmt: skip
    for warmup, period in ((8, -1), (9, 5)):  # an explicit period does not depend on the number of updates
        scheduler = {"_name": "cosine", "warmup_updates": warmup, "lr_period_updates": period}
        preflight.check_run(run_of(tmp_path, optimization__max_update=9, lr_scheduler=scheduler), CRITERION)


def test_batches_without_a_limit_are_large():
    dataset = OmegaConf.create({"batch_size": 8, "max_tokens": -1, "max_tokens_valid": "${max_tokens}"})
    preflight.lift_limits(dataset)
    assert dataset == {"batch_size": 8, "max_tokens": 2**31 - 1, "max_tokens_valid": 2**31 - 1}


def test_the_smallest_numbers_that_are_allowed(tmp_path):
    preflight.check_run(run_of(tmp_path, common__log_interval=1, optimization__lr=[0.0, 0.1]), CRITERION)


def test_a_checkpoint_of_several_parts_has_a_suffix(tmp_path):
    cfg = run_of(tmp_path, checkpoint__restore_file="x.pt", checkpoint__checkpoint_suffix="-shard0")
    with toy.refused("--restore-file x-shard0.pt"):
        preflight.check_run(cfg, CRITERION)
    (tmp_path / "y-shard0.pt").touch()
    cfg.checkpoint.restore_file = str(tmp_path / "y.pt")
    preflight.check_run(cfg, CRITERION)


def test_a_list_of_whole_numbers_is_read_from_text():
    preflight.check_lists({"update_freq": "2,1", "other": "x"})
    for value in ("(1, 'a')", "{}", "None", "(" * 200):
        with toy.refused("--update-freq"):
            preflight.check_lists({"update_freq": value})


@pytest.mark.parametrize(
    ("task", "model", "criterion", "flag"),
    [
        ("char_lm", "causal_lm_tiny", "style_lm", "--arch causal_lm_tiny"),
        ("causal_lm", "style_char_lm_nano", "causal_lm", "--arch style_char_lm_nano"),
        ("clap_masked_lm", "transformer", "clap_masked_lm", "--arch transformer"),
        ("clap_masked_lm", "clap_roberta_tiny", "glue", "--criterion glue"),
        ("glue", "clap_roberta_tiny", "cross_entropy", "--criterion cross_entropy"),
        ("embedding", "roberta_base", "metric_learning", "--arch roberta_base"),
        ("glue", "roberta_base", "glue", "--arch roberta_base"),
        ("causal_lm", "transformer_lm", "causal_lm", "--arch transformer_lm"),
        ("char_lm", "lstm_lm", "style_lm", "--arch lstm_lm"),
        ("summarization", "transformer", "summarization", "--arch transformer"),
        ("language_modeling", "clap_roberta_tiny", "cross_entropy", "--arch clap_roberta_tiny"),
        ("language_modeling", "char_lm_nano", "cross_entropy", "--arch char_lm_nano"),
        ("masked_lm", "causal_lm_tiny", "masked_lm", "--arch causal_lm_tiny"),
    ],
)
def test_parts_of_another_task_are_refused(task, model, criterion, flag):
    cfg = OmegaConf.create({"task": {"_name": task}, "model": {"_name": model}, "criterion": {"_name": criterion}})
    with toy.refused(flag, f"--task {task}"):
        preflight.check_parts(cfg)


@pytest.mark.parametrize(
    ("task", "model", "criterion"),
    [
        ("embedding", "char_lm_nano", "metric_learning"),
        ("glue", "clap_roberta", "glue"),
        ("clap_masked_lm", "roberta_base", "clap_masked_lm"),
        ("clap_masked_lm", "clap_roberta", "masked_lm"),
        ("char_lm", "char_lm_nano", "cross_entropy"),
        ("masked_lm", "roberta", "masked_lm"),
        ("masked_lm", "clap_roberta_tiny", "masked_lm"),
        ("language_modeling", "causal_lm_tiny", "cross_entropy"),
    ],
)
def test_parts_of_the_task_and_of_fairseq_pass(task, model, criterion):
    parts = {"task": {"_name": task}, "model": {"_name": model}, "criterion": {"_name": criterion}}
    preflight.check_parts(OmegaConf.create(parts))


def test_the_task_of_a_user_takes_any_parts(monkeypatch):
    from fairseq.tasks import TASK_REGISTRY

    monkeypatch.setitem(TASK_REGISTRY, "own_glue", type("OwnTask", (TASK_REGISTRY["glue"],), {}))
    parts = {"task": {"_name": "own_glue"}, "model": {"_name": "char_lm"}, "criterion": {"_name": "cross_entropy"}}
    preflight.check_parts(OmegaConf.create(parts))


def test_a_model_of_a_user_may_extend_one_of_this_package(monkeypatch):
    from fairseq.models import ARCH_MODEL_REGISTRY

    parent = ARCH_MODEL_REGISTRY["clap_roberta"]
    own = type("OwnModel", (parent,), {"__module__": "my_plugin.model"})
    monkeypatch.setitem(ARCH_MODEL_REGISTRY, "own", own)
    preflight.check_names("language_modeling", "own", None)
    with toy.refused("--arch clap_roberta"):
        preflight.check_names("language_modeling", "clap_roberta", None)


# Tasks of fairseq


def test_what_a_task_of_fairseq_lacks_is_named(tmp_path):
    def of(name, **options):
        kind = tasks.TASK_DATACLASS_REGISTRY[name]
        return tasks.setup_task(OmegaConf.create(vars(kind(data=str(tmp_path), **options)) | {"_name": name}))

    with toy.refused(tmp_path / "dict.txt", "--task masked_lm"):
        of("masked_lm")
    with toy.refused(tmp_path / "input0" / "dict.txt", "--task sentence_prediction"):
        of("sentence_prediction", num_classes=2)
    with toy.refused("--task sentence_prediction", "num_classes"):
        of("sentence_prediction", num_classes=0)
    with toy.refused("--task translation", "language pair"):
        of("translation")
    (tmp_path / "dict.txt").write_text("the 5\n")
    with toy.refused(tmp_path / "train", "--task masked_lm"):
        of("masked_lm", tokens_per_sample=8).load_dataset("train")


@pytest.mark.parametrize("error", [ValueError("a defect"), KeyError("x"), AssertionError()])
def test_a_defect_of_a_task_keeps_its_traceback(error):
    with pytest.raises(type(error)) as raised, preflight.of_task("masked_lm"):
        raise error
    assert raised.value is error and not isinstance(raised.value, UserError)


def test_more_workers_than_a_machine_can_start_are_refused(tmp_path):
    preflight.check_numbers(run_of(tmp_path, dataset__num_workers=1024))
    with toy.refused("--num-workers", "1025"):
        preflight.check_numbers(run_of(tmp_path, dataset__num_workers=1025))

"""Options that are added to a command line."""

import pytest
import torch
from fairseq import options

from plugins.compat import command_line
from plugins.tasks import defaults


@pytest.fixture
def parse(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def parse(*arguments, parser=options.get_training_parser):
        return options.parse_args_and_arch(parser(), ["text.txt", *arguments])

    return parse


NANO = ("--task", "char_lm", "--arch", "char_lm_nano")


def test_a_bare_command_line_trains_as_nanogpt_does(parse):
    args = parse("--task", "char_lm", "--arch", "char_lm_small")
    assert (args.criterion, args.optimizer, args.lr_scheduler) == ("style_lm", "fused_adamw", "cosine")
    assert (args.adam_betas, args.adam_eps, args.weight_decay, args.clip_norm) == ("(0.9,0.99)", 1e-8, 0.1, 1.0)
    assert (args.lr, args.min_lr, args.warmup_updates) == ([1e-3], 1e-4, 100)
    assert args.warmup_init_lr == pytest.approx(9.90099e-06, rel=1e-5)
    assert (args.batch_size, args.max_update, args.validate_interval_updates) == (64, 5000, 250)
    assert (args.num_workers, args.no_epoch_checkpoints, args.cpu) == (0, True, True)


def test_the_smallest_model_has_nanogpts_recipe_for_a_cpu(parse):
    args = parse(*NANO)
    assert (args.batch_size, args.max_update) == (12, 2000)


def test_given_options_override_defaults(parse):
    args = parse(*NANO, "--lr=1e-4", "--max-sentences", "3", "--max-update", "50", "--criterion", "style_lm")
    assert (args.lr, args.batch_size, args.max_update) == ([1e-4], 3, 50)
    assert (args.min_lr, args.warmup_updates) == (1e-5, 10)


def test_options_of_another_optimizer_or_schedule_are_not_added(parse):
    args = parse(*NANO, "--optimizer", "sgd", "--lr-scheduler", "fixed")
    assert (args.optimizer, args.lr_scheduler, args.weight_decay) == ("sgd", "fixed", 0.0)
    assert not hasattr(args, "adam_betas")


def test_a_limit_in_characters_replaces_the_batch_size(parse):
    args = parse(*NANO, "--max-tokens", "4096")
    assert (args.batch_size, args.max_tokens) == (None, 4096)


def test_a_gpu_is_used_where_there_is_one(parse, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not parse(*NANO).cpu


def test_other_tasks_are_not_changed(parse):
    args = parse("--task", "masked_lm", "--arch", "clap_roberta_tiny")
    assert (args.optimizer, args.batch_size, args.max_update) == (None, None, 0)


MASKED = ("--task", "clap_masked_lm", "--arch")


@pytest.mark.parametrize(
    ("arch", "length", "batch", "frequency", "lr", "updates", "warmup"),
    [
        ("clap_roberta_tiny", 128, 32, [1], 1e-3, 2000, 200),
        ("clap_roberta_small", 128, 32, [1], 5e-4, 5000, 500),
        ("clap_roberta_base", 512, 16, [16], 5e-4, 125000, 10000),
        ("clap_roberta", 512, 16, [16], 5e-4, 125000, 10000),
        ("clap_roberta_large", 512, 8, [32], 4e-4, 125000, 10000),
    ],
)
def test_a_bare_masked_lm_is_trained_by_its_size(parse, arch, length, batch, frequency, lr, updates, warmup):
    args = parse(*MASKED, arch)
    assert (args.criterion, args.optimizer, args.lr_scheduler) == ("clap_masked_lm", "fused_adamw", "polynomial_decay")
    assert (args.tokens_per_sample, args.batch_size, args.update_freq) == (length, batch, frequency)
    schedule = (args.lr, args.max_update, float(args.total_num_update), args.warmup_updates)
    assert schedule == ([lr], updates, updates, warmup)
    assert (args.adam_betas, args.adam_eps, args.weight_decay, args.cpu) == ("(0.9,0.98)", 1e-6, 0.01, True)


def test_a_shorter_masked_lm_run_ends_its_schedule_with_it(parse):
    args = parse(*MASKED, "clap_roberta_tiny", "--max-update", "100")
    assert (float(args.total_num_update), args.warmup_updates) == (100, 10)
    args = parse(*MASKED, "clap_roberta_tiny", "--lr-scheduler", "fixed", "--optimizer", "sgd")
    assert (args.warmup_updates, args.weight_decay) == (0, 0.0)


def test_a_complete_command_line_of_a_masked_lm_is_not_changed(parse):
    own = ("--criterion", "clap_masked_lm", "--optimizer", "fused_adamw", "--max-tokens", "4096")
    args = parse(*MASKED, "clap_roberta_tiny", *own)
    assert (args.batch_size, args.tokens_per_sample, args.max_update, args.weight_decay) == (None, 512, 0, 0.0)
    assert args.validate_interval == 1


def test_filled_in_options_are_logged_once_with_their_source(parse, caplog):
    caplog.set_level("INFO")
    parse(*NANO, "--lr", "1e-4")
    (line,) = [record.getMessage() for record in caplog.records if "filled in" in record.getMessage()]
    assert "nanoGPT" in line and "--optimizer=fused_adamw" in line and "--batch-size=12" in line
    assert "--lr=" not in line
    caplog.clear()
    parse("--task", "char_lm", "--path", "x.pt", parser=options.get_validation_parser)
    assert sum("filled in" in record.getMessage() for record in caplog.records) == 1


def test_no_recipe_does_without(parse, caplog):
    caplog.set_level("INFO")
    args = parse(*NANO, "--no-recipe")
    assert (args.optimizer, args.batch_size, args.max_update, args.lr) == (None, None, 0, [0.25])
    assert "filled in" not in caplog.text


def test_validating_needs_no_batch_size(parse):
    args = parse("--task", "char_lm", "--path", "x.pt", parser=options.get_validation_parser)
    assert args.batch_size == 64


def save(path, **task):
    torch.save({"model": {}, "cfg": {"task": {"_name": "char_lm", "valid_fraction": 0.2, **task}}}, path)
    return str(path)


def test_evaluation_reads_a_text_as_the_checkpoint_did(parse, tmp_path):
    args = parse("--path", save(tmp_path / "x.pt", unit="byte"), parser=options.get_eval_lm_parser)
    assert (args.task, args.gen_subset, args.unit, args.valid_fraction) == ("char_lm", "valid", "byte", 0.2)
    path = save(tmp_path / "y.pt", test_fraction=0.1)
    assert parse("--path", path, parser=options.get_eval_lm_parser).gen_subset == "test"
    args = parse("--path", path, "--gen-subset", "train", parser=options.get_eval_lm_parser)
    assert args.gen_subset == "train"


@pytest.mark.parametrize(("task", "batch"), [("char_lm", 64), ("clap_masked_lm", 32)])
def test_validating_takes_the_task_of_the_checkpoint(parse, tmp_path, task, batch):
    path = save(tmp_path / "x.pt", _name=task)
    args = parse("--path", path, parser=options.get_validation_parser)
    assert (args.task, args.data, args.batch_size) == (task, "text.txt", batch)


def test_evaluation_of_another_task_is_not_changed(parse, tmp_path):
    path = save(tmp_path / "x.pt", _name="language_modeling")
    args = parse("--path", path, parser=options.get_eval_lm_parser)
    assert (args.task, args.gen_subset) == ("language_modeling", "test")


def test_help_shows_all_the_options_of_a_bare_command_line(parse, capsys):
    with pytest.raises(SystemExit):
        parse(*NANO, "--help")
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--style-from", "--block-size", "--style-weight", "--decay-all", "--min-lr"))


@pytest.mark.parametrize("text, value", [("1e-4", 1e-4), ("[0.5, 0.1]", 0.5), ("", 7), ("a", 7), (None, 7), ("[]", 7)])
def test_numbers_are_read_as_fairseq_writes_them(text, value):
    assert defaults.number(text, 7) == value


def test_options_are_found_in_every_spelling():
    parser = options.get_training_parser()
    words = ["text", "-a", "x", "--lr=1", "--lr", "2", "--adam-betas", "(0,1)", "--cpu"]
    given = command_line.options_given(parser, words)
    assert given == {"arch": "x", "lr": "2", "adam_betas": "(0,1)", "cpu": ""}


def test_a_bare_command_line_learns_to_summarize(parse):
    args = parse("--task", "summarization", "--arch", "causal_lm")
    assert (args.criterion, args.optimizer, args.lr, args.max_tokens) == ("summarization", "fused_adamw", [1e-3], 4096)
    assert (args.cpu, args.no_epoch_checkpoints, args.batch_size) == (True, True, None)
    args = parse("--task", "summarization", "--arch", "causal_lm", "--batch-size", "8", "--lr", "1e-4")
    assert (args.batch_size, args.max_tokens, args.lr) == (8, None, [1e-4])


WINDOWS = {
    "optimizer": "fused_adamw", "lr_scheduler": "cosine", "clip_norm": 1.0, "num_workers": 0, "log_interval": 50,
    "validate_interval_updates": 250, "save_interval_updates": 250, "keep_interval_updates": 1, "cpu": True,
    "validate_interval": 1_000_000, "save_interval": 1_000_000, "no_epoch_checkpoints": True, "adam_eps": 1e-8,
    "weight_decay": 0.1, "warmup_updates": 100,
}  # fmt: skip
MASKED_LM = {
    "criterion": "clap_masked_lm", "optimizer": "fused_adamw", "lr_scheduler": "polynomial_decay", "cpu": True,
    "ignore_unused_valid_subsets": True, "skip_invalid_size_inputs_valid_test": True, "no_epoch_checkpoints": True,
    "keep_interval_updates": 1, "validate_interval": 1_000_000, "save_interval": 1_000_000,
    "adam_betas": "(0.9,0.98)", "adam_eps": 1e-6, "weight_decay": 0.01,
}  # fmt: skip
LAPTOP = {"tokens_per_sample": 128, "batch_size": 32, "num_workers": 0, "log_interval": 50,
          "validate_interval_updates": 250, "save_interval_updates": 250}  # fmt: skip
CLUSTER = {"tokens_per_sample": 512, "max_update": 125_000, "total_num_update": 125_000, "log_interval": 200,
           "warmup_updates": 10_000, "validate_interval_updates": 5000, "save_interval_updates": 5000}  # fmt: skip
RECIPES = [
    ("char_lm", "char_lm_small", WINDOWS | {
        "criterion": "style_lm", "lr": 1e-3, "min_lr": 1e-4, "warmup_init_lr": 1e-3 / 101, "adam_betas": "(0.9,0.99)",
        "batch_size": 64, "batch_size_valid": 64, "max_update": 5000,
    }),
    ("char_lm", "char_lm_nano", WINDOWS | {
        "criterion": "style_lm", "lr": 1e-3, "min_lr": 1e-4, "warmup_init_lr": 1e-3 / 101, "adam_betas": "(0.9,0.99)",
        "batch_size": 12, "batch_size_valid": 64, "max_update": 2000, "validate_interval_updates": 1000,
        "save_interval_updates": 1000,
    }),
    ("causal_lm", "causal_lm_small", WINDOWS | {
        "criterion": "causal_lm", "lr": 6e-4, "min_lr": 6e-5, "warmup_init_lr": 6e-4 / 101, "adam_betas": "(0.9,0.95)",
        "batch_size": 8, "batch_size_valid": 8, "max_update": 2000,
    }),
    ("summarization", "causal_lm", {
        "criterion": "summarization", "optimizer": "fused_adamw", "lr": 1e-3, "clip_norm": 1.0, "max_tokens": 4096,
        "num_workers": 0, "no_epoch_checkpoints": True, "log_interval": 50, "cpu": True,
    }),
    ("clap_masked_lm", "clap_roberta_tiny", MASKED_LM | LAPTOP | {
        "lr": 1e-3, "max_update": 2000, "total_num_update": 2000, "warmup_updates": 200}),
    ("clap_masked_lm", "clap_roberta_small", MASKED_LM | LAPTOP | {
        "lr": 5e-4, "max_update": 5000, "total_num_update": 5000, "warmup_updates": 500}),
    ("clap_masked_lm", "clap_roberta", MASKED_LM | CLUSTER | {"lr": 5e-4, "batch_size": 16, "update_freq": "16"}),
    ("clap_masked_lm", "clap_roberta_large", MASKED_LM | CLUSTER | {"lr": 4e-4, "batch_size": 8, "update_freq": "32"}),
]  # fmt: skip


@pytest.mark.parametrize("task, arch, expected", RECIPES)
def test_a_bare_command_line_gets_all_of_these_options_and_no_others(monkeypatch, task, arch, expected):
    """As documented in examples; a change would make runs of one command differ between versions."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = defaults.complete("train", {"task": task, "arch": arch})
    assert found.options == pytest.approx(expected) and found.source


@pytest.mark.parametrize("updates, warmup", [("1000", 100), ("499", 99), ("4", 0), ("[400, 1]", 80)])
def test_the_warmup_is_a_fifth_of_a_short_run(updates, warmup):
    found = defaults.complete("train", {"task": "char_lm", "max_update": updates}).options
    assert found["warmup_updates"] == warmup and found["warmup_init_lr"] == pytest.approx(1e-3 / (warmup + 1))
    given = {"task": "char_lm", "max_update": updates, "warmup_updates": "9", "lr": "0.5"}
    assert defaults.complete("train", given).options["warmup_init_lr"] == 0.05


@pytest.mark.parametrize("given, options", [
    ({"task": "glue", "path": "x"}, {"batch_size": 32}), ({"task": "causal_lm", "path": "x"}, {"batch_size": 8}),
    ({"task": "char_lm"}, {"batch_size": 64}), ({"task": "masked_lm", "path": "x"}, {}),
    ({"task": "char_lm", "batch_size": "3"}, {}), ({"task": "char_lm", "max_tokens": "3"}, {}),
])  # fmt: skip
def test_validating_a_named_task_adds_its_batch_size_alone(given, options):
    assert defaults.complete("validate", given).options == options


def test_evaluating_summaries_needs_a_limit_in_tokens(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert defaults.complete("validate", {"task": "summarization"}).options == {"max_tokens": 4096}
    assert defaults.complete("validate", {"task": "summarization", "batch_size": "2"}).options == {}
    assert defaults.complete("eval_lm", {"task": "char_lm"}).options == {}  # no checkpoint is named


def test_a_named_task_that_is_not_the_checkpoints_gets_no_options(tmp_path):
    path = save(tmp_path / "x.pt", unit="byte")
    assert defaults.complete("eval_lm", {"task": "causal_lm", "path": path}).options == {}
    found = defaults.complete("eval_lm", {"task": "char_lm", "path": f"{path}:gone.pt", "test_fraction": "0.5"}).options
    assert found == {"unit": "byte", "valid_fraction": 0.2, "gen_subset": "test"}


def test_a_fraction_that_is_no_number_is_left_to_the_parser(tmp_path):
    found = defaults.complete("eval_lm", {"path": save(tmp_path / "x.pt"), "test_fraction": "half"}).options
    assert found["gen_subset"] == "valid"

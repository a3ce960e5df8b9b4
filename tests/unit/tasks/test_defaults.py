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

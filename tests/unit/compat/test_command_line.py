"""fairseq's command line."""

import argparse
from types import SimpleNamespace

import pytest
import toy
from fairseq import options

from plugins.compat import command_line


def test_bf16_does_not_mean_tpu(toy_data):
    parser = options.get_training_parser()
    args = [str(toy_data), "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--criterion", "clap_masked_lm",
            "--optimizer", "fused_adamw", "--bf16"]  # fmt: skip
    parsed = options.parse_args_and_arch(parser, args)
    assert parsed.bf16
    assert not parsed.tpu


@pytest.fixture
def shown(capsys):
    """What ``fairseq-train --help`` prints."""
    parser = options.get_training_parser()
    chosen = ["--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--optimizer", "fused_adamw"]
    with pytest.raises(SystemExit) as end:
        options.parse_args_and_arch(parser, [*chosen, "--help"])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_recommends_a_number_format(shown):
    assert "--mixed-precision bf16 of the tasks of this package" in shown.partition("--bf16")[2]
    assert "implies --tpu" not in shown


def test_help_leaves_out_what_cannot_work(shown):
    assert "--min-params-to-wrap" not in shown


def test_help_shows_the_options_of_the_chosen_parts(shown):
    assert all(flag in shown for flag in ("--alibi-bos", "--omit-mask", "--decay-all", "--max-update"))


@pytest.mark.parametrize("get_parser, program", [
    (options.get_training_parser, "train"), (options.get_eval_lm_parser, "eval_lm"),
    (options.get_validation_parser, "validate"), (argparse.ArgumentParser, None),
])  # fmt: skip
def test_a_program_is_recognized_by_its_options(get_parser, program):
    assert command_line.program_of(get_parser()) == program


def test_options_that_are_filled_in_precede_those_given(caplog):
    parser = options.get_training_parser()
    seen = []

    def complete(program, given):
        seen.append((program, given))
        return {"max_update": 7, "cpu": True}, "the book"

    with caplog.at_level("INFO"):
        found = command_line.fill_in(complete, parser, ["--lr", "0.1", "x"], quiet=False)
        assert command_line.fill_in(complete, parser, ["--lr", "0.1", "x"], quiet=True) == found
    assert found == ["--max-update=7", "--cpu"]
    assert seen[0] == ("train", {"lr": "0.1"})
    (record,) = caplog.records  # the quiet one logs nothing
    assert "the book" in record.getMessage() and "--max-update=7 --cpu" in record.getMessage()
    assert command_line.fill_in(complete, parser, ["--no-recipe"], quiet=False) == []
    assert parser.parse_args(["--no-recipe"]).no_recipe and len(seen) == 2
    assert command_line.fill_in(complete, argparse.ArgumentParser(), [], quiet=False) == []


def test_a_short_form_is_expanded_with_its_value():
    assert command_line.unalias("--finetune-from=x=y") == "--finetune-from-model=x=y"
    assert command_line.unalias("--finetune-from") == "--finetune-from-model"
    assert command_line.unalias("--save-dir=--finetune-from") == "--save-dir=--finetune-from"


def test_subsets_are_looked_for_only_in_folders(tmp_path):
    (tmp_path / "a.txt").touch()
    seen = []
    for data in (f"{tmp_path}:{tmp_path / 'a.txt'}", f"{tmp_path}:{tmp_path}"):
        command_line.look_for_subsets(seen.append, SimpleNamespace(task=SimpleNamespace(data=data)))
    assert [cfg.task.data for cfg in seen] == [f"{tmp_path}:{tmp_path}"]


def test_the_command_line_of_the_process_is_parsed_by_default(toy_data, monkeypatch):
    words = [str(toy_data), "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--criterion", "clap_masked_lm",
             "--no-recipe", "--optimizer", "fused_adamw", "--finetune-from", "x.pt"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["fairseq-train", *words])
    parsed = options.parse_args_and_arch(options.get_training_parser())
    assert parsed.data == str(toy_data) and parsed.finetune_from_model == "x.pt"


def test_numbers_are_checked_before_anything_is_parsed(toy_data):
    with toy.refused("--lr", "two"):
        options.parse_args_and_arch(options.get_training_parser(), [str(toy_data), "--lr", "two"])


def test_options_are_given_in_any_form_and_the_last_value_counts():
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", "--save-dir", dest="folder")
    given = ["data", "--new-one", "1", "--new-one=2", "-s", "x", "-t", "--last"]
    assert command_line.options_given(parser, given) == {"new_one": "2", "folder": "x", "last": ""}
    assert command_line.options_given(parser, []) == {}


@pytest.mark.parametrize(
    ("words", "named"),
    [(["--tokens-per-sampel", "8"], "--tokens-per-sample"), (["--bogus"], "--help"), (["--max-update", "x"], "--help")],
)
def test_an_error_is_one_line_that_names_the_option_and_what_helps(toy_data, capsys, words, named):
    parser = options.get_training_parser()
    chosen = [str(toy_data), "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--optimizer", "fused_adamw"]
    with pytest.raises(SystemExit) as end:
        options.parse_args_and_arch(parser, [*chosen, *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and line.startswith("error: ") and words[0] in line and named in line


def test_bf16_does_not_mean_tpu_where_unknown_arguments_are_returned_too(toy_data):
    words = [str(toy_data), "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--criterion", "clap_masked_lm",
             "--optimizer", "fused_adamw", "--bf16", "--unheard-of"]  # fmt: skip
    parsed, rest = options.parse_args_and_arch(options.get_training_parser(), words, parse_known=True)
    assert parsed.bf16 and not parsed.tpu and rest == ["--unheard-of"]

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


class Parser(argparse.ArgumentParser):
    """A parser of fairseq-train with few options."""

    def __init__(self):
        super().__init__()
        for flag in ("--arch", "--lr"):
            self.add_argument(flag)
        self.add_argument("--bf16", action="store_true")


def parse(words, complete=None, **more):
    """Return what fairseq's function is given, and its result, which has ``tpu`` set."""
    given = []

    def original(parser, words, *args, modify_parser=None, **kwargs):
        given.append((words, args, kwargs))
        found = SimpleNamespace(bf16="--bf16" in words, tpu=True)
        return (found, ["rest"]) if kwargs.get("parse_known") else found

    return given, command_line.parse_args(complete, original, Parser(), words, **more)


def test_options_are_completed_before_those_of_the_user_and_logged_once(caplog):
    with caplog.at_level("INFO"):
        given, _ = parse(["--lr", "1"], lambda *found: ({"max_update": 7}, "x"))
        assert given == [(["--max-update=7", "--lr", "1"], (), {})] and len(caplog.records) == 1
        given, _ = parse(["--lr", "1"], lambda *found: ({"max_update": 7}, "x"), suppress_defaults=True)
    assert given[0][2] == {"suppress_defaults": True} and len(caplog.records) == 1
    with caplog.at_level("INFO"):
        assert parse(["--lr", "1"], lambda *found: ({}, "x"))[0][0][0] == ["--lr", "1"]
    assert len(caplog.records) == 1  # nothing was filled in


@pytest.mark.parametrize("installed", [True, False])
def test_bf16_means_tpu_only_where_its_package_is_installed(monkeypatch, installed):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    assert parse(["--bf16"])[1].tpu is installed
    assert parse([])[1].tpu is True  # another option than --bf16
    found, rest = parse(["--bf16"], parse_known=True)[1]
    assert found.tpu is installed and rest == ["rest"]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed_at_the_second_call_when_the_parser_is_complete(flag, capsys):
    seen = []

    def original(parser, words, *args, modify_parser=None, **kwargs):
        assert flag not in words
        for name in ("--first", "--second"):
            modify_parser(parser)
            seen.append(name)
            parser.add_argument(name)

    parser = Parser()
    with pytest.raises(SystemExit) as end:
        command_line.parse_args(None, original, parser, [flag, "--lr", "1"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and seen == ["--first"] and "--first" in text and "--second" not in text
    assert "--bf16" in text and "recommended instead" in " ".join(text.split())


@pytest.mark.parametrize("get_parser, program", [
    (options.get_training_parser, "fairseq-train "), (options.get_eval_lm_parser, "fairseq-eval-lm "),
    (options.get_validation_parser, "fairseq-validate "), (argparse.ArgumentParser, "fairseq-train "),
])  # fmt: skip
def test_an_error_names_the_program_whose_help_lists_the_options(get_parser, program, capsys):
    with pytest.raises(SystemExit):
        command_line.report(get_parser(), "a message\nof two lines")
    (line,) = capsys.readouterr().err.splitlines()
    assert program in line and "did you mean" not in line


def test_an_option_is_suggested_only_for_an_unknown_one_that_is_near(capsys):
    for message, suggested in (
        ("unrecognized arguments: --max-updat=3", True),
        ("--max-updat: bad", False),
        ("unrecognized arguments: --mxxxpdat", False),
        ("unrecognized arguments: x", False),
    ):
        with pytest.raises(SystemExit):
            command_line.report(options.get_training_parser(), message)
        assert ("did you mean --max-update?" in capsys.readouterr().err) == suggested  # fmt: skip


def test_a_task_without_data_has_no_folder_to_look_for_subsets():
    seen = []
    for task in (SimpleNamespace(), SimpleNamespace(data=None), SimpleNamespace(data="")):
        command_line.look_for_subsets(seen.append, SimpleNamespace(task=task))
    assert not seen


@pytest.mark.parametrize("arch", ["transformer_lm", "lstm_lm"])  # with and without a dataclass
def test_an_architecture_of_another_task_is_refused_by_its_flag(toy_data, arch):
    words = [str(toy_data), "--task", "causal_lm", "--arch", arch, "--criterion", "causal_lm", "--optimizer", "adam"]
    with toy.refused(f"--arch {arch}", "--task causal_lm"):
        options.parse_args_and_arch(options.get_training_parser(), words)


def test_a_parser_without_tasks_and_criterions_passes():
    parsed = argparse.Namespace(arch="clap_roberta_tiny")
    found = command_line.parse_args(None, lambda *_, **__: parsed, argparse.ArgumentParser(), [])
    assert found is parsed


@pytest.mark.parametrize("text", ["-1e-3", "-1.5E+4", "-.5e1", "-2.", "-7"])
def test_a_negative_number_with_an_exponent_is_a_value(toy_data, text):
    words = [str(toy_data), "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--min-loss-scale", text]
    parsed = options.parse_args_and_arch(options.get_training_parser(), words)
    assert parsed.min_loss_scale == float(text)

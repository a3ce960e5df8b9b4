"""fairseq's command line."""

import pytest
from fairseq import options


def test_bf16_does_not_mean_tpu(toy_data):
    parser = options.get_training_parser()
    args = [str(toy_data), "--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--criterion", "clap_masked_lm",
            "--optimizer", "fused_adamw", "--bf16"]  # fmt: skip
    parsed = options.parse_args_and_arch(parser, args)
    assert parsed.bf16
    assert not parsed.tpu


def test_help_shows_the_options_of_the_chosen_parts(capsys):
    parser = options.get_training_parser()
    chosen = ["--task", "clap_masked_lm", "--arch", "clap_roberta_tiny", "--optimizer", "fused_adamw"]
    with pytest.raises(SystemExit) as end:
        options.parse_args_and_arch(parser, [*chosen, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert all(flag in shown for flag in ("--alibi-bos", "--omit-mask", "--decay-all", "--max-update"))

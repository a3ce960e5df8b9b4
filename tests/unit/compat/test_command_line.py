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

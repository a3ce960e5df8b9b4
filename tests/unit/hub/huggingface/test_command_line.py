"""The command of a checkpoint: parsed again, it gives the options that the checkpoint has."""

import shlex

import pytest
import toy
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from plugins.checkpoints import read_state
from plugins.checkpoints.options import as_dict
from plugins.hub.huggingface import command_line

OWN = {"user_dir", "data"}  # the place of the package, and of data that is no longer there


def sections(words):
    """Return the config of a fairseq-train command, as a checkpoint stores it."""
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, input_args=words))
    return OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)


def differing(ours, theirs):
    a, b = command_line.flat(ours), command_line.flat(theirs)
    return {
        name: (value, b.get(name)) for name, value in a.items()
        if name not in OWN and value is not None and command_line.plain(value) != command_line.plain(b.get(name))
    }  # fmt: skip


COMMANDS = [
    "data --task clap_masked_lm --criterion clap_masked_lm --arch clap_roberta_tiny --positions alibi --omit-mask "
    "--no-layernorm-embedding --optimizer fused_adamw --weight-decay 0.01 --lr 3e-3 --max-update 500 --cpu "
    "--no-epoch-checkpoints --update-freq 4 --keep-interval-updates 1",
    "data --task char_lm --criterion style_lm --arch char_lm --positions rotary --optimizer adam "
    "--adam-betas '(0.9,0.99)' --lr 1e-3,1e-4 --batch-size 8 --seed 3 --dropout 0.2",
    "data --task glue --glue-task RTE --criterion glue --arch clap_roberta --optimizer fused_adamw --lr 2e-5 "
    "--lr-scheduler polynomial_decay --warmup-updates 9 --total-num-update 156 --pooler-type mean",
]


@pytest.mark.parametrize("command", COMMANDS, ids=["masked", "characters", "glue"])
def test_the_command_of_a_checkpoint_has_all_its_options(command):
    saved = sections([*shlex.split(command), "--user-dir", str(toy.ROOT / "plugins")])
    words = command_line.words_of(saved)
    assert words[:2] == ["fairseq-train", "data"]
    assert not differing(saved, sections(words[1:]))
    given = {word for word in shlex.split(command) if word.startswith("--")}
    assert given - {"--arch"} <= set(words)


def test_the_command_of_the_shipped_checkpoint():
    path = toy.ROOT / "checkpoints" / "zero_clap_tiny" / "checkpoint_best.pt"
    state = read_state(path)
    words = shlex.split(command_line.command_of(state, path))
    saved = {name: as_dict(part) for name, part in as_dict(state["cfg"]).items() if part is not None}
    assert words[:2] == ["fairseq-train", "DATA"] and not differing(saved, sections(words[1:]))


def test_the_first_line_of_a_log_is_the_command(tmp_path):
    (tmp_path / "train.log").write_text("$ fairseq-train x\nmore\n")
    assert command_line.command_of({}, tmp_path / "checkpoint_best.pt") == "fairseq-train x"


@pytest.mark.parametrize("state", [{}, {"cfg": {"model": {"_name": "gone"}, "task": {"_name": "gone"}}}])
def test_an_unknown_command_is_none(state, tmp_path):
    assert command_line.command_of(state, tmp_path / "checkpoint_best.pt") is None

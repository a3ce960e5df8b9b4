"""Every attack of attacks.py through every entry point that reads a checkpoint.

An entry point may return a result or raise a one-line error. It may not run code, open a connection, use much memory,
or raise any other exception.
"""

import copy
import resource
import socket
import sys
from pathlib import Path

import pytest
import torch
import toy

import plugins
from plugins import checkpoints, hub
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.errors import UserError
from plugins.models.causal_lm import CausalLanguageModel

sys.path.insert(0, str(Path(__file__).parent))
import attacks  # noqa: E402

MOST_MEMORY = 400 << 10  # KiB above what the tests before took


def through_fairseq(path):
    from fairseq import checkpoint_utils

    return checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides={"data": str(Path(path).parent)})


def through_roberta(path):
    from fairseq.models.roberta import RobertaModel

    return RobertaModel.from_pretrained(str(Path(path).parent), Path(path).name, str(Path(path).parent))


DOORS = {
    "read_state": checkpoints.read_state,
    "hub.load": hub.load,
    "CharLM": hub.CharLM.from_pretrained,
    "CausalLM": hub.CausalLM.from_pretrained,
    "RobertaModel": through_roberta,
    "fairseq": through_fairseq,
}
FRIENDS = {"char_lm": {"CharLM"}, "causal_lm": {"CausalLM"}, "masked_lm": {"RobertaModel", "fairseq"}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, toy_data):
    """Return {kind: folder with a good checkpoint and what belongs to it}."""
    places = {kind: tmp_path_factory.mktemp(kind) for kind in FRIENDS}
    toy.save_masked_lm(places["masked_lm"], toy_data)
    toy.save_char_lm(toy.make_char_lm(), places["char_lm"] / "checkpoint_best.pt")
    sizes = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_embed_dim": 8, "block_size": 8}
    model = checkpoints.new_model(CausalLanguageModel, sizes, TokenDictionary(Characters("abcd")))
    checkpoints.write_causal_lm(places["causal_lm"] / "checkpoint_best.pt", model)
    return places


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def try_doors(path, marker, doors):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in doors:
        try:
            DOORS[name](str(path))
        except UserError as error:
            message = str(error)
            assert "\n" not in message
            assert len(message) < 2100
            assert str(path.parent) in message, f"{name}: {message}"
        assert not marker.exists(), name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


@pytest.mark.parametrize("kind", FRIENDS)
def test_the_good_checkpoint_loads(folders, kind):
    assert hub.kind_of(str(folders[kind] / "checkpoint_best.pt")) == kind
    for door in FRIENDS[kind]:
        assert DOORS[door](str(folders[kind] / "checkpoint_best.pt")) is not None


@pytest.mark.parametrize("kind", FRIENDS)
@pytest.mark.parametrize("name", attacks.CONTENT)
def test_content(folders, kind, name, tmp_path, no_network):
    path, marker = folders[kind] / "attack.pt", tmp_path / "appeared"
    state = torch.load(folders[kind] / "checkpoint_best.pt", weights_only=True)
    state = attacks.CONTENT[name](copy.deepcopy(state))
    torch.save(attacks.replace_markers(state, marker), path)
    try:
        try_doors(path, marker, ["read_state", "hub.load", *sorted(FRIENDS[kind])])
    finally:
        path.unlink()


@pytest.mark.parametrize("kind", FRIENDS)
@pytest.mark.parametrize("name", [*attacks.BYTES, "compressed"])
def test_bytes(folders, kind, name, tmp_path):
    path = folders[kind] / "attack.pt"
    path.write_bytes((folders[kind] / "checkpoint_best.pt").read_bytes())
    if name == "compressed":
        attacks.compressed(path)
    else:
        path.write_bytes(attacks.BYTES[name](path.read_bytes()))
    try:
        for door in ("read_state", "hub.load", *sorted(FRIENDS[kind])):
            if (door, name) != ("read_state", "flipped"):  # it maps the weights and does not read them
                with pytest.raises(UserError):
                    DOORS[door](str(path))
    finally:
        path.unlink()


MUST_REFUSE = attacks.CODE | attacks.OUTSIDE | attacks.WEIGHTS


@pytest.mark.parametrize("name", [*MUST_REFUSE, "hf_byte_bpe", "bert", "fastbpe", "subword_nmt"])
def test_harmful_content_is_refused(folders, name, tmp_path):
    path, marker = folders["masked_lm"] / "attack.pt", tmp_path / "appeared"
    state = torch.load(folders["masked_lm"] / "checkpoint_best.pt", weights_only=True)
    torch.save(attacks.replace_markers(attacks.CONTENT[name](state), marker), path)
    harmless = name == "an optimizer's option"  # nothing builds an optimizer from a file
    try:
        for door in ("RobertaModel", "fairseq"):
            if harmless:
                DOORS[door](str(path))
            else:
                with pytest.raises(UserError):
                    DOORS[door](str(path))
    finally:
        path.unlink()
    assert not marker.exists()


PROGRAMS = {
    "sample": ["scripts/sample.py", "H"],
    "report": ["scripts/report.py", "H", "--text", "H/text.txt", "-o", "H/report.html"],
    "plot_attention": ["scripts/plot_attention.py", "H", "a text", "-o", "H/a.png"],
    "merge_peft": ["scripts/merge_peft.py", "H", "-o", "H/merged/model.pt"],
    "eval_lm": ["fairseq-eval-lm", "H", "--path", "H/checkpoint_best.pt", "--user-dir", "plugins", "--cpu"],
    "validate": ["fairseq-validate", "H", "--path", "H/checkpoint_best.pt", "--user-dir", "plugins", "--cpu",
                 "--task", "clap_masked_lm", "--batch-size", "2"],
    "finetune": ["fairseq-train", "H", "--finetune-from-model", "H/checkpoint_best.pt", "--user-dir", "plugins",
                 "--task", "clap_masked_lm", "--arch", "clap_roberta", "--criterion", "clap_masked_lm", "--cpu",
                 "--optimizer", "fused_adamw", "--lr", "0.1", "--batch-size", "2", "--max-update", "1",
                 "--save-dir", "H/run"],
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_refuse_checkpoints_with_code(folders, toy_data, program, tmp_path):
    folder, marker = tmp_path / "H", tmp_path / "appeared"
    toy.copy_folder(toy_data, folder)
    (folder / "text.txt").write_text("the river follows a garden\n" * 40)
    state = torch.load(folders["masked_lm"] / "checkpoint_best.pt", weights_only=True)
    state = attacks.CODE["a class that evaluates its options"](state)
    torch.save(attacks.replace_markers(state, marker), folder / "checkpoint_best.pt")
    words = [word.replace("H/", f"{folder}/") if word != "H" else str(folder) for word in PROGRAMS[program]]
    command = [toy.ROOT / words[0] if words[0].startswith("scripts") else words[0], *words[1:]]
    done = toy.run_cli(command)
    assert done.status != 0
    assert len(done.errors) == 1, done.text
    assert not marker.exists()


def test_the_package_never_loads_without_protection():
    for path in Path(plugins.__file__).parent.rglob("*.py"):
        assert "weights_only=False" not in path.read_text(encoding="utf-8").replace(" ", "")

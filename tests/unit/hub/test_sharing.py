"""A slimmed checkpoint computes the same, and contains nothing about the machine that trained it."""

import torch
import toy

from plugins import hub
from plugins.hub import sharing


def test_a_slimmed_checkpoint_has_equal_logits_and_no_paths(toy_data, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    toy.save_masked_lm(folder, toy_data, **toy.VARIANTS["zero_clap"])
    state = torch.load(folder / "checkpoint_best.pt", weights_only=False)
    state["last_optimizer_state"] = {"exp_avg": torch.zeros(100)}
    state["cfg"]["common"]["user_dir"] = "/home/somebody/plugins"
    state["cfg"]["checkpoint"] = {"save_dir": "/home/somebody/run", "best_checkpoint_metric": "loss"}
    state["extra_state"] |= {"best": 2.5, "metrics": {"train": []}}
    torch.save(state, folder / "checkpoint_best.pt")
    sharing.slim(folder, tmp_path / "new" / "checkpoint_best.pt")
    ours, theirs = hub.load(folder), hub.load(tmp_path / "new")
    tokens = ours.encode("the river carries a letter")[None]
    assert torch.equal(ours.model(tokens)[0], theirs.model(tokens)[0])
    slimmed = torch.load(tmp_path / "new" / "checkpoint_best.pt", weights_only=False)
    assert slimmed["last_optimizer_state"] is None and slimmed["extra_state"]["best"] == 2.5
    assert slimmed["cfg"]["checkpoint"] == {"best_checkpoint_metric": "loss"}
    assert b"/home/somebody" not in (tmp_path / "new" / "checkpoint_best.pt").read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "checkpoint_best.pt", "dict.txt", "sentencepiece.bpe.model",
    ]  # fmt: skip


def test_a_checkpoint_is_not_written_over_itself(toy_data, tmp_path):
    toy.save_masked_lm(tmp_path, toy_data)
    before = (tmp_path / "checkpoint_best.pt").read_bytes()
    with toy.refused("checkpoint_best.pt"):
        sharing.slim(tmp_path, tmp_path / "checkpoint_best.pt")
    assert (tmp_path / "checkpoint_best.pt").read_bytes() == before


SHIPPED = toy.ROOT / "checkpoints" / "zero_clap_tiny"


def test_the_checkpoint_of_the_repository_is_small_and_names_no_place():
    files = [path for path in SHIPPED.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    content = (SHIPPED / "checkpoint_best.pt").read_bytes()
    assert not any(place in content for place in (b"/home/", b"/tmp/", b"/work", b"/root"))


def test_the_checkpoint_of_the_repository_has_learned_frequent_phrases():
    lm = hub.load(SHIPPED)
    known = {"the number <mask> items in the list": "of", "If the file does not <mask>, an error is raised.": "is"}
    for sentence, truth in known.items():
        assert truth in [word.strip() for _, _, word in lm.fill_mask(sentence, topk=3)], sentence

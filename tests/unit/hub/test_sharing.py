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


def test_options_that_are_places_are_left_out_at_any_depth():
    value = {"a": "x", "b": "/x", "c": {"d": "https://x", "e": [1, "a/b", ["c\\d", "f"]]}, "g": ("h", "i/j"), "k": None}
    assert sharing.without_places(value) == {"a": "x", "c": {"e": [1, ["f"]]}, "g": ["h"], "k": None}


def test_copies_share_memory_as_the_tensors_do():
    table = torch.arange(6.0).reshape(2, 3)
    found = sharing.copied({"a": table, "b": table, "c": table.t(), "d": table[:1]})
    assert found["a"].data_ptr() == found["b"].data_ptr() != table.data_ptr()
    assert torch.equal(found["c"], table.t()) and found["c"].data_ptr() != found["a"].data_ptr()
    assert torch.equal(found["d"], table[:1])


def test_what_is_kept_of_a_state(toy_data, tmp_path):
    toy.save_masked_lm(tmp_path, toy_data)
    state = torch.load(tmp_path / "checkpoint_best.pt", weights_only=False)
    state["extra_state"] = {
        "train_iterator": {"epoch": 3, "shuffle": True},
        "val_loss": 2.0,
        "previous_training_time": 5,
    }
    state["optimizer_history"] = [{"num_updates": 1}, {"num_updates": 7, "lr_scheduler_state": {"best": 1}}]
    torch.save(state, tmp_path / "checkpoint_best.pt")
    sharing.slim(tmp_path, tmp_path / "slim.pt")
    found = torch.load(tmp_path / "slim.pt", weights_only=False)
    assert found["extra_state"] == {"train_iterator": {"epoch": 3}, "val_loss": 2.0, "previous_training_time": 5}
    assert found["optimizer_history"] == [{"num_updates": 7, "lr_scheduler_state": {}}]
    assert found["cfg"]["task"]["data"] == "" and found["args"] is None and found["task_state"] == state["task_state"]
    del state["extra_state"], state["optimizer_history"]
    torch.save(state, tmp_path / "checkpoint_best.pt")
    sharing.slim(tmp_path, tmp_path / "slim.pt")
    found = torch.load(tmp_path / "slim.pt", weights_only=False)
    assert found["extra_state"] == {"train_iterator": {"epoch": 1}}
    assert found["optimizer_history"] == [{"num_updates": 0, "lr_scheduler_state": {}}]
    torch.save(state | {"cfg": None}, tmp_path / "checkpoint_best.pt")
    with toy.refused("checkpoint_best.pt", "import_hf.py"):
        sharing.slim(tmp_path, tmp_path / "slim.pt")

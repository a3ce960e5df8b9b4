"""nanoGPT and the published Multi-Style Adapter load, and give the logits of their own code."""

import numpy as np
import pytest
import torch
import toy

import plugins

STYLE_FILES = ["style_every_layer", "style_every_other_layer"]


@pytest.fixture
def itos(golden):
    return golden / "nanogpt" / "itos.json"


@pytest.mark.parametrize("row", [0, 1])
def test_nanogpt(golden, itos, row):
    lm = plugins.hub.CharLM.from_nanogpt(golden / "nanogpt" / "ckpt.pt", itos)
    expected = np.load(golden / "nanogpt" / "ckpt.npz")
    text = "".join(lm.characters[i] for i in expected["tokens"][row])
    assert np.abs(lm.logits(text).numpy() - expected["logits"][row]).max() < 1e-4


@pytest.mark.parametrize("name", STYLE_FILES)
def test_multi_style(golden, itos, name):
    lm = plugins.hub.CharLM.from_multi_style(golden / "multi_style" / f"{name}.pt", itos)
    expected = np.load(golden / "multi_style" / f"{name}.npz")
    with torch.inference_mode():
        logits, extra = lm.model(torch.from_numpy(expected["tokens"]))
    assert np.abs(logits.numpy() - expected["logits"]).max() < 1e-4
    assert np.abs(extra["style_logits"][:, 0].numpy() - expected["style_logits"]).max() < 1e-4


@pytest.mark.parametrize("name", STYLE_FILES)
def test_the_published_style_is_that_of_the_text_so_far(golden, itos, name):
    lm = plugins.hub.CharLM.from_multi_style(golden / "multi_style" / f"{name}.pt", itos)
    expected = np.load(golden / "multi_style" / f"{name}.npz")
    text = "".join(lm.characters[i] for i in expected["tokens"][0])
    assert np.abs(lm.logits(text)[-1].numpy() - expected["logits"][0, -1]).max() < 1e-4
    probabilities = torch.from_numpy(expected["style_logits"][0]).softmax(-1).tolist()
    assert list(lm.classify_style(text).values()) == pytest.approx(probabilities, abs=1e-5)


def test_the_published_form_warns_once_and_can_be_sampled(golden, itos, caplog):
    lm = plugins.hub.CharLM.from_multi_style(golden / "multi_style" / "style_every_layer.pt", itos)
    assert len(lm.sample("ROMEO:", 5)) == 5
    assert len([record for record in caplog.records if "likelihood" in record.getMessage()]) == 1


def test_nanogpt_as_its_training_saves_it(golden, itos, tmp_path):
    """A checkpoint with optimizer state, options, and the key prefix of torch.compile."""
    state = torch.load(golden / "nanogpt" / "ckpt.pt")
    weights = {f"_orig_mod.{name}": tensor for name, tensor in state["model"].items()}
    weights["_orig_mod.transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64)
    more = {"model": weights, "optimizer": {"state": {}}, "config": {"device": "cpu"}}
    torch.save({**state, **more}, tmp_path / "ckpt.pt")
    original = plugins.hub.CharLM.from_nanogpt(golden / "nanogpt" / "ckpt.pt", itos)
    assert torch.equal(
        plugins.hub.CharLM.from_nanogpt(tmp_path / "ckpt.pt", itos).logits("ROMEO:"), original.logits("ROMEO:")
    )


def test_files_that_do_not_belong_together(golden, itos):
    with toy.refused("65", "3"):
        plugins.hub.CharLM.from_nanogpt(golden / "nanogpt" / "ckpt.pt", "abc")
    with toy.refused("nanogpt/ckpt.pt"):
        plugins.hub.CharLM.from_multi_style(golden / "nanogpt" / "ckpt.pt", itos)
    with toy.refused("baseline.pt"):
        plugins.hub.CharLM.from_nanogpt(golden / "baseline.pt", itos)
    with toy.refused("style_every_layer.pt", "CharLM.from_multi_style"):
        plugins.hub.load(golden / "multi_style" / "style_every_layer.pt")
    with toy.refused("style_every_layer.pt", "CharLM.from_multi_style"):
        plugins.hub.CharLM.from_nanogpt(golden / "multi_style" / "style_every_layer.pt", itos)

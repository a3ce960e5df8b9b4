"""nanoGPT's format: names, sizes, and the published Multi-Style Adapter."""

import pytest
import torch
import toy

from plugins.checkpoints import nanogpt

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 16}


def write(path, lm, sizes=SIZES, **more):
    """Write a CharLM under nanoGPT's names, with what torch.compile and old versions add."""
    weights = {name.removeprefix("decoder.").removeprefix("style."): t for name, t in lm.model.state_dict().items()}
    weights |= {"transformer.h.0.attn.bias": torch.ones(1, 1, 16, 16), **more}
    torch.save({"model": {f"_orig_mod.{name}": t for name, t in weights.items()}, "model_args": sizes}, path)
    return str(path)


@pytest.mark.parametrize("bias", [True, False])
def test_the_weights_are_those_of_the_model_with_and_without_biases(tmp_path, bias):
    lm = toy.make_char_lm(bias=bias)
    path = write(tmp_path / "x.pt", lm)
    model, dictionary, styles = nanogpt.read_nanogpt(path, toy.CHARACTERS)
    assert styles == [] and dictionary.state()["characters"] == list(toy.CHARACTERS)
    tokens = torch.randint(9, (2, 16))
    with torch.no_grad():
        assert torch.equal(model.eval()(tokens)[0], lm.model(tokens)[0])
    with toy.refused(path, "from_nanogpt"):
        nanogpt.read_multi_style(path, toy.CHARACTERS)


@pytest.mark.parametrize("layers, expected", [("every", "every"), ("every_other", "every_other")])
def test_the_adapter_is_read_from_its_tensors(tmp_path, layers, expected):
    style = {"style_layers": layers, "style_inference": "published", "num_styles": 3, "style_dim": 5}
    lm = toy.make_char_lm(decoder_layers=4, **style)
    path = write(tmp_path / "x.pt", lm, SIZES | {"n_layer": 4})
    model, _, styles = nanogpt.read_multi_style(path, toy.CHARACTERS)
    cfg = model.cfg
    assert (str(cfg.style_layers), str(cfg.style_inference), cfg.num_styles, cfg.style_dim) == (
        expected, "published", 3, 5
    )  # fmt: skip
    tokens = torch.randint(9, (2, 16))
    with torch.no_grad():
        assert torch.equal(model.eval()(tokens)[0], lm.model.eval()(tokens)[0])
    with toy.refused(path, "plugins.hub.CharLM.from_multi_style"):
        nanogpt.read_nanogpt(path, toy.CHARACTERS)
    with toy.refused("y.pt", "style_embeddings"):
        nanogpt.read_multi_style(write(tmp_path / "y.pt", lm, style_embeddings=torch.ones(3)), toy.CHARACTERS)


def test_another_number_of_characters_is_named(tmp_path):
    path = write(tmp_path / "x.pt", toy.make_char_lm())
    with toy.refused(path, 10, 9):
        nanogpt.read_nanogpt(path, toy.CHARACTERS[1:])


@pytest.mark.parametrize("name", SIZES)
def test_a_size_that_is_missing_or_not_positive_is_named(tmp_path, name):
    lm = toy.make_char_lm()
    with toy.refused("x.pt", name):
        nanogpt.read_format(write(tmp_path / "x.pt", lm, {k: v for k, v in SIZES.items() if k != name}))
    with toy.refused("x.pt", name, 0):
        nanogpt.read_format(write(tmp_path / "x.pt", lm, SIZES | {name: 0}))


def test_other_formats_are_refused(tmp_path):
    torch.save({"model": {"w": torch.ones(2)}}, tmp_path / "x.pt")
    with toy.refused(tmp_path / "x.pt", "model_args"):
        nanogpt.read_format(str(tmp_path / "x.pt"))
    for table in ({}, {"transformer.wte.weight": torch.ones(2)}):
        torch.save({"model": table, "model_args": SIZES}, tmp_path / "x.pt")
        with toy.refused(tmp_path / "x.pt", "transformer.wte.weight"):
            nanogpt.read_format(str(tmp_path / "x.pt"))

"""The surprise of each token: numbers of the model, and a figure of them."""

import json

import pytest
import torch
import toy

from plugins.analysis import surprise
from plugins.analysis.metrics.surprisal import Surprisal


def test_predictions_are_the_models_own(make_char_lm):
    lm = make_char_lm()
    found = surprise.predictions(lm, "abca")
    assert found["tokens"] == list("abca") and found["bits"][0] is None and found["choices"][0] == []
    p = lm.logits("abca").softmax(-1)[1]  # after "ab"
    assert found["truth"][2] == pytest.approx(p[lm.encode("c")].item(), rel=1e-3)
    best, value = found["choices"][2][0]
    assert best == lm.characters[p.argmax()] and value == pytest.approx(p.max().item(), abs=1e-4)


def test_a_single_token_and_a_mask_have_no_predictions(make_char_lm):
    assert surprise.predictions(make_char_lm(), "a") is None
    assert surprise.predictions(make_char_lm(), "a <mask>") is None


FOUND = {
    "mean": "1.50 bits per token, a perplexity of 2.8.", "tokens": ["<s>", "a", "$b^2$" * 9], "bits": [None, 1.0, 2.0],
    "choices": [[], [("a", 0.5), ("c", 0.25)], [("\n", 0.75), ("d", 0.25)]],
}  # fmt: skip


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The texts, and the number of frames, of the figure of FOUND."""
    figures = []
    monkeypatch.setattr(surprise, "save", lambda figure, path: figures.append(figure))
    surprise.draw(tmp_path / "s.png", FOUND, "title")
    (figure,) = figures
    (axes,) = figure.axes
    return [t.get_text() for t in (*axes.texts, *figure.texts)], sum(p.get_edgecolor()[3] > 0 for p in axes.patches)


def test_a_row_has_the_token_its_surprisal_its_probability_and_the_choices(drawn):
    texts, frames = drawn
    for text in ("title", "a", "1.0", "0.5", "0.50", "2.0", "0.25", "↵", "0.75", "not predicted", "$b^2$$b^2$$b^…"):
        assert text in texts
    assert frames == 1  # the choice that is the token


def test_a_figure_is_written(tmp_path):
    surprise.draw(tmp_path / "s.png", FOUND, "title")
    assert (tmp_path / "s.png").stat().st_size > 1000


def test_the_script_draws_and_writes_what_the_library_computes(tmp_path, monkeypatch, make_char_lm, run_script, capsys):
    lm = make_char_lm()
    monkeypatch.setattr("plugins.hub.load", lambda path: lm)
    (tmp_path / "model.pt").touch()
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbfabcabc\r\n")
    run_script("surprise", tmp_path / "model.pt", f"FILE:{tmp_path}/text.txt", "--tokens", 4, "--choices", 2, "-o",
               tmp_path / "s.png", "--json", tmp_path / "s.json")  # fmt: skip
    assert (tmp_path / "s.png").is_file()
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["tokens"] == list("abca") and written["bits"] == surprise.predictions(lm, "abca", 2)["bits"]
    assert f"{max(written['bits'][1:]):.1f} bits" in capsys.readouterr().out


def test_one_token_is_too_few(monkeypatch, tmp_path, make_char_lm, run_script):
    monkeypatch.setattr("plugins.hub.load", lambda path: make_char_lm())
    (tmp_path / "model.pt").touch()
    with toy.refused("'a'", "two tokens"):
        run_script("surprise", tmp_path / "model.pt", "a", "-o", tmp_path / "s.png")
    assert not (tmp_path / "s.png").exists()


class Words:
    def __init__(self, fills_masks):
        self.fills_masks = fills_masks

    def tokens(self, ids):
        return [f"w{int(i)}" for i in ids]


@pytest.mark.parametrize(("masked", "kind"), [(False, "a perplexity of 4.0"), (True, "a pseudo-perplexity of 4.0")])
def test_numbers_are_rounded_and_put_into_a_sentence(masked, kind):
    nan = float("nan")
    bits = torch.tensor([nan, 1.00049, 2.99951], dtype=torch.float64)
    p = torch.tensor([[nan, nan], [0.500049, 0.25], [0.75, 0.125]], dtype=torch.float64)
    given = Surprisal(torch.tensor([7, 8, 9]), bits, torch.tensor([[0, 0], [1, 2], [3, 4]]), p)
    found = surprise.numbers(Words(masked), given)
    assert found["tokens"] == ["w7", "w8", "w9"] and found["bits"] == [None, 1.0, 3.0]
    assert found["mean"] == f"2.00 bits per token, {kind}." and found["note"].endswith(found["mean"])
    assert found["truth"] == [None, 0.5, 0.125]
    assert found["choices"] == [[], [("w1", 0.5), ("w2", 0.25)], [("w3", 0.75), ("w4", 0.125)]]
    assert ("pseudo-likelihood" in found["note"]) == masked


def test_five_choices_unless_requested_otherwise(make_char_lm):
    found = surprise.predictions(make_char_lm(), "abc")
    assert [len(choices) for choices in found["choices"]] == [0, 5, 5]
    assert [len(choices) for choices in surprise.predictions(make_char_lm(), "abc", 2)["choices"]] == [0, 2, 2]


@pytest.mark.parametrize(("count", "label"), [(14, "a" * 14), (15, "a" * 13 + "…")])
def test_a_token_is_shown_up_to_fourteen_characters(count, label):
    assert surprise.short("a" * count) == label

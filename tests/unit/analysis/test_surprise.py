"""The surprise of each token: numbers of the model, and a figure of them."""

import json

import pytest
import toy

from plugins.analysis import surprise


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

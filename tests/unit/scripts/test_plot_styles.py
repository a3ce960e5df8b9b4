"""scripts/plot_styles.py on toy models: its figures, its files, and errors."""

import functools
import json
import random

import numpy as np
import pytest
import toy

from plugins.errors import UserError

STYLES = ["calm", "wild"]
ALWAYS = {"embeddings", "modulation", "modulation_strength", "attention", "attention_head", "perplexity"}
INFERRED = {"texts", "ribbon_calm", "ribbon_odd_one", "confusion"}


@pytest.fixture
def command(run_script):
    return functools.partial(run_script, "plot_styles")


@pytest.fixture
def texts(tmp_path):
    draw = random.Random(0)
    for name in ("calm", "odd one"):
        (tmp_path / f"{name}.txt").write_text("".join(draw.choices("abc de\n", k=400)))
    return [tmp_path / "calm.txt", tmp_path / "odd one.txt"]


def evaluation(styles=STYLES):
    score = {"50": {"mean": 0.7, "standard_error": 0.1, "n": 4}}
    scores = {kind: score for kind in ("own_style", "asked_style", "nearest_is_asked")}
    given = {"confusion": [[3, 1, 0], [0, 4, 0]]}
    judge = {"consistency": {"real": scores, "given": scores, "free": scores}, "transfer": {"given": given}}
    head = {"styles": styles, "confusion": [[9, 1], [2, 8]]}
    return {"checkpoint": "x", "styles": styles, "chance": 0.5, "model_has_these_styles": True,
            "sees_the_future": False, "options": {"window": 50}, "head": head, "judges": {"svm": judge}}  # fmt: skip


def drawn(folder):
    return {path.stem for path in folder.glob("*.png") if path.read_bytes().startswith(b"\x89PNG")}


def test_everything_is_drawn_and_the_arrays_are_written(command, make_char_lm, texts, tmp_path, capsys):
    path, out = toy.save_char_lm(make_char_lm(styles=STYLES), tmp_path / "m.pt"), tmp_path / "new" / "out"
    command(path, "--text", *texts, "-o", out, "--windows", 20, "--characters", 60)
    assert drawn(out) == ALWAYS | INFERRED and capsys.readouterr().err == ""
    found = json.loads((out / "styles.json").read_text())
    assert found["styles"] == STYLES and np.shape(found["embeddings"]["points"]) == (2, 2)
    assert found["windows"]["method"] == "t-SNE" and len(found["windows"]["text"]) == 40
    assert np.shape(found["probabilities"]["odd one"]["probabilities"]) == (60, 2)
    assert np.shape(found["modulation"]["gain"]) == (2, 2, 16) and np.shape(found["attention"]["moved"]) == (2, 2, 2)
    assert set(found["perplexity"]["calm"]) == {*STYLES, "(inferred)", "(none)"}
    assert np.sum(found["confusion"]["counts"], axis=1).tolist() == [20, 0]
    assert not list(out.glob(".*"))


def test_an_evaluation_adds_the_results_of_the_judges(command, make_char_lm, texts, tmp_path):
    path = toy.save_char_lm(make_char_lm(styles=STYLES), tmp_path / "m.pt")
    (tmp_path / "e.json").write_text(json.dumps(evaluation()))
    out, small = tmp_path / "out", ["--windows", 3, "--characters", 9]
    command(path, "--text", texts[0], "--evaluation", tmp_path / "e.json", "-o", out, *small)
    assert {"consistency", "confusion_given"} < drawn(out)
    found = json.loads((out / "styles.json").read_text())
    assert found["confusion"]["counts"] == [[9, 1], [2, 8]]  # those of the evaluation
    assert found["consistency"]["values"] == [0.7] * 2 and found["confusion_given"]["columns"] == [*STYLES, "none"]


def test_a_model_without_style_inference_gets_the_other_figures(command, make_char_lm, texts, tmp_path, capsys):
    path = toy.save_char_lm(make_char_lm(styles=STYLES, style_inference="given"), tmp_path / "m.pt")
    command(path, "--text", *texts, "-o", tmp_path / "out", "--windows", 3)
    assert drawn(tmp_path / "out") == ALWAYS
    assert "--style-inference given infers no style from a text: no ribbons" in capsys.readouterr().err


def test_a_short_text_has_only_a_ribbon_for_the_published_form_too(command, make_char_lm, texts, tmp_path, capsys):
    options = {"style_inference": "published", "style_layers": "every_other", "decoder_layers": 4}
    path = toy.save_char_lm(make_char_lm(styles=STYLES, **options), tmp_path / "m.pt")
    (tmp_path / "short.txt").write_text("abc")
    small = ["--windows", 2, "--characters", 20]
    command(path, "--text", tmp_path / "short.txt", texts[1], "-o", tmp_path / "out", *small)
    said = capsys.readouterr().err
    assert "short.txt: 3 characters" in said
    assert "calm, wild): no confusion.png" in said
    assert "ribbon_short" in drawn(tmp_path / "out")


def test_mistakes_are_refused_before_drawing(command, make_char_lm, texts, tmp_path):
    plain = toy.save_char_lm(make_char_lm(), tmp_path / "plain.pt")
    path = toy.save_char_lm(make_char_lm(styles=STYLES), tmp_path / "m.pt")
    (tmp_path / "e.json").write_text(json.dumps(evaluation(["x", "y"])))
    (tmp_path / "judged.json").write_text(json.dumps(evaluation()))
    (tmp_path / "greek.txt").write_text("abc" * 9 + "λ")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for arguments, named in {
        (plain, "--text", texts[0]): ["--arch"],
        (tmp_path / "none.pt", "--text", texts[0]): ["none.pt"],
        (path, "--text", tmp_path / "none.txt"): ["none.txt"],
        (path, "--text", tmp_path / "greek.txt"): ["greek.txt", "λ"],
        (path, "--text", tmp_path / "empty.txt"): ["empty.txt"],
        (path, "--text", tmp_path / "latin.txt"): ["latin.txt"],
        (path, "--text", texts[0], "--evaluation", tmp_path / "e.json"): ["e.json", "x", "y"],
        (
            path,
            "--text",
            texts[0],
            "--evaluation",
            tmp_path / "judged.json",
            "--judge",
            "bayes",
        ): ["judged.json", "--judge bayes", "svm"],
    }.items():
        with toy.refused(*named, error=(UserError, SystemExit)):
            command(*arguments, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_texts_of_one_name_are_refused(command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command("m.pt", "--text", "a/x.txt", "b/x.txt")
    toy.names(capsys.readouterr().err.splitlines()[-1], "x")


def test_two_texts_with_the_same_ribbon_file_are_refused(command, capsys):
    with pytest.raises(SystemExit):
        command("m.pt", "--text", "a b.txt", "a_b.txt")
    toy.names(capsys.readouterr().err.splitlines()[-1], "a b", "a_b", "ribbon_a_b.png")

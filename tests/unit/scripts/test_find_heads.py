"""scripts/find_heads.py: the table, the drawing and the JSON agree with the scores; errors."""

import json

import numpy as np
import pytest
import toy

from plugins import hub
from plugins.analysis.attention import head_scores
from plugins.analysis.attention.head_scores import score_heads
from plugins.errors import UserError

pytest.importorskip("matplotlib")
TEXT = "abac abad\nface bad cab egg hagbad bead\n" * 5


@pytest.fixture
def checkpoint(make_char_lm, tmp_path):
    return toy.save_char_lm(make_char_lm(), tmp_path / "checkpoint_best.pt")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text(TEXT)
    return path


def test_table_json_and_figure_of_a_char_lm_agree(run_script, checkpoint, texts, tmp_path, capsys):
    output = ("-o", tmp_path / "h.png", "--json", tmp_path / "h.json")
    run_script("find_heads", checkpoint, texts, "--texts", 7, "--best", 1, "--seed", 3, *output)
    expected = score_heads(hub.load(checkpoint), [TEXT[i : i + 16] for i in range(0, 7 * 16, 16)], seed=3)
    written = json.loads((tmp_path / "h.json").read_text())
    assert list(written["patterns"]) == list(expected) and written["length"] == 16
    for name, found in expected.items():
        np.testing.assert_allclose(written["patterns"][name]["score"], found["score"], atol=1e-6)
        np.testing.assert_allclose(written["patterns"][name]["low"], found["low"], atol=1e-6)
    lines = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    layer, head = np.unravel_index(expected["uniform_head"]["score"].argmax(), (2, 2))
    best = expected["uniform_head"]["score"][layer, head]
    assert f"layer {layer} head {head}: {best:.2f} (" in lines["uniform"] and " 105 " in lines["uniform"]
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")


def test_a_masked_lm_reads_lines_that_are_not_blank(run_script, toy_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("\n\n".join(toy.sentences(9)) + "\n")
    run_script("find_heads", toy.save_masked_lm(tmp_path, toy_data), "lines.txt", "--texts", 6, "--json", "h.json")
    patterns = json.loads((tmp_path / "h.json").read_text())["patterns"]
    assert patterns["next_token_head"]["texts"] == 6 and "delimiter_head" in patterns


@pytest.mark.parametrize(
    "content, named",
    [
        (None, ["texts.txt"]),
        ("", []),
        ("abé", ["texts.txt", "number 1", "é"]),
        ('{"text": "abc"}\n', ["texts.txt", "JSON"]),
        (b"\xff\xfe", ["texts.txt"]),
    ],
)
def test_bad_texts_are_one_line_and_leave_no_file(run_script, checkpoint, tmp_path, monkeypatch, content, named):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "texts.txt").write_bytes(data)
    with toy.refused(*named, error=(UserError, SystemExit)):
        run_script("find_heads", checkpoint, "../texts.txt", "--json", "h.json")
    assert not list((tmp_path / "here").iterdir())


def test_an_error_names_its_file_once_and_the_one_that_causes_it(run_script, checkpoint, texts, tmp_path, monkeypatch):
    (tmp_path / "bad.txt").write_text("abé")
    (tmp_path / "short.txt").write_text("a")
    for files, wrong in ((["texts.txt", "bad.txt"], "bad.txt"), (["short.txt"], "short.txt")):
        with pytest.raises(UserError) as found:
            run_script("find_heads", checkpoint, *(tmp_path / name for name in files), "-o", tmp_path / "h.png")
        assert str(found.value).count(wrong) == 1 and "texts.txt" not in str(found.value)
        assert checkpoint.name not in str(found.value)
    monkeypatch.setattr(head_scores, "prompt_of", lambda model: "a tuned prompt")
    with pytest.raises(UserError) as found:
        run_script("find_heads", checkpoint, texts, "-o", tmp_path / "h.png")
    assert str(checkpoint) in str(found.value) and "texts.txt" not in str(found.value)


def test_numbers_that_make_no_sense_are_refused_before_anything_is_loaded(run_script, capsys):
    for option in (["--texts", "0"], ["--length", "3"], ["--best", "0"]):
        with toy.refused(2, error=SystemExit):
            run_script("find_heads", "nowhere", "nothing", *option)
        assert option[0] in capsys.readouterr().err

"""scripts/inspect_data.py: what it finds in a small data set with planted flaws, and its errors."""

import csv
import json
import random
import sys

import pytest
import toy


@pytest.fixture
def data(tmp_path):
    """180 rows: ``xyzzy`` gives class b away, a duplicate with another label, and one leaked test row."""
    draw = random.Random(0)
    rows = []
    for i in range(180):
        label = "ab"[i % 2]
        words = draw.choices([f"word{j}" for j in range(40)], k=9)
        rows.append((" ".join(words + (["xyzzy"] if label == "b" and draw.random() < 0.7 else [])), label))
    rows.append((rows[0][0].upper() + ".", "b"))
    test = [("word1 word2 word3 quite another text", "a"), (rows[5][0] + "!", "b")]
    for name, content in (("train", rows), ("test", test)):
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\n" + "".join(f"{t}\t{k}\n" for t, k in content))
    return tmp_path


def call(load_script, monkeypatch, *words):
    script = load_script("inspect_data")
    monkeypatch.setattr(sys, "argv", ["inspect_data.py", *map(str, words)])
    script.main()


def test_planted_flaws_are_found(data, load_script, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    out = data / "out"
    files = data / "train.tsv", data / "test.tsv"
    call(load_script, monkeypatch, *files, "-o", out, "--draws", 4, "--recipe", "gothate")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["words"]["top"][0]["word"] == "xyzzy" and summary["words"]["top"][0]["label"] == "b"
    assert summary["duplicates"]["exact_conflicts"] == 1
    leaks = {(leak["kind"], leak["leaked"]) for leak in summary["duplicates"]["across"]}
    assert leaks == {("exact", 1), ("near", 1)}
    (pair,) = summary["divergence"]
    assert pair["jsd_equal"] > pair["floor_equal"] and pair["gothate_nats"] > 0
    assert summary["splits"][0]["classes"] == {"a": 90, "b": 91}
    (conflict,) = list(csv.DictReader((out / "conflicts.csv").open()))
    assert (conflict["index_a"], conflict["index_b"]) == ("0", "180")
    assert {path.name for path in (out / "figures").iterdir()} == {"divergence.png", "words.png", "probe.png"}
    assert "| xyzzy" in (out / "summary.md").read_text().replace("`", "")
    assert "words give" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["a.tsv", "--glue-task", "RTE"], ["--glue-task", "RTE"], ["a.tsv", "--draws", "0"]]
)
def test_contradicting_options_are_refused(words, load_script, capsys):
    with pytest.raises(SystemExit) as ended:
        load_script("inspect_data").parse_args([*words, "-o", "out"])
    assert ended.value.code == 2 and "--" in capsys.readouterr().err


def test_too_few_rows_are_named_with_their_file(tmp_path, load_script, monkeypatch):
    (tmp_path / "few.tsv").write_text("text\tlabel\ngood\ta\nbad\tb\n")
    with toy.refused(tmp_path / "few.tsv", 2, 10):
        call(load_script, monkeypatch, tmp_path / "few.tsv", "-o", tmp_path / "out")

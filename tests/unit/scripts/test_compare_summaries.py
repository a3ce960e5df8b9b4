"""scripts/compare_summaries.py: what it says of files with known scores."""

import json

import pytest
import toy

from plugins.analysis.metrics import rouge


@pytest.fixture
def script(load_script):
    return load_script("compare_summaries")


def write(path, values, ids=None):
    lines = [
        {"id": str(i), "summary": "", "rouge": dict.fromkeys(rouge.KINDS, value)}
        for i, value in zip(ids or range(len(values)), values, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_means_intervals_and_paired_differences(script, tmp_path):
    paths = {
        "base": write(tmp_path / "a", [0.1, 0.5, 0.3]),
        "better": write(tmp_path / "b", [0.6, 0.4, 0.2], [1, 2, 0]),
    }
    results = script.compare({name: script.read_scores(path) for name, path in paths.items()}, paths)
    better = results["better"]["rouge1"]
    assert better["mean"] == pytest.approx(0.4) and better["difference"] == pytest.approx(0.1)
    assert better["difference_interval"] == pytest.approx((0.1, 0.1)), "each document gains as much"
    assert better["interval"][0] < 0.4 < better["interval"][1]
    table = script.markdown(results)
    assert "| better | 40.0 (" in table and "| 10.0 (10.0 to 10.0) |" in table and table.startswith("3 documents;")


def test_a_drawing_of_each_kind(script, tmp_path):
    paths = {"0.1": write(tmp_path / "a", [0.1, 0.5]), "1": write(tmp_path / "b", [0.2, 0.3])}
    results = script.compare({name: script.read_scores(path) for name, path in paths.items()}, paths)
    for axis in (None, "temperature"):
        script.draw(results, axis, tmp_path / f"{axis}.png")
        assert (tmp_path / f"{axis}.png").read_bytes().startswith(b"\x89PNG")


def test_other_documents_are_refused(script, tmp_path):
    paths = {"a": write(tmp_path / "a", [0.1]), "b": write(tmp_path / "b", [0.1], ["z"])}
    with toy.refused(paths["a"], paths["b"]):
        script.compare({name: script.read_scores(path) for name, path in paths.items()}, paths)


def test_documents_of_the_same_id_are_refused(script, tmp_path):
    with toy.refused(tmp_path / "a", "7"):
        script.read_scores(write(tmp_path / "a", [0.1, 0.2, 0.3], [7, 8, 7]))


def test_a_name_does_not_break_the_table(script, tmp_path):
    paths = {"a|b": write(tmp_path / "a", [0.1, 0.5])}
    table = script.markdown(script.compare({"a|b": script.read_scores(paths["a|b"])}, paths))
    assert r"| a\|b | 30.0" in table


@pytest.mark.parametrize(
    "text", ["{}\n", "x\n", '{"id": "a", "rouge": {"rouge1": 1}}\n', '{"id": "a", "summary": ""}\n']
)
def test_files_without_scores_are_named(script, tmp_path, text):
    (tmp_path / "a").write_text(text)
    with toy.refused(tmp_path / "a"):
        script.read_scores(tmp_path / "a")


@pytest.mark.parametrize(
    "arguments",
    [
        ["a"],
        ["=x"],
        ["a=x", "a=y"],
        ["a=x", "--axis", "temperature"],
        ["nan=x", "--axis", "temperature"],
        ["0.1=x", "0.10=y", "--axis", "temperature"],
    ],
)
def test_names_that_make_no_sense(script, arguments, capsys):
    with pytest.raises(SystemExit):
        script.parse_args([*arguments, "-o", "out"])
    assert "error:" in capsys.readouterr().err

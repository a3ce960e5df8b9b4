"""Comparisons of systems by ROUGE, from files with known scores."""

import json

import pytest
import toy

from plugins.analysis.metrics import rouge
from plugins.analysis.metrics import rouge_comparison as comparison


def write(path, values, ids=None):
    lines = [
        {"id": str(i), "summary": "", "rouge": dict.fromkeys(rouge.KINDS, value)}
        for i, value in zip(ids or range(len(values)), values, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_means_intervals_and_paired_differences(tmp_path):
    paths = {
        "base": write(tmp_path / "a", [0.1, 0.5, 0.3]),
        "better": write(tmp_path / "b", [0.6, 0.4, 0.2], [1, 2, 0]),
    }
    results = comparison.compare({name: comparison.read_scores(path) for name, path in paths.items()}, paths)
    better = results["better"]["rouge1"]
    assert better["mean"] == pytest.approx(0.4) and better["difference"] == pytest.approx(0.1)
    assert better["difference_interval"] == pytest.approx((0.1, 0.1)), "each document gains as much"
    assert better["interval"][0] < 0.4 < better["interval"][1]
    table = comparison.markdown(results)
    assert "| better | 40.0 (" in table and "| 10.0 (10.0 to 10.0) |" in table and table.startswith("3 documents;")


def test_a_drawing_of_each_kind(tmp_path):
    paths = {"0.1": write(tmp_path / "a", [0.1, 0.5]), "1": write(tmp_path / "b", [0.2, 0.3])}
    results = comparison.compare({name: comparison.read_scores(path) for name, path in paths.items()}, paths)
    for axis in (None, "temperature"):
        comparison.draw(results, axis, tmp_path / f"{axis}.png")
        assert (tmp_path / f"{axis}.png").read_bytes().startswith(b"\x89PNG")


def test_other_documents_are_refused(tmp_path):
    paths = {"a": write(tmp_path / "a", [0.1]), "b": write(tmp_path / "b", [0.1], ["z"])}
    with toy.refused(paths["a"], paths["b"]):
        comparison.compare({name: comparison.read_scores(path) for name, path in paths.items()}, paths)


def test_documents_of_the_same_id_are_refused(tmp_path):
    with toy.refused(tmp_path / "a", "7"):
        comparison.read_scores(write(tmp_path / "a", [0.1, 0.2, 0.3], [7, 8, 7]))


def test_a_name_does_not_break_the_table(tmp_path):
    paths = {"a|b": write(tmp_path / "a", [0.1, 0.5])}
    table = comparison.markdown(comparison.compare({"a|b": comparison.read_scores(paths["a|b"])}, paths))
    assert r"| a\|b | 30.0" in table


@pytest.mark.parametrize(
    "text", ["{}\n", "x\n", '{"id": "a", "rouge": {"rouge1": 1}}\n', '{"id": "a", "summary": ""}\n']
)
def test_files_without_scores_are_named(tmp_path, text):
    (tmp_path / "a").write_text(text)
    with toy.refused(tmp_path / "a"):
        comparison.read_scores(tmp_path / "a")


def test_the_title_names_a_best_system_if_the_intervals_do_not_overlap():
    def of(mean, low, high):
        return {"rouge1": {"mean": mean, "interval": (low, high)}}

    apart = {"lead": of(0.2, 0.15, 0.25), "LoRA": of(0.4, 0.35, 0.45)}
    assert comparison.conclusion(apart).startswith("LoRA has the highest ROUGE-1, 40.0")
    assert "overlap" in comparison.conclusion(apart | {"prompt": of(0.38, 0.3, 0.44)})
    assert comparison.conclusion({"lead": of(0.2, 0.15, 0.25)}).startswith("lead has the highest ROUGE-1, 20.0")


def named(values):
    """Results of two systems, by the mean of every kind and the ends of its interval."""
    entries = {name: {"mean": mean, "interval": (low, high)} for name, (low, mean, high) in values.items()}
    return {name: {"documents": 5} | dict.fromkeys(rouge.KINDS, entry) for name, entry in entries.items()}


def test_a_drawing_has_percents_and_their_intervals(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(comparison.plots, "ranges", lambda *given: drawn.append(given))
    monkeypatch.setattr(comparison.plots, "bands", lambda *given: drawn.append(given))
    results = named({"10": (0.25, 0.5, 0.75), "2": (0.125, 0.25, 0.5)})
    comparison.draw(results, None, tmp_path / "a.png")
    path, groups, title, label = drawn.pop()
    assert path == tmp_path / "a.png" and "5" in label and title.startswith("10 and 2")
    assert groups == {kind: {"10": (25, 50, 75), "2": (12.5, 25, 50)} for kind in rouge.KINDS}
    comparison.draw(results, "beams", tmp_path / "b.png")
    path, curves, title, label, axis = drawn.pop()
    assert (path, axis) == (tmp_path / "b.png", "beams") and "beams" in title and list(curves) == list(rouge.KINDS)
    x, mean, half = curves["rouge2"]
    assert (x.tolist(), mean.tolist(), half.tolist()) == ([2, 10], [25, 50], [18.75, 25]), "in the order of numbers"


def test_touching_intervals_overlap():
    title = comparison.conclusion(named({"a": (0.25, 0.5, 0.75), "b": (0.0, 0.125, 0.25), "c": (0, 0, 0)}))
    assert title.startswith("a and b")
    assert comparison.conclusion(named({"b": (0.0, 0.1, 0.2), "a": (0.25, 0.5, 0.75)})).startswith("a has")


def test_the_table_has_no_difference_of_the_first_system_from_itself():
    results = named({"lead": (0.25, 0.5, 0.75), "LoRA": (0.25, 0.5, 0.75)})
    for row in results.values():
        row["rouge1"] = row["rouge1"] | {"difference": -0.125, "difference_interval": (-0.25, 0.0)}
    lines = comparison.markdown(results).splitlines()
    cells = " | ".join(["50.0 (25.0 to 75.0)"] * 4)
    assert lines[-2:] == [f"| lead | {cells} |  |", f"| LoRA | {cells} | -12.5 (-25.0 to 0.0) |"]
    assert lines[0].startswith("5 documents") and lines[2].startswith("|  | rouge1 |")


def test_a_file_without_documents_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    with toy.refused(tmp_path / "a"):
        comparison.compare({"a": comparison.read_scores(tmp_path / "a")}, {"a": tmp_path / "a"})

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

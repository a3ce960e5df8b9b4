"""Maps of heads: what is scored, and in which form the page gets it."""

from types import SimpleNamespace

import numpy as np
import pytest

from plugins.analysis.report import head_maps


def scores(value):
    return {key: np.full((2, 3), value + more) for key, more in (("score", 0), ("low", -0.01), ("high", 0.01))}


def test_patterns_without_a_score_are_left_out(monkeypatch):
    calls = []

    def score_heads(lm, texts, **options):
        calls.append((texts, options))
        return {"previous_token_head": scores(0.5), "next_token_head": scores(np.nan), "induction_head": scores(0.05)}

    monkeypatch.setattr(head_maps, "score_heads", score_heads)
    lm = SimpleNamespace(reads_characters=True, model=SimpleNamespace(max_positions=lambda: 4))
    found = head_maps.head_maps(lm, "abcdefgh", 5, seed=7)
    assert [item["name"] for item in found["items"]] == ["previous_token_head", "induction_head"]
    assert (found["layers"], found["heads"]) == (2, 3) and "2 stretches" in found["note"]
    ((texts, options),) = calls
    assert texts == ["abcd", "efgh"] and (options["length"], options["seed"], options["bar"]) == (128, 7, False)


@pytest.mark.parametrize(("score", "strong"), [(0.1, True), (0.099, False)])
def test_a_head_of_a_tenth_is_strong(score, strong):
    found = head_maps.head_map("previous_token_head", scores(score))
    assert found["strong"] == strong and found["most"].startswith("Layer 0, head 0" if strong else "No such head")
    assert found["what"] and head_maps.head_map("other_head", scores(score))["what"] == ""


def test_the_best_head_is_counted_through_the_layers():
    found = scores(0.2)
    found["score"][1, 2] = 0.75
    assert head_maps.head_map("x_head", found)["best"] == 5
    assert head_maps.head_map("x_head", found)["most"].startswith("Layer 1, head 2: 0.75")


def test_stretches_are_as_long_as_the_model_reads(monkeypatch):
    lm = SimpleNamespace(reads_characters=True, model=SimpleNamespace(max_positions=lambda: 1000))
    text = "x" * 300
    assert [len(part) for part in head_maps.stretches(lm, text, 9)] == [128, 128]
    lm = SimpleNamespace(reads_characters=False, model=SimpleNamespace(max_positions=lambda: 2))
    found = list(head_maps.stretches(lm, "a b c d e f g h i j k l m n o p ", 9))
    assert found == ["a b c d e f g h ", "j k l m n o p "]

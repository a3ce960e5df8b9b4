"""The review page as a file: its data, and texts that cannot leave their script element. See also integration."""

import json
import re

import numpy as np
import pytest
import toy

from plugins.diagnostics import label_errors, review_page

TEXTS = ["a cat sat", "</script><b>&\u2028 cat ran", "a cat ran", "dogs \ud800 bark", "a cat sat"]


def rows(texts=TEXTS):
    p = np.array([[0.7, 0.3], [0.12346, 0.87654], [0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])[: len(texts)]
    score = np.array([0.9, 0.1, 0.5, 0.2, 0.95])[: len(texts)]
    return label_errors.Listed([texts], [f"r{i}" for i in range(len(texts))], np.array([0, 0, 1, 0, 0])[: len(texts)],
                               ["no", "yes"], np.log(p), score * 2, score, score < 0.15,
                               np.array([0, 1, 2, 3, 0])[: len(texts)])  # fmt: skip


def test_rows_come_by_score_with_their_neighbors_behind_them():
    found = review_page.content(rows(), "T", 3, {"length": ["s", "m", "s", "m", "l"]})
    assert found["row"][:3] == [1, 3, 2] and found["count"] == 3 and found["index"][:3] == ["r1", "r3", "r2"]
    assert sorted(found["row"][3:]) == [0, 4]  # neighbors that are not listed
    assert [found["row"][j] for j in found["near"][0]][0] == 2  # the most similar text
    assert found["label"][:3] == [0, 0, 1] and found["p"][0] == [0.1235, 0.8765]
    assert found["score"] == [0.1, 0.2, 0.5] and found["pvi"] == [0.2, 0.4, 1.0] and found["flag"] == [1, 0, 0]
    assert found["slices"] == {"length": ["m", "m", "s"]} and found["texts"][1] == ["dogs ? bark"]
    assert len(found["x"]) == 3 and all(len(row) == 4 for row in found["x"])


def test_duplicates_are_listed_as_twins():
    found = review_page.content(rows(), "T", 5, {})
    place = {row: i for i, row in enumerate(found["row"])}
    assert found["twins"][place[0]] == [place[4]] and found["twins"][place[4]] == [place[0]]
    assert found["twins"][place[1]] == []


def test_texts_cannot_close_their_script_element():
    page = review_page.render(rows(), "<T> & @DATA@")
    data = re.search('<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert not re.search("[<>&\u2028]", data)
    assert (
        json.loads(data)["texts"][0] == ["</script><b>&\u2028 cat ran"] and json.loads(data)["title"] == "<T> & @DATA@"
    )
    assert "<title>&lt;T&gt; &amp; @DATA@</title>" in page


def test_the_policy_names_the_script_and_the_style_of_the_page():
    page = review_page.render(rows(), "T")
    for kind, text in (("script", page.rsplit("<script>", 1)[1].split("</script>")[0]),
                       ("style", page.split("<style>")[1].split("</style>")[0])):  # fmt: skip
        assert f"{kind}-src '{review_page.digest(text)}'" in page
    assert review_page.digest("") == "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_a_page_without_rows_is_refused():
    with toy.refused("no rows"):
        review_page.render(rows([]), "T")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(value):
    with pytest.raises(ValueError):
        review_page.embed([value])


def test_a_row_lists_at_most_five_twins_and_the_page_as_many_rows_as_asked():
    texts = ["the same text"] * 8
    log_p = np.log(np.full((8, 2), 0.5))
    given = label_errors.Listed([texts, ["b"] * 8], list("abcdefgh"), np.array([0, 1] * 4), ["no", "yes"], log_p,
                                np.zeros(8), np.arange(8.0), np.zeros(8, bool), np.zeros(8, int))  # fmt: skip
    found = review_page.content(given, "T", 7, {})
    assert found["twins"][0] == [1, 2, 3, 4, 5] and found["twins"][6] == [0, 1, 2, 3, 4] and len(found["twins"]) == 7
    assert found["count"] == 7 and len(found["near"]) == 7 and found["texts"][0] == ["the same text", "b"]
    assert (found["every"], found["few"], found["recent"], len(found["table"])) == (20, 0.1, 40, 41)
    assert len(found["mean"]) == len(found["precision"]) == 4 + 2 + 4 + 1 and found["classes"] == ["no", "yes"]


def test_numbers_are_rounded_and_text_is_not_escaped_twice():
    data = json.loads(review_page.embed({"é": "a & b"}))
    assert data == {"é": "a & b"} and "é" in review_page.embed({"é": 1}) and " " not in review_page.embed({"a": [1, 2]})

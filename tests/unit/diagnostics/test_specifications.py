"""Rankings joined, BM25, and wrong labels found by examples."""

import csv
import random
import sys

import numpy as np
import pytest
import toy

from plugins.diagnostics import rank_aggregation, specifications


def test_what_is_no_specification_is_refused(tmp_path):
    for content, named in (("[]", "no specifications"), ("hello", "mapping"), ("[{}, 5]", "specification 1")):
        (tmp_path / "s.yaml").write_text(content)
        with toy.refused("s.yaml", named):
            specifications.read(tmp_path / "s.yaml")


def test_reciprocal_rank_fusion():
    """1 / 61 + 1 / 63 and so on, of the ranks (1, 3), (2, 1), (3, 2)."""
    found = rank_aggregation.rrf(np.array([[1, 2, 3], [3, 1, 2]]))
    np.testing.assert_allclose(found, [0.03226646, 0.03252247, 0.03200205], atol=1e-8)


def test_equal_scores_share_a_rank_and_methods_agree_on_a_clear_winner():
    scores = np.array([[3.0, 1, 1], [9, 2, 5]])
    assert rank_aggregation.ranks(scores)[0].tolist() == [1, 2.5, 2.5]
    assert {int(rank_aggregation.aggregate(scores, m).argmax()) for m in rank_aggregation.METHODS} == {0}
    np.testing.assert_allclose(rank_aggregation.aggregate(scores, "borda"), [-1, -2.75, -2.25])
    with toy.refused("--aggregate x"):
        rank_aggregation.aggregate(scores, "x")


def test_bm25_of_three_texts():
    """By hand: idf = log(1 + (3 - 1 + 0.5) / 1.5), count 1, length 2 of a mean of 2."""
    found = specifications.bm25(["cat sat", "dog ran", "dog dog"], ["cat", "dog bird"])
    np.testing.assert_allclose(found[0], [np.log(1 + 2.5 / 1.5), 0, 0], rtol=1e-5)
    assert found[1, 2] > found[1, 1] > 0 == found[1, 0]


def world(seed=0, rows=400):
    """Two classes with words of their own and a shared topic; a fifth of class 0 is labeled 1."""
    draw = random.Random(seed)
    words = {0: [f"calm{i}" for i in range(25)], 1: [f"loud{i}" for i in range(25)]}

    def text(k):
        return " ".join(draw.choices(words[k], k=4) + draw.choices([f"topic{i}" for i in range(60)], k=6))

    true = np.arange(rows) % 2
    texts = [text(k) for k in true]
    given = np.where((true == 0) & (np.arange(rows) % 5 == 0), 1, true)
    specs = [specifications.Specification(name, name, tuple(text(k) for _ in range(15))) for k, name in enumerate("ab")]
    return texts, given, given != true, specs


@pytest.mark.parametrize("ranker", specifications.RANKERS)
def test_contrast_finds_wrong_labels_and_beats_similarity_alone(ranker):
    texts, given, wrong, specs = world()
    count = wrong.sum()
    precision = {}
    for method in ("contrast-rrf", "borda"):
        score, suggested = specifications.suspects(texts, given, ["a", "b"], specs, ranker, method)
        precision[method] = wrong[np.argsort(-score, kind="stable")[:count]].mean()
        assert (suggested == 1 - given).all()
    assert precision["contrast-rrf"] > 0.8 and precision["contrast-rrf"] >= precision["borda"]


def test_a_function_that_embeds_ranks_by_the_cosine_of_centered_vectors():
    vectors = np.array([[3.0, 1], [1, 3], [0, 0], [2, 1]])  # the last one is the query's; the mean of three is (2, 5/3)
    found = specifications.similarities(
        [
            "a",
            "b",
            "",
        ],
        ["q"],
        lambda texts: vectors[: len(texts)],
    )
    np.testing.assert_allclose(found[0], [0.5547, -0.8, 0], atol=1e-4)


def test_an_embedding_ranker_finds_wrong_labels():
    texts, given, wrong, specs = world()

    def embed(rows):
        return np.array([[sum(w.startswith(p) for w in row.split()) for p in ("calm", "loud")] for row in rows], float)

    score, suggested = specifications.suspects(texts, given, ["a", "b"], specs, embed)
    assert wrong[np.argsort(-score, kind="stable")[: wrong.sum()]].mean() > 0.8


def test_specifications_of_a_file(tmp_path):
    (tmp_path / "q.txt").write_text("one text\n\nanother\n")
    rows = ["{name: x, label: '1', queries: q.txt}", "{name: y, label: no, queries: [z, w]}"]
    (tmp_path / "s.yaml").write_text("".join(f"- {row}\n" for row in rows))
    first, second = specifications.read(tmp_path / "s.yaml")
    assert first.queries == ("one text", "another") and second.label == "no"


@pytest.mark.parametrize(
    ("content", "named"),
    [("[1]", "specification 1"), ("{name: x, label: a}", "queries"), ("{name: x, label: a, queries: [b], z: 1}", "z"),
     ("{name: x, label: a, queries: none.txt}", "none.txt"), ("{name: x, label: a, queries: {b: c}}", "queries")],
)  # fmt: skip
def test_bad_specifications_are_named(tmp_path, content, named):
    (tmp_path / "s.yaml").write_text(content)
    with toy.refused(named):
        specifications.read(tmp_path / "s.yaml")


def test_a_pool_is_selected_from(tmp_path, load_script, monkeypatch):
    texts, given, _, specs = world()
    (tmp_path / "pool.tsv").write_text("text\n" + "".join(text + "\n" for text in texts))
    queries = "\n".join(f"- name: {s.name}\n  label: {s.label}\n  queries: [{', '.join(s.queries)}]" for s in specs)
    (tmp_path / "s.yaml").write_text(queries)
    script = load_script("select_data")
    words = ["--specs", tmp_path / "s.yaml", "--pool", tmp_path / "pool.tsv", "--number", 30, "-o", tmp_path / "o.csv"]
    monkeypatch.setattr(sys, "argv", ["select_data.py", *map(str, words)])
    script.main()
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    right = [int(row["row"]) % 2 == "ab".index(row["label"]) for row in rows]
    assert len(rows) == 60 and np.mean(right) > 0.9


def test_bm25_saturates_and_normalizes_lengths():
    """By hand: idf = log(1 + 1.5 / 2.5); lengths 4 and 2 of a mean of 3, so norms 1.5 and 0.9; counts 2 and 1."""
    found = specifications.bm25(["cat cat sat on", "cat dog"], ["Cat cat"])
    idf = np.log(1 + 0.5 / 2.5)
    np.testing.assert_allclose(found, [[idf * 2 * 2.2 / (2 + 1.5), idf * 2.2 / (1 + 0.9)]], rtol=1e-5)
    flat = specifications.bm25(["cat cat sat on", "cat dog"], ["cat"], k=2.0, b=0.0)
    np.testing.assert_allclose(flat, [[idf * 2 * 3 / (2 + 2), idf * 3 / (1 + 2)]], rtol=1e-5)
    assert specifications.bm25(["", ""], ["cat"]).tolist() == [[0, 0]] and found.dtype == np.float32


def test_similarity_of_words_and_pairs_of_words():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, queries = ["a cat sat", "sat a dog dog", "none"], ["a cat", "zebra"]
    model = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True)
    rows = model.fit_transform(texts)
    found = specifications.similarities(texts, queries)
    np.testing.assert_allclose(found, (model.transform(queries) @ rows.T).toarray(), atol=1e-6)
    assert specifications.similarities(["--", "!"], queries).tolist() == [[0, 0], [0, 0]]
    with toy.refused("--ranker x", "tfidf"):
        specifications.similarities(texts, queries, "x")
    with toy.refused("no words"):
        specifications.similarities([" ", ""], queries)


def test_zero_vectors_stay_zero_and_are_no_part_of_the_mean():
    np.testing.assert_allclose(specifications.unit([[3, 1], [1, 1], [0, 0]]), [[1, 0], [-1, 0], [0, 0]])
    assert specifications.unit(np.zeros((2, 3))).tolist() == [[0] * 3] * 2


@pytest.fixture
def ranked(monkeypatch):
    """Suspects of rows whose similarities to the queries are given, (Q, n)."""

    def suspects(matrix, labels, specs, method, classes=("a", "b", "c")):
        monkeypatch.setattr(specifications, "similarities", lambda *_: np.array(matrix, float))
        return specifications.suspects(["x"] * len(labels), np.array(labels), classes, specs, "tfidf", method)

    return suspects


def test_suspects_are_more_like_another_label_than_like_their_own(ranked):
    specs = [specifications.Specification("x", "a", ("q1", "q2")), specifications.Specification("y", "b", ("q3",)),
             specifications.Specification("z", "b", ("q4",))]  # fmt: skip
    matrix = [[0.9, 0.2, 0.4, 0.1], [0.7, 0.4, 0.4, 0.3], [0.1, 0.6, 0.2, 0.5], [0.3, 0.1, 0.2, 0.8]]
    score, suggested = ranked(matrix, [0, 0, 1, 2], specs, "mean")  # a: .8 .3 .4 .2; b: .3 .6 .2 .8
    np.testing.assert_allclose(score, [0.3, 0.6, 0.4, 0.8])
    assert suggested.tolist() == [1, 1, 0, 1]
    score, _ = ranked(matrix, [0, 0, 1, 2], specs, "contrast-mean")
    np.testing.assert_allclose(score, [-0.5, 0.3, 0.2, 0.8])  # nothing is subtracted for c, which has no examples


def test_rows_of_the_only_label_with_examples_come_last(ranked):
    specs = [specifications.Specification("x", "a", ("q1",))]
    score, _ = ranked([[0.5, -0.4, 0.2]], [0, 1, 2], specs, "mean")
    np.testing.assert_allclose(score, [-1.4, -0.4, 0.2])
    score, _ = ranked([[0.5, 0.4, 0.2]], [0, 1, 2], specs, "mean")
    np.testing.assert_allclose(score, [-1, 0.4, 0.2])
    with toy.refused("single label"):
        ranked([[0.5]], [0], specs, "mean", classes=["a"])
    with toy.refused("x", "'a'", "b, c"):
        ranked([[0.5]], [0], specs, "mean", classes=["b", "c"])


def test_selected_rows_are_the_most_similar_and_contrast_subtracts_other_labels(monkeypatch):
    specs = [specifications.Specification("x", "a", ("q1",)), specifications.Specification("y", "b", ("q2",)),
             specifications.Specification("z", "a", ("q3",))]  # fmt: skip
    matrix = np.array([[0.9, 0.8, 0.1], [0.85, 0.1, 0.2], [0.0, 0.5, 0.4]])
    monkeypatch.setattr(specifications, "similarities", lambda *_: matrix)
    texts = ["1", "2", "3"]
    found = specifications.select(texts, specs, 2, method="mean")
    assert {name: rows.tolist() for name, rows in found.items()} == {"x": [0, 1], "y": [0, 2], "z": [1, 2]}
    found = specifications.select(texts, specs, 1, method="contrast-mean")
    assert {name: rows.tolist() for name, rows in found.items()} == {"x": [1], "y": [0], "z": [1]}
    assert len(specifications.select(texts, specs, 3, method="mean")["x"]) == 3
    for number in (0, 4):
        with toy.refused(f"--number {number}", "3"):
            specifications.select(texts, specs, number)


@pytest.mark.parametrize(
    ("content", "named"),
    [("- {name: x, label: a, queries: [b]}\n- {name: x, label: b, queries: [c]}", "same name"),
     ("{name: [1], label: a, queries: [b]}", "texts"), ("{name: x, label: [a], queries: [b]}", "texts"),
     ("{name: x, label: a, queries: [b], held_out: {c: d}}", "held_out"),
     ("{name: x, label: a, queries: [[b]]}", "queries"),
     ("{label: a, queries: [b]}", "'name'"), ("{name: x, queries: [b]}", "'label'")],
)  # fmt: skip
def test_more_bad_specifications_are_named(tmp_path, content, named):
    (tmp_path / "s.yaml").write_text(content)
    with toy.refused("s.yaml", named):
        specifications.read(tmp_path / "s.yaml")


def test_held_out_texts_are_optional_and_empty_ones_dropped(tmp_path):
    rows = ["{name: x, label: a, queries: ['', q]}", "{name: y, label: a, queries: [q], held_out: [h, '', i]}"]
    (tmp_path / "s.yaml").write_text("".join(f"- {row}\n" for row in rows))
    first, second = specifications.read(tmp_path / "s.yaml")
    assert (first.queries, first.held_out, second.held_out) == (("q",), (), ("h", "i"))

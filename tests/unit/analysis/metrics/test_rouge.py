"""ROUGE against the rouge-score package, and in scripts that it does not support."""

import random
import sys
import time
import unicodedata

import numpy as np
import pytest
import torch
import toy

pytest.importorskip("rouge_score")

from plugins.analysis.metrics import rouge  # noqa: E402

PAIRS = [
    ("the cat sat on the mat", "the cats were sitting on a mat"),
    ("He said: don't go_there; it's 3.14 miles (5 km)!", "He DID say so -- don't go there. It's 5 km."),
    ("first line .\nthe second line .", "the second line here .\na first line ."),
    ("", "something"),
    ("running runners ran", "run runner runs"),
]


@pytest.mark.parametrize("summary, reference", PAIRS)
def test_english_scores_are_those_of_rouge_score_with_its_own_tokenizer(summary, reference):
    from rouge_score.rouge_scorer import RougeScorer

    kinds = ["rouge1", "rouge2", "rougeL"] + (["rougeLsum"] if "\n" in reference else [])
    expected = RougeScorer(kinds, use_stemmer=True).score(reference, summary)
    found = rouge.score(summary, reference)
    assert {kind: found[kind] for kind in kinds} == pytest.approx({k: expected[k].fmeasure for k in kinds}, abs=1e-12)


@pytest.mark.parametrize(
    "text", ["Съешь ещё этих мягких булок", "דע מאין באת ולאן אתה הולך", "नमस्ते दुनिया", "我爱北京天安门", "Ελλάδα"]
)
def test_identical_texts_score_one_in_any_script(text):
    assert set(rouge.score(text, text).values()) == {1.0} or len(rouge.WordTokenizer().tokenize(text)) == 1


def random_text(draw):
    words = "the a cat dog sat on mat ran fast slowly and it was".split()
    return "\n".join(" ".join(draw.choices(words, k=draw.randrange(1, 12))) for _ in range(draw.randrange(2, 6)))


@pytest.mark.parametrize("seed", range(40))
def test_random_texts_score_as_with_rouge_score(seed):
    from rouge_score.rouge_scorer import RougeScorer

    draw = random.Random(seed)
    summary, reference = random_text(draw), random_text(draw)
    expected = RougeScorer(list(rouge.KINDS), use_stemmer=True).score(reference, summary)
    assert rouge.score(summary, reference) == pytest.approx({k: expected[k].fmeasure for k in rouge.KINDS}, abs=1e-12)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("le café noir", unicodedata.normalize("NFD", "le café noir")),
        ("the extraordinary cat", "the extra\u00adordin\u200bary\u200c cat\ufeff"),
        ("한국어 문장", unicodedata.normalize("NFD", "한국어 문장")),
    ],
)
def test_one_text_in_two_encodings_scores_one(one, two):
    assert one != two and set(rouge.score(one, two).values()) == {1.0}


def test_short_words_are_not_stemmed():
    assert rouge.WordTokenizer().tokenize("was has ties") == ["was", "has", "tie"]


def test_the_time_is_not_quadratic_in_the_length():
    draw = random.Random(1)

    def seconds(count):
        one, two = (" ".join(f"w{draw.randrange(1000)}" for _ in range(count)) for _ in range(2))
        times = []
        for _ in range(3):
            start = time.process_time()
            rouge.score(one, two)
            times.append(time.process_time() - start)
        return min(times)

    rouge.score("a", "b")
    assert seconds(6000) < 50 * seconds(600)  # 100 times if it were quadratic


def test_words_of_other_scripts():
    words = rouge.WordTokenizer().tokenize
    assert words("Ещё раз, ÉTÉ!") == ["ещё", "раз", "été"]
    assert words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"], "vowel signs belong to their letters"
    assert words("我爱GPT-2模型") == ["我", "爱", "gpt", "2", "模", "型"]
    assert words("Running runs") == ["run", "run"] and rouge.WordTokenizer(stem=False).tokenize("Running") == [
        "running"
    ]


def test_literal_scores():
    found = rouge.score("the cat sat", "the cat ran")
    assert found["rouge1"] == pytest.approx(2 / 3) and found["rouge2"] == pytest.approx(1 / 2)
    assert found["rougeL"] == pytest.approx(2 / 3)


def test_lsum_takes_sentences_in_any_order_and_l_does_not():
    summary, reference = "The dog barked. A cat slept on.", "A cat slept on.\nThe dog barked."
    found = rouge.score(summary, reference)
    assert found["rougeLsum"] == 1.0 and found["rougeL"] < 0.7


@pytest.mark.parametrize(
    "text, expected",
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("At 3.5 p.m. it ended.", ["At 3.5 p.m. it ended."]),
        ("a line\nanother. Line", ["a line", "another.", "Line"]),
        ("你好。再见。", ["你好。", "再见。"]),
        ("אחת. שתיים.", ["אחת.", "שתיים."]),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert rouge.sentences(text) == expected


def test_quotes_without_an_end_take_linear_time():
    begin = time.process_time()
    assert len(rouge.sentences('"' * 200_000)) == 1
    assert time.process_time() - begin < 5  # quadratic: minutes


def test_intervals_have_their_nominal_coverage():
    draws, held = np.random.default_rng(0), 0
    for trial in range(60):
        scores = [dict.fromkeys(rouge.KINDS, float(value)) for value in draws.random(50)]
        low, high = rouge.intervals(scores, seed=trial)["rouge1"]
        held += low <= 0.5 <= high
        assert low < rouge.mean(scores)["rouge1"] < high
    assert held >= 50, "95 % of 60 are 57"


def test_scores_are_plain_floats():
    assert all(type(value) is float for value in rouge.score("a b", "a c").values())
    assert not isinstance(rouge.mean([rouge.score("a", "a")])["rouge1"], torch.Tensor)


def test_intervals_are_percentiles_of_a_thousand_samples():
    scores = [dict.fromkeys(rouge.KINDS, value) for value in (0.0, 1.0)]
    assert rouge.intervals(scores) == rouge.intervals(scores, 1) == dict.fromkeys(rouge.KINDS, (0.0, 1.0))
    many = [dict.fromkeys(rouge.KINDS, i / 100) for i in range(101)]
    low, high = rouge.intervals(many, seed=3)["rougeL"]
    half = 1.96 * 0.2915 / 101**0.5
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.006)
    assert rouge.intervals(many) != rouge.intervals(many, seed=3)


def test_differences_are_of_the_same_texts():
    one, two = ([dict.fromkeys(rouge.KINDS, value) for value in values] for values in ((0.5, 0.75), (0.25, 1.0)))
    assert [entry["rouge2"] for entry in rouge.differences(one, two)] == [0.25, -0.25]
    with pytest.raises(ValueError):
        rouge.differences(one, two[:1])
    assert rouge.mean(iter(one)) == dict.fromkeys(rouge.KINDS, 0.625)


@pytest.mark.parametrize("stem", [True, False])
def test_words_are_stemmed_unless_requested_otherwise(stem):
    found = rouge.score("running dogs", "run dog", stem)
    assert found == dict.fromkeys(rouge.KINDS, float(stem))
    assert rouge.score("running dogs", "run dog") == dict.fromkeys(rouge.KINDS, 1.0)


def test_words_of_four_letters_are_stemmed():
    assert rouge.WordTokenizer().tokenize("cats éats") == ["cat", "éats"]


def test_a_missing_package_is_named(monkeypatch):
    rouge.scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with toy.refused("rouge-score"):
        rouge.scorer()

"""Style classifiers (judges): they recognize learned styles, and text without a style."""

import re
import string

import numpy as np
import pytest
import toy

from plugins.analysis.styles import classifiers

STYLES = ["letters", "recipes"]
WORDS = {
    "letters": "dear madam I remain your humble servant and trust that the carriage arrived before the evening".split(),
    "recipes": "stir 2 cups flour, 1 egg; bake at 180 C until golden (35 min), then cool: serve 4 slices.".split(),
}


def prose(style, length, seed):
    draw = np.random.default_rng(seed)
    text = " ".join(draw.choice(WORDS[style], length // 3))
    return text[:length]


@pytest.fixture(scope="module", params=["svm", "bayes"])
def judge(request):
    texts = {style: prose(style, 6000, seed) for seed, style in enumerate(STYLES)}
    return classifiers.StyleJudge(request.param, STYLES).fit(texts, (50, 200))


def share(judge, windows, label):
    return float((judge.predict(windows) == label).mean())


@pytest.mark.parametrize("label", [0, 1])
def test_unseen_text_of_a_style_is_recognized(judge, label):
    windows = classifiers.cut(prose(STYLES[label], 4000, 10 + label), 100)
    assert share(judge, windows, label) > 0.9


@pytest.mark.parametrize("alphabet", [
    string.ascii_lowercase + " ", string.ascii_letters, string.digits, "x", "xy ", "אבגדה ", "éàü",
])  # fmt: skip
def test_random_letters_have_no_style(judge, alphabet):
    draw = np.random.default_rng(3)
    windows = ["".join(draw.choice(list(alphabet), 100)) for _ in range(50)]
    assert share(judge, windows, classifiers.NONE) > 0.9


def test_the_nearest_style_of_random_letters_is_the_requested_one_at_chance_rate(judge):
    draw = np.random.default_rng(3)
    windows = ["".join(draw.choice(list(string.ascii_lowercase), 100)) for _ in range(60)]
    asked = np.arange(60) % 2
    assert (judge.nearest(windows) == asked).mean() == pytest.approx(0.5, abs=0.2)


def test_the_nearest_style_of_text_is_its_own(judge):
    windows = [*classifiers.cut(prose("letters", 2000, 8), 100), *classifiers.cut(prose("recipes", 2000, 9), 100)]
    assert (judge.nearest(windows) == np.repeat([0, 1], 20)).mean() > 0.9


def test_shuffled_text_has_no_style(judge):
    draw = np.random.default_rng(4)
    windows = classifiers.styleless("shuffled", [prose(style, 4000, 5) for style in STYLES], 200, 50, draw)
    assert share(judge, windows, classifiers.NONE) > 0.9


def test_a_window_of_many_styles_has_none(judge):
    draw = np.random.default_rng(5)
    texts = [prose(style, 4000, 6) for style in STYLES]
    windows = [classifiers.mix(texts, 200, 25, draw) for _ in range(100)]
    assert share(judge, windows, classifiers.NONE) > 0.5
    assert max(share(judge, windows, label) for label in (0, 1)) < 0.5


def test_the_same_seed_gives_the_same_judge(judge):
    texts = {style: prose(style, 6000, seed) for seed, style in enumerate(STYLES)}
    again = classifiers.StyleJudge(judge.kind, STYLES).fit(texts, (50, 200))
    windows = classifiers.cut(prose("letters", 2000, 7) + prose("recipes", 2000, 8), 60)
    assert (again.predict(windows) == judge.predict(windows)).all()


def test_no_windows_have_no_labels(judge):
    assert judge.predict([]).shape == (0,)


def test_too_little_text_is_an_error_that_names_the_style():
    with toy.refused(40, "'recipes'", 50):
        classifiers.StyleJudge("svm", STYLES).fit({"letters": "a" * 100, "recipes": "b" * 40}, [50])


def test_windows_are_whole():
    assert classifiers.cut("abcdefgh", 3) == ["abc", "def"]
    assert classifiers.cut("ab", 3) == []


def test_a_mixture_alternates_styles():
    draw = np.random.default_rng(0)
    assert classifiers.mix(["aaaaa", "bbbbb"], 7, 2, draw) == "aabbaab"


def test_parts_of_one_document_are_its_stretches():
    assert classifiers.partition(["abcdefghij"], (0.6, 0.2, 0.2)) == ["abcdef", "gh", "ij"]


def test_parts_of_many_documents_share_none():
    documents = [f"{i:02d}" * 10 for i in range(30)]
    parts = classifiers.partition(documents, (0.5, 0.5))
    assert parts == ["".join(documents[:15]), "".join(documents[15:])]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svm", "bayes"])
def test_on_real_text_of_four_styles(kind):
    """A guard: real text is recognized, random letters are not, and mixtures of the very same text are not either."""
    folder = toy.ROOT.parent / "shared" / "data" / "styles"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data, which is not in the repository")
    texts = [path.read_text(encoding="utf-8")[-100_000:] for path in sorted(folder.glob("*.txt"))]
    styles = [path.stem for path in sorted(folder.glob("*.txt"))]
    learn = {style: text[:60_000] for style, text in zip(styles, texts, strict=True)}
    test = [text[60_000:] for text in texts]
    judge = classifiers.StyleJudge(kind, styles).fit(learn)
    right = [share(judge, classifiers.cut(text, 200), label) for label, text in enumerate(test)]
    assert np.mean(right) > 0.9
    draw = np.random.default_rng(1)
    letters = ["".join(draw.choice(list(string.ascii_lowercase + " "), 200)) for _ in range(100)]
    assert share(judge, letters, classifiers.NONE) > 0.95
    mixed = [classifiers.mix([test[i] for i in draw.permutation(4)], 200, 25, draw) for _ in range(200)]
    assert max(share(judge, mixed, label) for label in range(4)) < 0.25


def test_an_unknown_kind_of_judge_is_an_error():
    with pytest.raises(ValueError):
        classifiers.StyleJudge("forest", STYLES)


def test_the_features_are_those_of_the_readme(judge):
    """TF-IDF of one to four characters, of which the 50,000 most frequent that occur in three windows count."""
    features, last = judge._pipeline[0], judge._pipeline[-1]
    names = ("analyzer", "lowercase", "ngram_range", "min_df", "max_features", "sublinear_tf")
    assert [features.get_params()[name] for name in names] == ["char", False, (1, 4), 3, 50_000, True]
    if judge.kind == "svm":
        assert last.get_params()["random_state"] == 0
    else:
        assert last.get_params()["alpha"] == 0.1 and last.get_params()["fit_prior"] is False


def test_windows_have_five_lengths_unless_requested_otherwise(monkeypatch):
    fitted = []

    class Pipeline:
        def fit(self, windows, labels):
            fitted.append((windows, labels))
            return self

    monkeypatch.setattr(classifiers, "_pipeline", lambda kind, seed: Pipeline())
    texts = {style: prose(style, 2000, 1) for style in STYLES}
    classifiers.StyleJudge("svm", STYLES).fit(texts)
    windows, labels = fitted[0]
    assert sorted({len(window) for window in windows}) == [50, 100, 200, 500, 1000]
    assert np.bincount(labels).tolist() == [40 + 20 + 10 + 4 + 2] * 5, "as many of each kind without style"


def test_random_letters_are_few_or_many_and_shuffled_text_keeps_its_letters():
    draw = np.random.default_rng(0)
    letters = classifiers.styleless("letters", [], 60, 60, draw)
    counts = [len(set(window)) for window in letters]
    assert min(counts) < 5 and max(counts) > 30 and all(len(window) == 60 for window in letters)
    (shuffled,) = classifiers.styleless("shuffled", ["abcdefghij"], 10, 1, draw)
    assert sorted(shuffled) == list("abcdefghij") != list(shuffled)


def test_stretches_of_a_mixture_are_a_tenth_to_a_quarter_of_the_window():
    draw = np.random.default_rng(0)
    texts = ["a" * 500, "b" * 500, "c" * 500]
    for window in classifiers.styleless("mixture", texts, 200, 30, draw):
        runs = [len(run) for run in re.findall(r"a+|b+|c+", window)]
        assert all(20 <= run < 50 for run in runs[:-1]) and len(set(window)) > 1 and len(window) == 200
    for window in classifiers.styleless("mixture", texts[:2], 20, 9, draw):
        assert [len(run) for run in re.findall(r"a+|b+", window)][0] == 5, "at least five characters"


def test_whole_documents_are_parted_where_there_are_five_for_each_part():
    documents = [letter * 10 for letter in "abcdefghij"]
    assert classifiers.partition(documents, (0.5, 0.5)) == ["".join(documents[:5]), "".join(documents[5:])]
    few = [letter * 10 for letter in "abcdefghi"]
    assert [len(part) for part in classifiers.partition(few, (0.5, 0.5))] == [45, 45]


def test_unknown_characters_are_one_symbol(judge):
    assert judge._known(["aשée"]) == ["a\x00\x00e"]

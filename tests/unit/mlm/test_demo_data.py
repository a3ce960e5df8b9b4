"""Text of the demo: cut to pieces, with lines to fill."""

import pytest
import toy

from plugins.mlm import demo_data


def test_many_documents_stay_as_they_are():
    documents = [f"document {i}" for i in range(20)]
    assert demo_data.pieces(documents) == documents


def test_few_documents_are_cut_at_line_ends():
    lines = [f"line {i}" for i in range(250)]
    found = demo_data.pieces(["\n".join(lines[:200]), "\n".join(lines[200:])])
    assert len(found) == 84 and "\n".join(found) == "\n".join(lines)
    assert max(piece.count("\n") for piece in found) == 2


def test_a_single_line_is_refused():
    with toy.refused():
        demo_data.pieces(["only one line"])


def test_no_more_text_is_read_than_the_limit(monkeypatch):
    monkeypatch.setattr(demo_data, "MOST_TEXT", 100)
    endless = iter(lambda: "ten bytes!\nten bytes!", None)
    assert len("\n".join(demo_data.pieces(endless))) < 130


def test_three_lines_of_moderate_length_have_a_mask_for_their_middle_word():
    lines = ["a b c", " ".join("abcdefghijkl"), " ".join("abcdefghijklm"), "one <mask>", " ".join("abcdefghijk"), "x"]
    assert demo_data.masked_lines(["\n".join(lines[:3]), "\n".join(lines[3:])]) == [
        "a b c d e f <mask> h i j k l",
        "a b c d e f <mask> h i j k l m",
        "a b c d e <mask> g h i j k",
    ]


def test_long_documents_count_their_bytes_and_the_last_may_exceed_the_limit(monkeypatch, capsys):
    monkeypatch.setattr(demo_data, "MOST_TEXT", 20)
    documents = ["\u00e9" * 5, "\u00e9" * 5, "a\nb", "c\nd"]  # ten bytes each, then three
    assert "".join(demo_data.pieces(documents)).count("\u00e9") == 10
    assert "c" not in "".join(demo_data.pieces(documents)) and "0 MB" in capsys.readouterr().out


def test_nineteen_documents_are_few_and_two_lines_are_enough():
    assert demo_data.pieces(["a\nb"] * 19) == ["a", "b"] * 19
    assert demo_data.pieces(["a\nb"]) == ["a", "b"]


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Prepare the data of a text file with a tiny dictionary; the list gets each set of lines that is tokenized."""
    (tmp_path / "text.txt").write_text("\n".join(toy.sentences(400)), encoding="utf-8")
    trained, train = [], demo_data.SentencePieceTokenizer.train

    def noted(lines, *given, **more):
        trained.append(lines)
        return train(lines, *given, **more)

    monkeypatch.setattr(demo_data.SentencePieceTokenizer, "train", noted)

    def run(force=False, vocab_size=110, key="text"):
        return demo_data.prepare(tmp_path / "out", [str(tmp_path / "text.txt")], key, vocab_size, 1, force), trained

    return run


def test_data_is_prepared_once_for_the_same_options(prepare, tmp_path, capsys):
    facts, trained = prepare()
    lines = toy.sentences(400)
    assert 380 >= len(trained[0]) >= 330 and set(trained[0]) < set(lines)  # a tenth is held out
    assert facts["options"]["vocab_size"] == 110 and facts["train_tokens"] > 8 * facts["valid_tokens"] / 2 > 0
    assert all("<mask>" in sentence for sentence in facts["sentences"]) and len(facts["sentences"]) == 3
    assert 5 < facts["unigram_perplexity"] < 110
    known, _ = prepare()
    assert known == facts and len(trained) == 1 and "exists already" in capsys.readouterr().out
    assert prepare(vocab_size=100)[0]["options"]["vocab_size"] == 100 and len(trained) == 2
    prepare(vocab_size=100, force=True)
    assert len(trained) == 3
    (tmp_path / "out" / "data" / "train.idx").unlink()
    prepare(vocab_size=100)
    assert len(trained) == 4
    (tmp_path / "text.txt").write_text("\n".join(toy.sentences(300, seed=5)), encoding="utf-8")
    prepare(vocab_size=100)
    assert len(trained) == 5


def test_the_perplexity_of_frequencies(tmp_path):
    """Each of the six symbols once more than it occurs: 4 and 2 of 10 for the two words, which occur once."""
    (tmp_path / "dict.txt").write_text("a 3\nb 1\n")
    toy.write_split(tmp_path / "train", [[4, 4], [4, 5]], vocabulary=6)
    toy.write_split(tmp_path / "valid", [[4, 5]], vocabulary=6)
    assert demo_data.unigram(tmp_path) == pytest.approx(12.5**0.5)

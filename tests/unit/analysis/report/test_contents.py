"""A report agrees with the outputs of the model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy

from plugins.analysis.attention import names
from plugins.analysis.report import contents, head_maps, masks, passage
from plugins.errors import UserError


class Subwords:
    """A stand-in for a masked LM: a token for every three letters of a word, and answers that are known."""

    model = SimpleNamespace(max_positions=lambda: 10)
    reads_characters, fills_masks, continues_text, styles = False, True, False, ()

    def encode(self, text):
        return torch.zeros(2 + sum(-(-len(word) // 3) for word in text.split()))

    def single_token(self, word):
        if len(word.strip()) > 3:
            raise UserError("more than one token")
        return 5

    def fill_mask(self, masked, topk):
        if isinstance(masked, list):
            return [self.fill_mask(sentence, topk) for sentence in masked]
        slots = [[(f"{masked} {i}", 0.123456, f" word{i}")] * topk for i in range(masked.count("<mask>"))]
        return slots[0] if len(slots) == 1 else slots


def test_the_excerpt_is_as_many_characters_as_there_may_be(make_char_lm):
    assert passage.excerpt(make_char_lm(), "abc abc", 5) == "abc a"
    assert passage.excerpt(make_char_lm(), "abc" * 20, 64) == ("abc" * 20)[:16]  # the block


def test_the_excerpt_of_bytes_counts_bytes_and_cuts_no_character(make_char_lm):
    assert passage.excerpt(make_char_lm(unit="byte"), "aאבג", 6) == "aאב"


def test_the_excerpt_of_words_ends_with_one():
    assert passage.excerpt(Subwords(), "abc abcdef abc  abc abcdefghij", 64) == "abc abcdef abc  abc"  # 7 of 10
    assert passage.excerpt(Subwords(), "abc abcdef abc", 5) == "abc abcdef"


@pytest.mark.parametrize("text, named", [("", "text"), ("a" * 40, "10 tokens")])
def test_no_excerpt(text, named):
    with toy.refused(named):
        passage.excerpt(Subwords(), text, 64)


def test_errors_name_the_text(make_char_lm):
    with toy.refused("poem.txt", "'z'"):
        contents.gather(make_char_lm(), {"model": {}}, "t", "abz", source="poem.txt")


def test_words_of_a_text_are_masked_one_at_a_time():
    found = masks.passage_of_words(Subwords(), "the river, and sea")
    assert found["pieces"] == ["", {"slot": 0}, " river, ", {"slot": 1}, " ", {"slot": 2}, ""]
    assert [slot["truth"] for slot in found["slots"]] == ["the", "and", "sea"]
    assert found["slots"][0]["answers"] == [(" word0", 0.1235)] * 5


def test_of_many_words_eight_are_masked():
    found = masks.passage_of_words(Subwords(), " ".join(f"w{i}" for i in range(50)))
    assert [slot["truth"] for slot in found["slots"]] == ["w0", "w7", "w14", "w21", "w28", "w35", "w42", "w49"]


def test_a_text_without_a_word_to_mask():
    assert masks.passage_of_words(Subwords(), "elephants !") is None


def test_masks_in_a_sentence_are_kept():
    one, two = masks.fill_masks(Subwords(), "a <mask>", ["<mask> b <mask>."])
    assert one["pieces"] == ["a ", {"slot": 0}, ""] and one["slots"][0]["truth"] is None
    assert two["pieces"] == ["", {"slot": 0}, " b ", {"slot": 1}, "."]
    assert [slot["answers"][0][0] for slot in two["slots"]] == [" word0", " word1"]


def test_samples_are_the_models_own(make_char_lm):
    lm = make_char_lm(styles=["drama", "novel"])
    found = contents.samples(lm, "abc", [0.5, 1.0], 12, seed=3)
    assert found["styles"] == ["inferred", "drama", "novel", "none"] and found["temperatures"] == ["0.5", "1"]
    assert found["texts"][2][1] == lm.sample("abc", 12, temperature=1.0, seed=3, style="novel")
    assert found["texts"][3][0] == lm.sample("abc", 12, temperature=0.5, seed=3, style=False)
    assert found["chosen"] == 1  # 1.0 is nearer to 0.8


def test_a_model_without_styles_has_one_row_of_samples(make_char_lm):
    assert np.shape(contents.samples(make_char_lm(), "", [0, 1], 4, seed=1)["texts"]) == (1, 2)
    assert contents.samples(make_char_lm(), "", [0, 1], 0, seed=1) is None


def test_sections_that_a_model_does_not_support_are_skipped(make_char_lm):
    with toy.refused("--mask 'a <mask>'"):
        masks.fill_masks(make_char_lm(), "abc", ["a <mask>"])
    with toy.refused("--prompt 'abc'"):
        contents.samples(Subwords(), "abc", [1.0], 5, seed=1)
    assert masks.fill_masks(make_char_lm(), "abc", []) is None
    assert contents.samples(Subwords(), "", [1.0], 5, seed=1) is None


def test_a_model_without_styles_gets_no_style():
    lm = SimpleNamespace(sample=lambda prompt, length, temperature, seed: f"{prompt}{length} {temperature} {seed}")
    lm.continues_text, lm.styles = True, ()
    assert contents.samples(lm, "abc", [1.0], 5, seed=2)["texts"] == [["abc5 1.0 2"]]


def test_the_ribbon_is_the_style_after_each_character(make_char_lm):
    lm = make_char_lm(styles=["drama", "novel", "verse"])
    ribbon = contents.style_ribbon(lm, "abc ab")
    assert ribbon["tokens"] == list("abc ab") and ribbon["names"] == ["drama", "novel", "verse"]
    assert np.sum(ribbon["probabilities"], axis=1) == pytest.approx([1] * 6, abs=0.002)
    assert dict(zip(lm.styles, ribbon["probabilities"][2], strict=True)) == pytest.approx(
        lm.classify_style("abc"), abs=0.001
    )


def test_no_ribbon_where_no_style_is_inferred(make_char_lm):
    assert contents.style_ribbon(make_char_lm(), "abc") is None
    assert contents.style_ribbon(make_char_lm(styles=["a", "b"], style_inference="given"), "abc") is None


def test_gather_shows_the_attention_of_the_start(make_char_lm):
    lm = make_char_lm()
    report = contents.gather(lm, {"model": {}}, "name", " abc\nabcdefgh" * 9, tokens=8, pattern_texts=3, length=5)
    weights = report["attention"]["weights"]
    assert report["attention"]["tokens"] == list("abc\nabcd")  # without the space in front
    assert weights.shape == (2, 2, 8, 8) and weights.sum(-1) == pytest.approx(1, abs=1e-5)
    assert weights[..., 3, 4:].max() == 0  # causal
    assert (
        report["lead"]
        == f"CharLanguageModel · 2 layers of 2 heads · {report['model']['card'][1]['facts'][0][1]} parameters"
    )
    assert report["masks"] is None and report["styles"] is None


def test_maps_name_the_head_that_scores_most():
    scores = {"score": np.array([[0.1, 0.7], [0.3, 0.2]]), "low": np.full((2, 2), 0.05), "high": np.full((2, 2), 0.75)}
    found = head_maps.head_map("previous_token_head", scores)
    assert (found["title"], found["best"], found["most"]) == ("Previous token", 1, "Layer 0, head 1: 0.70 [0.05, 0.75]")
    assert found["score"] == [0.1, 0.7, 0.3, 0.2]
    weak = {name: np.full((1, 1), 0.04) for name in scores}
    found = head_maps.head_map("induction_head", weak)
    assert found["most"] == "No such head. Highest: layer 0, head 0: 0.04 [0.04, 0.04]" and not found["strong"]
    one_text = scores | {"low": np.full((2, 2), np.nan)}
    assert head_maps.head_map("some_other_head", one_text)["most"] == "Layer 0, head 1: 0.70"


def test_every_pattern_has_a_description():
    from plugins.analysis.attention import head_scores, patterns

    assert {*patterns.BOTH_WAYS, *patterns.REPEATED, head_scores.UNIFORM} == set(names.DESCRIPTIONS)


def test_stretches_are_spread_over_the_text(make_char_lm):
    text = "".join("abcdefgh"[i // 16 % 8] for i in range(160))  # ten blocks of 16, each of one letter
    assert list(head_maps.stretches(make_char_lm(), text, 3)) == ["a" * 16, "e" * 16, "b" * 16]
    assert list(head_maps.stretches(make_char_lm(), "abc", 3)) == ["abc"]


def test_stretches_of_subwords_begin_with_a_word():
    found = list(head_maps.stretches(Subwords(), "some words " * 40, 4))
    assert len(found) == 4 and all(part.split()[0] in ("some", "words") for part in found)


def test_the_report_opens_on_the_strongest_head_that_is_not_uniform():
    items = [{"name": "uniform_head", "score": [0.9, 0.1], "best": 0},
             {"name": "induction_head", "score": [0.8, 0.1], "best": 0},
             {"name": "word_start_head", "score": [0.2, 0.7], "best": 1}]  # fmt: skip
    assert head_maps.strongest_head({"items": items}, np.zeros((1, 2, 3, 3))) == 1


def test_without_patterns_it_opens_on_the_most_concentrated_head():
    weights = np.full((2, 2, 4, 4), 0.25)
    weights[1, 0] = np.eye(4)
    assert head_maps.strongest_head(None, weights) == 2


@pytest.mark.parametrize("before", [
    "\n\n  \n",
    "CONTENTS\n\nChapter the first . . . . . . . . . . 12\nChapter the second, of the sea and its ships 31\n",
    "= Heading =\n\n", "THE TRAGEDY OF ROMEO AND JULIET, AS IT WAS PLAYED BY THEM\n",
])  # fmt: skip
def test_the_passage_starts_with_prose(before):
    line = "It was the best of times, it was the worst of times, said the book.\n"
    assert passage.passage_start(before + line) == len(before)


def test_a_text_without_prose_is_shown_from_its_first_letter():
    assert passage.passage_start("\n\nx = 1\ny = 2\n") == 2
    assert passage.passage_start("") == 0


def test_hebrew_is_prose():
    line = "ויאמר אליו המלך הנה הבית אשר בנית לי על ההר הגבוה הזה"
    assert passage.passage_start("\n" + line) == 1


def test_samples_without_a_style_are_those_of_the_style_none(make_char_lm):
    lm = make_char_lm(styles=["a", "b"])
    found = contents.samples(lm, "abc", [1.0], 12, seed=3)
    assert found["styles"] == ["inferred", "a", "b", "none"]
    assert found["texts"][3] == [lm.sample("abc", 12, temperature=1.0, seed=3, style=False)]
    assert found["texts"][1] == [lm.sample("abc", 12, temperature=1.0, seed=3, style="a")]
    assert found["texts"][0] == [lm.sample("abc", 12, temperature=1.0, seed=3)]


def test_the_temperature_nearest_to_08_is_shown_first(make_char_lm):
    assert contents.samples(make_char_lm(), "a", [0.5, 1.0, 0.9], 3, seed=1)["chosen"] == 2


def test_the_model_is_one_line():
    def card(**facts):
        return [{"facts": list({"Architecture": "x", "All": "5"}.items())}, {"facts": list(facts.items())}]

    assert contents.lead(card()) == "x · 5 parameters"
    full = card(Layers="2", **{"Heads per layer": "4", "Updates": "9"})
    assert contents.lead(full) == "x · 2 layers of 4 heads · 5 parameters · 9 updates"
    assert contents.lead(card(Layers="2")) == "x · 5 parameters"


def test_gather_reads_as_much_as_its_options_say(make_char_lm, monkeypatch):
    seen = {}

    def head_maps(lm, text, count, seed):
        seen.update(heads=(len(text), count, seed))

    monkeypatch.setattr(contents, "head_maps", head_maps)
    monkeypatch.setattr(contents, "predictions", lambda lm, text: seen.update(surprise=len(text)))
    monkeypatch.setattr(contents, "style_ribbon", lambda lm, text: seen.update(ribbon=len(text)))
    monkeypatch.setattr(contents, "samples", lambda lm, *given: seen.update(samples=given))
    lm = make_char_lm(block_size=128)
    contents.gather(lm, {"model": {}}, "name", "abcdefgh" * 100)
    assert seen == {
        "heads": (800, 100, 1), "surprise": 256, "ribbon": 400, "samples": ("", (0.2, 0.5, 0.8, 1.0, 1.2), 400, 1),
    }  # fmt: skip
    report = contents.gather(lm, {"model": {}}, "name", "abcdefgh" * 100, pattern_texts=0)
    assert report["patterns"] is None and len(report["attention"]["tokens"]) == 64


def test_a_text_with_masks_is_shown_from_its_start():
    lm = Subwords()
    prose = "CHAPTER\nIt was the best of times, it was the worst of times, said the book.\n"
    assert contents.chosen_passage(lm, prose)[1].startswith("It was")
    assert contents.chosen_passage(lm, prose + "<mask>")[1].startswith("CHAPTER")

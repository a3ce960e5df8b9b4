"""Masked passages: which sentences a report shows."""

from types import SimpleNamespace

from plugins.analysis.report import masks
from plugins.errors import UserError


def filler(**options):
    def fill_mask(masked, topk):
        if isinstance(masked, list):
            return [fill_mask(sentence, topk) for sentence in masked]
        found = [[(masked, 0.123456, "w")] * topk for _ in range(masked.count("<mask>"))]
        return found[0] if len(found) == 1 else found

    return SimpleNamespace(**{"fills_masks": True, "fill_mask": fill_mask, "single_token": lambda word: 1} | options)


def test_a_text_with_masks_is_shown_as_it_is_before_the_sentences():
    found = masks.fill_masks(filler(), "a <mask>", ["b <mask> c <mask>"])
    assert [passage["pieces"][0] for passage in found] == ["a ", "b "]
    assert [len(passage["slots"]) for passage in found] == [1, 2]
    assert found[0]["slots"][0] == {"truth": None, "answers": [("w", 0.1235)] * 5}


def test_a_text_without_words_to_mask_is_left_out():
    assert masks.fill_masks(filler(single_token=lambda word: None), "abc", ["b <mask>"])[0]["pieces"][0] == "b "
    assert len(masks.fill_masks(filler(), "abc", [])) == 1


def test_words_are_masked_as_they_stand_after_a_space():
    asked = []

    def single_token(word):
        asked.append(word)
        if word == " two":
            raise UserError("more than one token")
        return 0

    found = masks.passage_of_words(filler(single_token=single_token), "one two")
    assert asked == [" one", " two"] and [slot["truth"] for slot in found["slots"]] == ["one"]
    assert found["pieces"] == ["", {"slot": 0}, " two"]

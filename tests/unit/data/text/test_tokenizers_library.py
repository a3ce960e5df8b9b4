"""Hostile ``tokenizer.json`` files, which the tokenizers library itself accepts."""

import json

import pytest
import toy

pytest.importorskip("tokenizers")

from plugins.data.text.tokenizers_library import LibraryTokenizer, growth_of, read_content  # noqa: E402


def content(**parts):
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}
    return {"version": "1.0", "added_tokens": [], "model": model, **parts}


def replace(replacement, **pattern):
    return {"type": "Replace", "pattern": pattern, "content": replacement}


def test_a_pattern_that_needs_too_many_steps_is_an_error():
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    tokenizer = LibraryTokenizer(content(pre_tokenizer=split), source="x/tokenizer.json")
    assert tokenizer.encode("aa") == [0, 0]
    with toy.refused("x/tokenizer.json", "retry-limit-in-match"):
        tokenizer.encode("a" * 60 + "b")


@pytest.mark.parametrize("part", ["normalizer", "decoder"])
def test_replacements_that_multiply_are_an_error(part):
    name = f"{part}s"
    steps = {"type": "Sequence", name: [replace("a" * 100, String="a")] * 5}
    with toy.refused("x/tokenizer.json", part, "1e+10"):
        LibraryTokenizer(content(**{part: steps}), source="x/tokenizer.json")


def test_growth_is_the_product_of_the_replacements():
    assert growth_of(None) == 1 == growth_of({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
    steps = [replace("", String="a"), replace("ab", String="a"), replace("ab", Regex=".?"), replace("ab", String="")]
    assert growth_of({"type": "Sequence", "normalizers": steps}) == 18  # 1 * 2 * 3 * 3


ORDINARY = {"…": "...", "½": "1/2", "¼": "1/4", "¾": "3/4", "™": "(tm)", "©": "(c)", "®": "(r)"}


@pytest.mark.parametrize(
    ("steps", "growth"),
    [
        ([replace(" ", Regex=r"\p{Z}+|[[:space:]]")] * 10, 1),
        ([replace(text, String=character) for character, text in ORDINARY.items()], 4),
        ([replace("b" * 9, String="a"), replace("c" * 1000, String="b" * 10)], 900),  # across two replacements
        ([replace("B" * 30, String="a"), {"type": "Lowercase"}, replace("c" * 30, String="b")], 900),
        ([replace(" ", Regex=pattern) for pattern in (r"\b", "(?=a)", "x*", "[[a]]*", "a{1}?", r"\K")], 2**6),
    ],
)
def test_growth_multiplies_where_a_step_may_replace_what_another_wrote(steps, growth):
    assert growth_of({"type": "Sequence", "normalizers": steps}) == growth


@pytest.mark.parametrize(
    ("parts", "named"),
    [({"model": 1}, "model"), ({"pre_tokenizer": [1]}, "pre_tokenizer"), ({"added_tokens": {"a": 1}}, "added_tokens"),
     ({"added_tokens": [1]}, "added_tokens"), ({"added_tokens": [{"content": "a", "id": "1"}]}, "added_tokens"),
     ({"model": {"type": "BPE", "vocab": [1]}}, "vocab"), ({"model": {"type": "BPE", "merges": [1]}}, "merges"),
     ({"model": {"type": "BPE", "merges": [[1, 2]]}}, "merges")],
)  # fmt: skip
def test_a_part_of_another_type_is_named(parts, named, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content(**parts)))
    with toy.refused(path, named):
        read_content(path)

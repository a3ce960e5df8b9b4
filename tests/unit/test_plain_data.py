"""JSON and YAML: plain data within bounds, or one error with the line."""

import json

import pytest
import toy

from plugins.plain_data import BadData, parse_json, parse_json_at, parse_yaml


@pytest.mark.parametrize("content", [{"é": [1, 2.5, None, True, "x"]}, [], "x", 0, -1e-9, 10**300])
def test_json_is_parsed_as_by_the_standard_library(content):
    assert parse_json(f" {json.dumps(content)}\n") == content


def test_a_value_is_parsed_from_an_offset():
    assert parse_json_at('[{"a": 1}, 2]', 1) == ({"a": 1}, 9)


NESTED = 100_000
BAD_JSON = {
    "nested": ("[" * NESTED + "]" * NESTED, 100),
    "nested objects": ('{"a":' * NESTED + "1" + "}" * NESTED, 100),
    "nested, within the parser's reach": ("[" * 101 + "]" * 101, 100),
    "a long number": ("1" * 5000, "5000 digits"),
    "a key twice": ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c'"),
    "cut off": ('{"a": ', "column 7"),
    "nested lists and objects": ('[{"a":' * 51 + "1" + "}]" * 51, 100),
    "an integer beyond floats": ("9" * 309, "309 digits"),
    "two values": ("1 2", "column 3"),
    "two lines": ("1\n 2", "column 2"),
    "nothing": ("", "column 1"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_one_short_line(case):
    text, named = BAD_JSON[case]
    with toy.refused(named, error=BadData) as error:
        parse_json(text)
    assert len(str(error.value)) < 200


def test_a_hundred_levels_are_read():
    assert parse_json("[" * 100 + "]" * 100)


def test_json_errors_have_their_line():
    for text, line in (('{"a":\n 1,}', 2), ('{"a": 1}\n\nx', 3)):
        with pytest.raises(BadData) as error:
            parse_json(text)
        assert (error.value.line, error.value.place) == (line, f":{line}")


def test_yaml_has_types_unless_texts_are_requested():
    text = "a: yes\nb: [1, 2.5]\nc: {d: null}\n"
    assert parse_yaml(text) == {"a": True, "b": [1, 2.5], "c": {"d": None}}
    assert parse_yaml(text, texts=True) == {"a": "yes", "b": ["1", "2.5"], "c": {"d": "null"}}


def test_a_merged_mapping_may_be_overridden():
    assert parse_yaml("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}")["y"] == {"a": 1, "b": 3}


EXPANDING = "a: &a [x, x]\n" + "".join(
    f"b{i}: &b{i} [{', '.join(['*b' + str(i - 1) if i else '*a'] * 9)}]\n" for i in range(12)
)
BAD_YAML = {
    "a key twice": ("a: 1\nb: 2\na: 3\n", "'a'", 3),
    "a key twice, further in": ("a:\n  b: 1\n  b: 2\n", "'b'", 3),
    "nested": ("[" * 3000 + "]" * 3000, 100, None),
    "nested, within the parser's reach": ("[" * 101 + "]" * 101, 100, None),
    "aliases that expand": (EXPANDING, "1,000,000", None),
    "an alias to itself": ("&a [*a]", 100, None),
    "a long number": ("a: " + "1" * 5000, 5000, None),
    "a long number in base 16": ("a: 0x" + "f" * 5000, 5002, 1),
    "a long number in base 60": ("a: 1" + ":1" * 5000, 10001, 1),
    "equal keys that are written differently": ("1: a\ntrue: b\n", "'true'", 2),
    "no truth value": ("a: !!bool x", "x", None),
    "no date": ("a: 2001-13-99", "month", None),
    "an object": ("a: !!python/object/apply:os.system [ls]", "python/object", 1),
    "no YAML": ("a: [\n", "YAML", 2),
}


@pytest.mark.parametrize("case", BAD_YAML)
def test_bad_yaml_is_one_line_and_is_located(case):
    text, named, line = BAD_YAML[case]
    with toy.refused(named, error=BadData) as error:
        parse_yaml(text)
    if line:
        assert error.value.line == line


def test_the_longest_integers_are_within_the_range_of_floats():
    for text in ("9" * 308, "-" + "9" * 307):
        assert parse_json(text) == int(text) and abs(float(int(text))) < float("inf")


def test_two_mappings_may_be_merged():
    assert parse_yaml("x: &x {a: 1}\ny: &y {b: 2}\nz: {<<: *x, <<: *y, c: 3}")["z"]["c"] == 3


@pytest.mark.parametrize("more", [0, 1])
def test_a_million_values_are_read_and_one_more_is_not(more):
    """A list of 1,000 aliases of a list of 999 values, and more of them."""
    text = f"[&a [{', '.join('x' * 999)}]{', *a' * 999}{', x' * more}]"
    if more:
        with toy.refused("1,000,000", error=BadData):
            parse_yaml(text)
    else:
        assert len(parse_yaml(text)) == 1000

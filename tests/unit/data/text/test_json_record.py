"""Values of a JSON object by paths."""

import pytest

from plugins.data.text.json_record import JsonRecord

RECORD = JsonRecord({"a": {"b": {"c": 1}, "d": ["x", {"e": None}]}, "a.b": 2, "f": "text"})


@pytest.mark.parametrize("name, value", [("f", "text"), ("a.b", 2), ("a.d.0", "x"), ("a.d.1.e", None), ("a.b.c", 1)])
def test_a_name_is_a_key_or_else_a_path_of_keys_and_places(name, value):
    assert name in RECORD and RECORD[name] == RECORD.get(name, 3) == value


@pytest.mark.parametrize("name", ["b", "", ".", "a.", "a.x", "a.d.2", "a.d.-1", "a.d.x", "f.0", "f.x"])
def test_a_path_that_leads_nowhere_is_absent(name):
    assert name not in RECORD and RECORD.get(name, 3) == 3
    with pytest.raises(KeyError):
        RECORD[name]


def test_keys_are_those_of_the_object():
    assert list(RECORD) == ["a", "a.b", "f"] == list(RECORD.keys())

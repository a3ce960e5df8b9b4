"""Files as documents, each with its style; bad files in one line."""

import gzip
import os
import time

import numpy as np
import pytest
import toy

from plugins.data.text import sources
from plugins.data.text.sources import CorpusSpec, Reading, find_sources, read_documents


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def texts(path, **reading):
    reading = Reading(**reading)
    (source,) = find_sources([str(path)], reading)
    return [
        (document.style, "".join(map(chr, np.concatenate(list(document.chunks)))))
        for document in read_documents(source, reading)
    ]


def one_line(error):
    assert "\n" not in str(error.value)


def test_a_folder_is_read_in_sorted_order_without_hidden_and_other_files(tmp_path):
    write(tmp_path, b_txt="b", a__z_md="z", a__c_txt="c", image_png="p", _hidden_txt="h")
    found = [source.path[len(str(tmp_path)) + 1 :] for source in find_sources([str(tmp_path)], Reading())]
    assert found == ["a/c.txt", "a/z.md", "b.txt"]


def test_newlines_stay_and_a_byte_order_mark_goes(tmp_path):
    write(tmp_path, a_txt="\ufeffone\r\ntwo\n\n three")
    assert texts(tmp_path / "a.txt") == [(None, "one\r\ntwo\n\n three")]


def test_a_character_across_two_chunks_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 3)
    write(tmp_path, a_txt="aé🙂b" * 5)
    assert texts(tmp_path / "a.txt") == [(None, "aé🙂b" * 5)]


def test_bytes_of_any_file_can_be_read(tmp_path):
    write(tmp_path, a_bin=b"\xff\xfe\x00a")
    assert texts(tmp_path / "a.bin", unit="byte") == [(None, "\xff\xfe\x00a")]


@pytest.mark.parametrize("chunk", [2, 1 << 20])
def test_invalid_utf8_is_named_with_its_offset(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(sources, "CHUNK", chunk)
    write(tmp_path, a_txt="aé\nb".encode() + b"\xe9\xe9")
    with toy.refused("a.txt", "0xe9", 5, "--unit byte"):
        texts(tmp_path / "a.txt")


def test_a_file_that_ends_within_a_character_is_not_utf8(tmp_path):
    write(tmp_path, a_txt=b"ab" + "é".encode()[:1])
    with toy.refused("0xc3", 2):
        texts(tmp_path / "a.txt")


def test_styles_come_from_file_names(tmp_path):
    write(tmp_path, drama_txt="d", novel_txt="n")
    assert [s.style for s in find_sources([str(tmp_path)], Reading(style_from="file"))] == ["drama", "novel"]


def test_styles_come_from_folder_names(tmp_path):
    write(tmp_path, drama__a_txt="d", drama__b_txt="d", novel__a_txt="n")
    found = find_sources([str(tmp_path)], Reading(style_from="folder"))
    assert [s.style for s in found] == ["drama", "drama", "novel"]
    found = find_sources([str(tmp_path / "novel"), str(tmp_path / "drama")], Reading(style_from="folder"))
    assert [s.style for s in found] == ["novel", "drama", "drama"]


def test_styles_and_texts_come_from_jsonl_fields(tmp_path):
    write(tmp_path, a_jsonl='{"genre": "x", "body": "one\\ntwo "}\n\n{"genre": "y", "body": "three"}\n')
    options = {"style_from": "jsonl", "style_key": "genre", "jsonl_key": "body"}
    assert texts(tmp_path / "a.jsonl", **options) == [("x", "one\ntwo "), ("y", "three")]


BAD_FILES = {
    "missing": ({}, "none.txt", {}, ["none.txt"]),
    "empty": ({"a_txt": ""}, "a.txt", {}, ["a.txt"]),
    "folder without text": ({"a_png": "x"}, "", {}, []),
    "file beside the style folders": (
        {"x_txt": "x", "drama__a_txt": "a"}, "", {"style_from": "folder"}, ["x.txt", "--style-from"]
    ),
    "text file where JSONL is wanted": (
        {"a_txt": "x"}, "a.txt", {"style_from": "jsonl"}, ["a.txt", "--style-from"]
    ),
    "record without style": (
        {"a_jsonl": '{"text": "x"}'}, "a.jsonl", {"style_from": "jsonl"}, ["a.jsonl:1", "'style'", "--style-key"]
    ),
    "record whose style is empty": (
        {"a_jsonl": '{"text": "x", "style": "a"}\n{"text": "x", "style": ""}'}, "a.jsonl", {"style_from": "jsonl"},
        ["a.jsonl:2", "''"],
    ),
    "record whose style is none": (
        {"a_jsonl": '{"text": "x", "style": "none"}'}, "a.jsonl", {"style_from": "jsonl"},
        ["a.jsonl:1", "'none'"],
    ),
    "style with a line break": (
        {"a_jsonl": '{"text": "x", "style": "a\\nb"}'}, "a.jsonl", {"style_from": "jsonl"}, ["a.jsonl:1"]
    ),
    "style that is a formula": (
        {"a_jsonl": '{"text": "x", "style": "=1+1"}'}, "a.jsonl", {"style_from": "jsonl"}, ["a.jsonl:1", "'=1+1'"]
    ),
    "compressed": ({"a_txt": b"\x1f\x8babc"}, "a.txt", {}, ["a.txt"]),
    "file called none": ({"none_txt": "x"}, "none.txt", {"style_from": "file"}, ["none.txt", "'none'"]),
    "folder called none": ({"none__a_txt": "x"}, "none", {"style_from": "folder"}, ["a.txt", "'none'"]),
    "record without text": ({"a_jsonl": '{"body": "x"}'}, "a.jsonl", {}, ["a.jsonl:1", "'text'", "--jsonl-key"]),
    "record that is no JSON": ({"a_jsonl": '{"text": "x"}\n{'}, "a.jsonl", {}, ["a.jsonl:2"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gives_one_line_that_names_it(tmp_path, case):
    files, path, reading, named = BAD_FILES[case]
    write(tmp_path, **files)
    with toy.refused(*named) as error:
        texts(tmp_path / path, **reading)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.txt"])
def test_records_are_recognized_by_suffix_or_content(tmp_path, name):
    path = tmp_path / name
    path.write_text('{"text": "one"}\n{"text": "two"}\n')
    assert texts(path) == [(None, "one"), (None, "two")]


def test_an_array_of_records_is_read(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "one"}, {"text": "two"}]')
    assert texts(tmp_path / "a.json") == [(None, "one"), (None, "two")]


def test_a_named_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with toy.refused("a.txt"):
        texts(tmp_path / "a.txt")


def test_shares_are_exact():
    assert [int(10**8 * share) for share in CorpusSpec(("x",), test_fraction=0.05, valid_fraction=0.05).shares()] == [
        90_000_000,
        95_000_000,
    ]
    assert [int(1_115_394 * share) for share in CorpusSpec(("x",)).shares()] == [1_003_854, 1_115_394]


def test_fractions_beyond_the_whole_are_refused():
    with toy.refused("--valid-fraction 0.6", "--test-fraction 0.6"):
        CorpusSpec(("x",), valid_fraction=0.6, test_fraction=0.6).shares()


def seconds(function, *arguments):
    times = []
    for _ in range(3):
        start = time.process_time()
        function(*arguments)
        times.append(time.process_time() - start)
    return min(times)


def test_the_time_to_find_files_is_linear_in_their_number(tmp_path):
    for count in (200, 2000):
        for i in range(count):
            write(tmp_path / str(count) / f"style{i % 10}", **{f"{i}_txt": "x"})
    few, many = (
        seconds(find_sources, [str(tmp_path / str(count))], Reading(style_from="folder")) for count in (200, 2000)
    )
    assert many < 45 * few  # 100 times if it were quadratic


def test_compressed_files_are_read_like_plain_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 3)
    records = b'{"text": "a"}\n{"text": "b"}\n'
    write(tmp_path, poe_txt_gz=gzip.compress("\ufeffaé🙂b\n".encode()), two_jsonl_gz=gzip.compress(records))
    found = find_sources([str(tmp_path)], Reading(style_from="file"))
    assert [(source.style, source.is_json) for source in found] == [("poe", False), ("two", True)]
    assert texts(tmp_path / "poe.txt.gz") == [(None, "aé🙂b\n")]
    assert texts(tmp_path / "two.jsonl.gz") == [(None, "a"), (None, "b")]


def test_progress_is_in_stored_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 4)
    write(tmp_path, a_txt="abcdefghij", b_jsonl='{"text": "abc"}\n{"text": "d"}')
    for name, expected in (("a.txt", [4, 4, 2]), ("b.jsonl", [4, 2])):
        steps = []
        (source,) = find_sources([str(tmp_path / name)], Reading())
        for document in read_documents(source, Reading(), steps.append):
            list(document.chunks)
        assert steps == expected


def test_records_as_bytes(tmp_path):
    write(tmp_path, a_jsonl='{"text": "é"}')
    assert texts(tmp_path / "a.jsonl", unit="byte") == [(None, "\xc3\xa9")]


@pytest.mark.parametrize(
    ("fractions", "shares"),
    [((0.1, 0.0, False, False), (0.9, 1)), ((0.1, 0.2, True, False), (0.8, 0.8)), ((0.1, 0.2, False, True), (0.9, 1)),
     ((1.0, 0.0, False, False), (0, 1)), ((0.0, 1.0, False, False), (0, 0))],
)  # fmt: skip
def test_files_of_a_split_replace_its_fraction(fractions, shares):
    valid, test, valid_file, test_file = fractions
    spec = CorpusSpec(("x",), Reading(), valid, test, ("v",) * valid_file, ("t",) * test_file)
    assert tuple(map(float, spec.shares())) == shares


def test_a_negative_fraction_is_refused():
    with toy.refused("--valid-fraction -0.1"):
        CorpusSpec(("x",), valid_fraction=-0.1, test_fraction=0.5).shares()


def test_hidden_folders_are_not_searched_and_a_file_without_permission_is_named(tmp_path, monkeypatch):
    write(tmp_path, a_txt="a")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.txt").write_text("b")
    assert sources.files_in(str(tmp_path)) == [str(tmp_path / "a.txt")]
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    with toy.refused(tmp_path / "a.txt"):
        find_sources([str(tmp_path)], Reading())


def test_compressed_files_of_other_formats_are_bytes_where_bytes_are_wanted(tmp_path):
    write(tmp_path, a_bz2=b"BZh9abc")
    assert texts(tmp_path / "a.bz2", unit="byte") == [(None, "BZh9abc")]
    with toy.refused("a.bz2"):
        texts(tmp_path / "a.bz2")


def test_a_style_of_a_folder_is_that_of_its_own_folder(tmp_path):
    write(tmp_path, drama__a_txt="d")
    assert find_sources([str(tmp_path)], Reading(style_from="folder"))[0].style == "drama"
    assert find_sources([str(tmp_path / "drama" / "a.txt")], Reading(style_from="folder"))[0].style == "drama"


@pytest.mark.parametrize("split", ["valid_data", "test_data"])
def test_a_split_in_a_folder_of_training_text_is_refused(tmp_path, split):
    files = [tmp_path / name for name in ("a.txt", "sub/b.txt")]
    (tmp_path / "sub").mkdir()
    for file in files:
        file.write_text("text")
    with toy.refused(files[1], tmp_path):
        sources.CorpusSpec(data=(str(tmp_path),), **{split: (str(files[1]),)}).sources()
    found = sources.CorpusSpec(data=(str(tmp_path), str(files[1])), **{split: (str(files[1]),)}).sources()
    assert len(found["train"]) == 3  # it is named, so this is wanted


def test_one_file_for_training_and_validation_is_warned_of_also_through_a_link(tmp_path, caplog):
    write(tmp_path, a_txt="a", b_txt="b")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    for name, same in (("a.txt", True), ("link.txt", True), ("b.txt", False)):
        caplog.clear()
        CorpusSpec((str(tmp_path / "a.txt"),), valid_data=(str(tmp_path / name),)).sources()
        assert (str(tmp_path / name) in caplog.text) == same

"""Samples of the rows of a file: whole rows, with the header."""

import gzip
import json

import pytest
import toy

from plugins.data.glue import reader, sample, specs

TEXTS = ["a\nb", 'say "x", y', "c\u2028d", "e\x0bf", "", "g\rh", "é 🙂"]
RECORDS = [{"s": text, "l": "01"[i % 2]} for i, text in enumerate(TEXTS, start=1) if text]


def spec(name, **options):
    return specs.from_plain(
        {"name": "t", "files": {"train": name, "valid": name}, "text": ["s"], "label": "l", "labels": ["0", "1"],
         "metrics": ["accuracy"], "best": "accuracy", **options}
    )  # fmt: skip


def content(name):
    rows = [(record["s"], record["l"]) for record in RECORDS]
    if name.endswith(".csv"):
        quoted = "".join('"{}",{}\r\n'.format(text.replace('"', '""'), label) for text, label in rows)
        return "\ufeffs,l\r\n" + quoted
    if name.endswith(".tsv"):
        return "s\tl\n" + "".join(f"{text}\t{label}\n" for text, label in rows if not {"\n", "\r"} & set(text))
    return json.dumps(RECORDS) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in RECORDS)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_sample_has_whole_rows_of_the_file_in_their_order(tmp_path, name, packed):
    raw = content(name).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if packed else raw)
    whole = reader.read(tmp_path / name, spec(name), "train")
    rows = list(zip(whole.texts[0], whole.labels, strict=True))
    (tmp_path / "out").mkdir()
    for size in (1, 3, len(rows)):
        sample.write(tmp_path / name, tmp_path / "out" / name, size, headless=False)
        found = reader.read(tmp_path / "out" / name, spec(name), "train")
        drawn = list(zip(found.texts[0], found.labels, strict=True))
        assert len(drawn) == size and drawn == [row for row in rows if row in drawn]
    with toy.refused(name, f"{len(rows)} rows", f"{len(rows) + 1}"):
        sample.write(tmp_path / name, tmp_path / "out" / name, len(rows) + 1, headless=False)


def test_a_file_without_a_header_has_rows_only(tmp_path):
    (tmp_path / "a.tsv").write_text("a\t0\nb\t1\n")
    sample.write(tmp_path / "a.tsv", tmp_path / "b.tsv", 1, headless=True)
    assert (tmp_path / "b.tsv").read_text() in ("a\t0\n", "b\t1\n")


def test_a_columnar_file_is_named(tmp_path):
    with toy.refused("a.parquet"):
        sample.write(tmp_path / "a.parquet", tmp_path / "b.parquet", 1, headless=False)

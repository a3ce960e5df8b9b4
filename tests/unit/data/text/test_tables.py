"""Rows of CSV and TSV files with the line that they begin in."""

import gzip
import shlex
import subprocess
import sys

import pytest
import toy

from plugins.data.text.tables import check_delimiter, is_csv, table_rows
from plugins.errors import UserError


def rows(path, text):
    path.write_text(text, newline="")
    return list(table_rows(path))


def test_a_tsv_has_no_quoting_and_keeps_empty_lines_inside(tmp_path):
    assert rows(tmp_path / "a.tsv", 'a\t"b\n\nc\td\n\n\n') == [(1, ["a", '"b']), (2, [""]), (3, ["c", "d"])]
    assert rows(tmp_path / "b.tsv", "") == []


def test_a_csv_has_quoting_and_line_breaks_inside_cells(tmp_path):
    assert rows(tmp_path / "a.CSV", 'a,"b ""c"""\n\n"d\ne",f\ng,h\n') == [
        (1, ["a", 'b "c"']), (3, ["d\ne", "f"]), (5, ["g", "h"]),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv.gz", "a.CSV.GZ", "a.csv.zst", "a.csv"])
def test_a_compressed_csv_is_recognized_by_the_suffix_inside_and_unpacked_by_its_content(tmp_path, name):
    text = 'a,b\r\n"c\rd\n",é\n'
    for content in (gzip.compress(text.encode()), text.encode()):
        (tmp_path / name).write_bytes(content)
        assert list(table_rows(tmp_path / name)) == [(1, ["a", "b"]), (2, ["c\rd\n", "é"])]
    assert is_csv(tmp_path / name) and not is_csv("a.tsv.gz")


def test_a_csv_that_is_not_utf8_is_named_with_its_line_also_if_it_is_compressed(tmp_path):
    for name, content in (("a.csv", b"a,b\nc,\xe9\n"), ("b.csv.gz", gzip.compress(b"a,b\nc,\xe9\n"))):
        (tmp_path / name).write_bytes(content)
        with toy.refused(f"{name}:2"):
            list(table_rows(tmp_path / name))


def test_carriage_returns_alone_end_the_rows_of_a_csv(tmp_path):
    assert rows(tmp_path / "a.csv", "a,b\rc,d\r") == [(1, ["a", "b"]), (2, ["c", "d"])]


@pytest.mark.parametrize(("header", "cell"), [("a,b", " y"), ("a, b", "y")])
def test_blanks_after_commas_are_dropped_if_the_header_has_them(tmp_path, header, cell):
    assert rows(tmp_path / "a.csv", f"{header}\nx, y\n")[1] == (2, ["x", cell])


def test_a_damaged_csv_is_named_with_its_line(tmp_path):
    with toy.refused("a.csv:2"):
        rows(tmp_path / "a.csv", 'a,b\n"c"d,e\n')


def test_a_cell_may_be_longer_than_the_limit_of_csv(tmp_path):
    assert len(rows(tmp_path / "a.csv", "x" * 200_000)[0][1][0]) == 200_000


@pytest.mark.parametrize(
    ("name", "header", "named"),
    [
        ("a.csv", ["a;b"], ["a.csv:1", "a semicolon", "a comma", "delimiter=';'"]),
        ("a.csv", ["a\tb"], ["a.csv:1", "a tab", ".tsv"]),
        ("a.tsv", ["a,b"], ["a.tsv:1", "a comma", ".csv"]),
        ("a", ["a;b"], ["a:1", "a TSV file", "a tab"]),
        ("a.csv", ["a,b"], None),
        ("a.tsv", ["a\tb"], None),
        ("a.tsv", ["a;b", "c"], None),
        ("a.tsv", ["a"], None),
        ("a.tsv", [], None),
    ],
)
def test_another_delimiter_is_named(tmp_path, name, header, named):
    if named is None:
        check_delimiter(tmp_path / name, header)
        return
    with toy.refused(*named):
        check_delimiter(tmp_path / name, header)


def test_the_command_that_converts_overwrites_nothing(tmp_path):
    path = tmp_path / "a b.csv"
    path.write_text("a;b\n1,5;2\n")
    with pytest.raises(UserError) as error:
        check_delimiter(path, ["a;b"])
    command = str(error.value).partition("convert it: ")[2].replace("python", shlex.quote(sys.executable), 1)
    results = [subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True).returncode for _ in range(2)]
    assert (tmp_path / "comma.csv").read_text() == 'a,b\n"1,5",2\n'
    assert results == [0, 1]


def test_a_packed_file_has_no_command(tmp_path):
    with pytest.raises(UserError) as error:
        check_delimiter(tmp_path / "a.csv.gz", ["a;b"])
    assert "python" not in str(error.value) and "convert it" in str(error.value)


def test_a_csv_is_known_by_its_name(tmp_path):
    assert is_csv(tmp_path / "a.CSV") and not is_csv(tmp_path / "a.csv.tsv")

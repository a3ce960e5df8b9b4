"""Labels written into files: nothing else changes, and files that have changed are refused."""

import gzip
import json

import pytest
import toy

from plugins.diagnostics import mending
from plugins.errors import UserError


def judgment(row, texts, given, label):
    return {"row": row, "index": str(row), "texts": texts, "given_label": given, "label": label, "is_error": True}


def write_review(tmp_path, *judgments):
    path = tmp_path / "review.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in judgments))
    return mending.read_review(path)


CASES = {
    "a.tsv": ('label\ttext\r\nneg\t"quoted\r\npos\tit is\r\n', 'label\ttext\r\nneg\t"quoted\r\nneg\tit is\r\n'),
    "b.csv": ('text,label,x\n"say ""hi"", you\nthere",pos,1\nit is,"pos",2',
              'text,label,x\n"say ""hi"", you\nthere",pos,1\nit is,"neg",2'),
    "c.jsonl": ('{"text": "a \\"label\\": 1", "label": "pos"}\n\n{"label":"pos" , "text": "it is", "x": ["label"]}\n',
                '{"text": "a \\"label\\": 1", "label": "pos"}\n\n{"label":"neg" , "text": "it is", "x": ["label"]}\n'),
    "e.csv": ('label, text\r\npos, x\r\n pos ,"it is"\r\n', 'label, text\r\npos, x\r\n neg ,"it is"\r\n'),
    "f.csv": ('text,label\nx "y" z,pos\nit is,pos\n', 'text,label\nx "y" z,pos\nit is,neg\n'),
    "d.tsv": ("\ufeffx\tlabel\ttext\n1\tpos\té\n2\tpos\tit is", "\ufeffx\tlabel\ttext\n1\tpos\té\n2\tneg\tit is"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_only_the_label_changes(tmp_path, name):
    before, after = CASES[name]
    (tmp_path / name).write_bytes(before.encode())
    review = write_review(tmp_path, judgment(1, ["it is"], "pos", "neg"))
    rows = mending.cells(tmp_path / name, ["text"], "label")
    content, log = mending.mended(tmp_path / name, rows, review)
    assert content.decode() == after and log == [{"row": 1, "old": "pos", "new": "neg"}]


def test_numbers_stay_numbers_in_json_and_names_are_translated(tmp_path):
    path = tmp_path / "n.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n')
    review = write_review(tmp_path, judgment(0, ["a"], "good", "bad"), judgment(1, ["b"], "bad", "bad"))
    content, log = mending.mended(path, mending.cells(path, ["text"], "label"), review, {"good": "1", "bad": "0"})
    assert content.decode() == '{"text": "a", "label": 0}\n{"text": "b", "label": 0}\n' and len(log) == 1


@pytest.mark.parametrize(("given", "new"), [("True", "False"), ("true", "false")])
def test_booleans_stay_booleans_in_json(tmp_path, given, new):
    """Tables name the classes True and False, the files of a task true and false."""
    path = tmp_path / "b.jsonl"
    path.write_text('{"text": "a", "label": true}\n')
    content, _ = mending.mended(path, mending.cells(path, ["text"], "label"),
                                write_review(tmp_path, judgment(0, ["a"], given, new)))  # fmt: skip
    assert content == b'{"text": "a", "label": false}\n'


def test_compressed_files_are_unpacked_and_written_by_the_name_of_the_output(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(b"label\ttext\npos\tx\n"))
    content, _ = mending.mended(path, mending.cells(path, ["text"], "label"),
                                write_review(tmp_path, judgment(0, ["x"], "pos", "neg")))  # fmt: skip
    assert content == b"label\ttext\nneg\tx\n" == mending.packed(content, "b.tsv")
    assert gzip.decompress(mending.packed(content, "b.tsv.gz")) == content


def test_two_judgments_of_one_row_are_refused(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\npos\tx\n")
    review = write_review(tmp_path, judgment(0, ["x"], "pos", "neg"), judgment(7, ["x"], "pos", "neg"))
    with toy.refused("a.tsv", "line 2", "row 0"):
        mending.mended(path, mending.cells(path, ["text"], "label"), review)


def test_an_array_and_broken_quotes_are_refused_where_they_are(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "x", "label": "pos"}]')
    with toy.refused("a.json", "array"):
        mending.cells(tmp_path / "a.json", ["text"], "label")
    (tmp_path / "a.csv").write_text('text,label\nx,pos\n"y"z,pos\n')
    with toy.refused("a.csv:3"):
        mending.cells(tmp_path / "a.csv", ["text"], "label")


@pytest.mark.parametrize("label", ["", "  ", "\ud800", "a\0"])
def test_a_label_that_cannot_be_written_is_refused(tmp_path, label):
    with toy.refused("review.jsonl:1"):
        write_review(tmp_path, judgment(0, ["x"], "pos", label))


def test_a_file_without_a_header(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("gj\t1\t\tgood\ngj\t0\t*\tbad\n")
    review = write_review(tmp_path, judgment(1, ["bad"], "no", "yes"))
    rows = mending.cells(path, ["sentence"], "label", ("source", "label", "mark", "sentence"))
    content, _ = mending.mended(path, rows, review, {"no": "0", "yes": "1"})
    assert content.decode() == "gj\t1\t\tgood\ngj\t1\t*\tbad\n"


def test_of_equal_texts_the_row_decides(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\npos\tx\nneg\tx\n")
    rows = mending.cells(path, ["text"], "label")
    content, _ = mending.mended(path, rows, write_review(tmp_path, judgment(1, ["x"], "neg", "pos")))
    assert content.decode() == "label\ttext\npos\tx\npos\tx\n"
    with toy.refused("a.tsv", "line 1", "row 7"):
        mending.mended(path, rows, write_review(tmp_path, judgment(7, ["x"], "neg", "pos")))


@pytest.mark.parametrize(
    ("texts", "given", "names", "named"),
    [(["y"], "pos", None, "row 0"), (["x"], "neg", None, "'pos'"), (["x"], "pos", {"pos": "1"}, "'neg'")],
)
def test_changed_files_are_refused(tmp_path, texts, given, names, named):
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\npos\tx\n")
    rows, review = mending.cells(path, ["text"], "label"), write_review(tmp_path, judgment(0, texts, given, "neg"))
    with toy.refused(named):
        mending.mended(path, rows, review, names)


@pytest.mark.parametrize(
    "content", ["x\n", "{}\n", '{"row": "0", "texts": ["a"], "given_label": "a", "label": "b"}\n', ""]
)
def test_a_review_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "r.jsonl").write_text(content)
    with toy.refused("r.jsonl"):
        mending.read_review(tmp_path / "r.jsonl")


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
def test_bytes_that_are_no_utf8_are_named_with_their_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"text,label\na\xcc,x\n")
    with pytest.raises(UserError, match=rf"{name}:2: byte 12"):
        mending.cells(tmp_path / name, ["text"], "label")


def test_positions_of_labels_in_bytes(tmp_path):
    """A byte order mark has three bytes, é two."""
    (tmp_path / "a.csv").write_bytes('\ufefftext,label\r\né,"a ""b"""\r\n\r\nx,pos\r\n'.encode())
    first, second = mending.cells(tmp_path / "a.csv", ["text"], "label")
    assert (first.texts, first.label, first.start, first.end, first.raw) == (("é",), 'a "b"', 18, 27, b'"a ""b"""')
    assert (second.label, second.start, second.end) == ("pos", 33, 36)
    (tmp_path / "a.tsv").write_bytes("\ufefflabel\ttext\r\n pos \té\r\n\r\nneg\tx".encode())
    first, second = mending.cells(tmp_path / "a.tsv", ["text"], "label")
    assert (first.label, first.start, first.end, first.raw) == ("pos", 16, 19, b"pos")
    assert (second.texts, second.start, second.end) == (("x",), 27, 30)
    (tmp_path / "a.jsonl").write_bytes('\ufeff{"text": "é", "label": 7}\n{"label": "x", "text": ""}'.encode())
    first, second = mending.cells(tmp_path / "a.jsonl", ["text"], "label")
    assert (first.label, first.start, first.end, first.raw) == ("7", 27, 28, b"7")
    assert (second.label, second.start, second.end, second.raw) == ("x", 40, 43, b'"x"')


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.tsv", "text\tlabel\nx\tpos\ty\n", ("row 0", "3 columns", "2 expected")),
        ("a.csv", "text,kind\nx,pos\n", ("'label'", "kind")), ("a.csv", "", ("'text'",)), ("a.jsonl", "[1]\n", ()),
        ("a.jsonl", '{"text": "x", "label": "a"}\n{"text": "y"}\n', ("a.jsonl:2",)),
        ("a.jsonl", '{"text": "x", "label": "a"}\n\nnull\n', ("a.jsonl:3",)),
    ],
)  # fmt: skip
def test_files_whose_labels_cannot_be_found_are_refused(tmp_path, name, content, named):
    (tmp_path / name).write_text(content)
    with toy.refused(name, *named):
        mending.cells(tmp_path / name, ["text"], "label")


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("a.csv", "pos", 'a, "b"', b'text,label\nx,"a, ""b"""\n'), ("a.csv", '"pos"', "neg", b'text,label\nx,"neg"\n'),
        ("a.tsv", "pos", 'a, "b"', b'text\tlabel\nx\ta, "b"\n'),
        ("a.jsonl", "7", "12.5", b'{"text": "x", "label": 12.5}\n'),
        ("a.jsonl", "7", "é", '{"text": "x", "label": "é"}\n'.encode()),
        ("a.jsonl", "true", "no", b'{"text": "x", "label": "no"}\n'),
        ("a.jsonl", '"7"', "12", b'{"text": "x", "label": "12"}\n'),
        ("a.jsonl", "7", "1e5", b'{"text": "x", "label": "1e5"}\n'),
        ("a.jsonl", '"a", "label": "b"', "c", b'{"text": "x", "label": "a", "label": "c"}\n'),
    ],
)  # fmt: skip
def test_labels_are_written_like_those_that_they_replace(tmp_path, name, old, new, expected):
    head = {
        "a.csv": "text,label\nx,{}\n",
        "a.tsv": "text\tlabel\nx\t{}\n",
        "a.jsonl": '{{"text": "x", "label": {}}}\n',
    }[name]
    path = tmp_path / name
    path.write_text(head.format(old))
    rows = mending.cells(path, ["text"], "label")
    review = write_review(tmp_path, judgment(0, ["x"], rows[0].label, new))
    assert mending.mended(path, rows, review) == (expected, [{"row": 0, "old": rows[0].label, "new": new}])


def test_a_tab_cannot_be_written_into_a_table_without_quotes(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\nx\tpos\n")
    rows = mending.cells(tmp_path / "a.tsv", ["text"], "label")
    with toy.refused("a.tsv", "TSV"):
        mending.mended(tmp_path / "a.tsv", rows, write_review(tmp_path, judgment(0, ["x"], "pos", "a\tb")))


def test_several_labels_are_written_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\nx\tpos\ny\tpos\nx\tneg\n")
    review = write_review(tmp_path, judgment(2, ["x"], "neg", "p"), judgment(0, ["x"], "pos", "negative"))
    content, log = mending.mended(path, mending.cells(path, ["text"], "label"), review)
    assert content == b"text\tlabel\nx\tnegative\ny\tpos\nx\tp\n" and [entry["row"] for entry in log] == [2, 0]
    with toy.refused("review.jsonl:2", "row 0"):
        write_review(tmp_path, judgment(0, ["x"], "pos", "a"), judgment(0, ["y"], "pos", "b"))
    with toy.refused("a.tsv", "2 times"):
        mending.mended(
            path, mending.cells(path, ["text"], "label"), write_review(tmp_path, judgment(1, ["x"], "pos", "a"))
        )


@pytest.mark.parametrize(
    "change", [{"row": True}, {"row": 1.0}, {"texts": "x"}, {"texts": [1]}, {"given_label": 1}, {"label": None}]
)
def test_judgments_of_another_type_are_refused(tmp_path, change):
    (tmp_path / "r.jsonl").write_text(json.dumps(judgment(0, ["x"], "a", "b") | change) + "\n")
    with toy.refused("r.jsonl:1"):
        mending.read_review(tmp_path / "r.jsonl")


def test_judgments_are_read_with_their_lines(tmp_path):
    [one] = write_review(tmp_path, judgment(3, ["x", "y"], "a", "b"))
    assert one == mending.Judgment(3, ("x", "y"), "a", "b", 1)


def test_rows_with_an_empty_text_are_rows(tmp_path):
    for name, content in (("a.csv", "text,label\n,pos\n\nx,neg\n"), ("a.tsv", "text\tlabel\n\tpos\n\nx\tneg\n")):
        (tmp_path / name).write_text(content)
        assert [cell.texts for cell in mending.cells(tmp_path / name, ["text"], "label")] == [("",), ("x",)]


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "x", "l\\u0061bel": %s}',
        '{"a": {"label": "a"}, "label" : %s , "b": [{"label": "a"}], "text": "x"}',
        '{"label": "b", "text": "x", "label": %s}',
        '\ufeff{"text": "x", "label": %s}',  # a file that begins with a byte-order mark was appended
    ],
)
def test_the_label_is_the_value_that_a_json_reader_sees(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "y", "label": "b"}\n' + line % '"a"' + "\n")
    content, _ = mending.mended(path, mending.cells(path, ["text"], "label"),
                                write_review(tmp_path, judgment(1, ["x"], "a", "é")))  # fmt: skip
    assert content.decode().splitlines()[1] == line % '"é"'


def test_a_line_is_parsed_once_however_many_keys_have_the_name_of_the_label(tmp_path, monkeypatch):
    parsed = []
    monkeypatch.setattr(
        mending.json, "loads", lambda text: parsed.append(text) or json.JSONDecoder().decode(text.decode())
    )
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "x", "parts": [{"label": "a"}] * 50, "label": "a"}))
    assert mending.cells(path, ["text"], "label")[0].label == "a" and len(parsed) == 1

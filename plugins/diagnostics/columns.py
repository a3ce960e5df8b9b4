"""Find and read the text and label columns of tables with a header and of JSON lines files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plugins.data.glue import reader, specs
from plugins.data.text.records import BadRow, is_json, json_records, string_under
from plugins.data.text.tables import check_delimiter, table_rows
from plugins.errors import UserError, check
from plugins.files import check_regular

LABELS = ("label", "gold_label", "labels", "target", "class", "score", "quality", "is_duplicate")
TEXTS = (("sentence1", "sentence2"), ("#1 String", "#2 String"), ("premise", "hypothesis"), ("question1", "question2"),
         ("question", "sentence"), ("sentence",), ("text",), ("content",), ("tweet",))  # fmt: skip


def known_columns(path: str | Path, texts: Sequence[str] = (), label: str | None = None) -> tuple[tuple[str, ...], str]:
    """Return the names of the text and label columns of a file; detect the names that are not given.

    Raises:
        UserError: the file cannot be read, or no column has a known name.
    """
    path = Path(path)
    first = next(table_objects(path), None)
    if first is None:
        raise UserError(f"{path}: no rows")
    names = list(first[1])
    found = tuple(texts or first_known(path, names, TEXTS, "--text"))
    return found, label or first_known(path, names, [(name,) for name in LABELS], "--label")[0]


def read_texts(path: str | Path, column: str | None = None) -> list[str]:
    """Return one text column of a table with or without labels.

    Raises:
        UserError: the file cannot be read, or the column is missing.
    """
    path = Path(path)
    texts: list[str] = []
    for line, row in table_objects(path):
        if column is None:
            column = first_known(path, list(row), [group for group in TEXTS if len(group) == 1], "--text")[0]
        texts.append(text_of(path, line, row, column))
    check(texts, f"{path}: no rows")
    return texts


def read_column(path: str | Path, name: str, spec: specs.GlueSpec | None = None) -> list[str]:
    """Return the values of one column of a training file, by row.

    Args:
        path: the file.
        name: name of the column.
        spec: specification of the task, for files without a header.

    Raises:
        UserError: the column is missing, or a row is malformed.
    """
    path = Path(path)
    rows = table_objects(path) if spec is None else reader.numbered_rows(path, spec, specs.TRAIN)
    values = []
    for line, row in rows:
        if isinstance(row, BadRow):
            raise UserError(f"{path}:{line}: {row}")
        check(name in row, f"--slices {name}: {path} has no such column; there are {', '.join(map(str, row))[:200]}")
        values.append(str(row[name]))
    return values


def table_objects(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield (line number, {column: value}) for each row of a file.

    Raises:
        UserError: the file cannot be read, or a row is malformed.
    """
    check_regular(path)
    if is_json(path):
        for line, row in json_records(path):
            if isinstance(row, BadRow):
                raise UserError(f"{path}:{line}: {row}")
            yield line, row
        return
    table = table_rows(path)
    header = next(table, (0, []))[1]
    check_delimiter(path, header)
    check(len(set(header)) == len(header), f"{path}:1: a column name occurs twice in the header")
    for line, cells in table:
        check(len(cells) == len(header), f"{path}:{line}: {len(cells)} columns, {len(header)} expected")
        yield line, dict(zip(header, cells, strict=True))


def text_of(path: Path, line: int, row: dict, column: str) -> str:
    """Return the text of a row in a column.

    Raises:
        UserError: the column is missing or is not a text.
    """
    if row.get(column) is None:
        raise UserError(f"{path}:{line}: no text in the column {column!r}")
    try:
        return string_under(row, column)
    except BadRow as error:
        raise UserError(f"{path}:{line}: {error}") from None


def first_known(path: Path, names: Sequence[str], known: Sequence[Sequence[str]], flag: str) -> Sequence[str]:
    """Return the first group of known names that are all columns, as the file spells them (case is ignored).

    Args:
        path: the file, for the error.
        names: names of its columns.
        known: groups of names.
        flag: the option that names the columns, for the error.

    Raises:
        UserError: no group is complete.
    """
    by_lower = {str(name).lower(): name for name in names}
    for group in known:
        if all(name.lower() in by_lower for name in group):
            return [by_lower[name.lower()] for name in group]
    raise UserError(f"{path}: no known column; name it with {flag}; there are {', '.join(map(str, names))[:200]}")

"""Inputs of the commands: lines of text, labeled rows, and their vectors from a checkpoint or a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from plugins.data.embedding import rows, specs, vectors
from plugins.data.glue import specs as glue_specs
from plugins.data.text import records
from plugins.errors import UserError


def lines(paths: Sequence[str | Path]) -> Iterator[tuple[str, str]]:
    """Yield (FILE:LINE, text) of the non-blank lines or JSON records of files, reading them lazily.

    A file has JSON records, each with the field ``text``, by its suffix or its first line, as in
    :func:`plugins.data.text.documents.read_documents`. Files may be compressed.

    Raises:
        UserError: a file cannot be read, or a record has no text.
    """
    for path in paths:
        if records.is_json(path, records.TEXT_KEY):
            read = ((n, text_of(record, f"{path}:{n}")) for n, record in records.json_records(path))
        else:
            read = records.lines(path)
        for number, text in read:
            if text.strip():
                yield f"{path}:{number}", text.strip()


def text_of(record: dict | records.BadRow, place: str) -> str:
    """Return the text of a JSON record.

    Raises:
        UserError: it is not an object with a text; ``place`` is its file and line.
    """
    try:
        if isinstance(record, records.BadRow):
            raise record
        return records.string_under(record, records.TEXT_KEY)
    except records.BadRow as error:
        raise UserError(f"{place}: {error}") from None


def read_rows(
    data: str, spec: str | None = None, task: str | None = None, split: str = "valid", words: int = 32,
    skip_bad_rows: bool = False,
) -> tuple[rows.TextRows, specs.RowSpec]:  # fmt: skip
    """Return rows of texts, and their specification.

    Args:
        data: folder of CLASS.txt files, or of the files of a spec or of a GLUE task.
        spec: YAML file.
        task: GLUE task.
        skip_bad_rows: leave out what is an error otherwise, and count it.

    Raises:
        UserError: a row is bad, or both ``spec`` and ``task`` are given.
    """
    if spec and task:
        raise UserError("give either --spec or --glue-task, not both")
    row = specs.read(spec) if spec else specs.of_glue(glue_specs.find(task)) if task else specs.of_folder()
    return rows.load(data, row, split, words, skip_bad_rows), row


def labeled(
    data: str, spec: str | None = None, task: str | None = None, split: str = "valid", words: int = 32,
    skip_bad_rows: bool = False,
) -> rows.TextRows:  # fmt: skip
    """Return labeled texts; the arguments are those of :func:`read_rows`.

    Raises:
        UserError: as :func:`read_rows`, or the rows are not labeled texts.
    """
    found, row = read_rows(data, spec, task, split, words, skip_bad_rows)
    if row.kind != specs.LABELED:
        raise UserError(f"{row.name}: {row.kind}, but labeled texts are needed: one column of text and its class")
    return found


def is_file_of_vectors(path: str | Path) -> bool:
    """Return whether a path is a file of vectors rather than a checkpoint."""
    return str(path).endswith(".npz")


def stored(path: str | Path, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (N, d) of texts from a file of vectors, matched by text."""
    return vectors.match(path, list(texts))

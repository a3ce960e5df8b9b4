"""Inputs of the commands: lines of text, labeled rows, and their vectors from a checkpoint or a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from plugins.data.embedding import rows, specs, vectors
from plugins.data.glue import specs as glue_specs
from plugins.errors import UserError
from plugins.files import opened


def lines(paths: Sequence[str | Path]) -> Iterator[tuple[str, str]]:
    """Yield (FILE:LINE, text) of the non-blank lines of files, reading them lazily.

    Raises:
        UserError: a file cannot be read.
    """
    for path in paths:
        with opened(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", line.strip()


def labeled(
    data: str, spec: str | None = None, task: str | None = None, split: str = "valid", words: int = 32
) -> rows.Rows:
    """Return the :class:`plugins.data.embedding.rows.Rows` of labeled texts.

    Args:
        data: folder of CLASS.txt files, or of the files of a spec or of a GLUE task.
        spec: YAML file.
        task: GLUE task.

    Raises:
        UserError: the rows are not labeled texts, or both ``spec`` and ``task`` are given.
    """
    if spec and task:
        raise UserError("give either --spec or --glue-task, not both")
    row = specs.read(spec) if spec else specs.of_glue(glue_specs.find(task)) if task else specs.of_folder()
    if row.kind != specs.LABELED:
        raise UserError(f"{row.name}: {row.kind}, but labeled texts are needed: one column of text and its class")
    return rows.load(data, row, split, words)


def is_file_of_vectors(path: str | Path) -> bool:
    """Return whether a path is a file of vectors rather than a checkpoint."""
    return str(path).endswith(".npz")


def stored(path: str | Path, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (N, d) of texts from a file of vectors, matched by text."""
    return vectors.match(path, list(texts))

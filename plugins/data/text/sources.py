"""A user's files as documents of characters or bytes, each with its style, read in chunks."""

import codecs
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from plugins.data.text.documents import text_of
from plugins.data.text.packed import PackedFile, packing, without_suffix
from plugins.data.text.records import BadRow, check_name, is_json, json_records
from plugins.errors import UserError
from plugins.files import check_regular, not_utf8, packed_error, same_file

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".jsonl", ".ndjson")  # read in a folder; a named file may end in any
CHUNK = 1 << 22  # bytes read at once: 16 MiB as code points
Progress = Callable[[int], object]  # called with a number of bytes
STYLE_SOURCES = ("none", "file", "folder", "jsonl")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Settings for reading files, from the options of the task."""

    unit: str = "char"
    style_from: str = "none"
    style_key: str = "style"
    jsonl_key: str = "text"


@dataclass(frozen=True)
class CorpusSpec:
    """Definition of a corpus: the files, how they are read, and how they are split."""

    data: tuple[str, ...]
    reading: Reading = field(default_factory=Reading)
    valid_fraction: float = 0.1
    test_fraction: float = 0.0
    valid_data: tuple[str, ...] = ()
    test_data: tuple[str, ...] = ()

    def sources(self) -> "dict[str, list[Source]]":
        """Return the files: those under "train" are split by the fractions, the others are whole splits."""
        named = {"train": self.data, "valid": self.valid_data, "test": self.test_data}
        found = {split: find_sources(paths, self.reading) for split, paths in named.items()}
        held_out = {split: [source.path for source in found[split]] for split in ("valid", "test")}
        check_outside(self.data, held_out)
        return found

    def shares(self) -> tuple[Fraction, Fraction]:
        """Return where training ends and where validation ends, as parts of a file.

        Raises:
            UserError: fractions below 0, or that add up to more than 1.
        """
        valid = Fraction(0) if self.valid_data else Fraction(str(self.valid_fraction))
        test = Fraction(0) if self.test_data else Fraction(str(self.test_fraction))
        if min(valid, test) < 0 or valid + test > 1:
            raise UserError(
                f"--valid-fraction {self.valid_fraction} and --test-fraction {self.test_fraction} must be between "
                "0 and 1, and so must their sum"
            )
        return 1 - valid - test, 1 - test


@dataclass(frozen=True)
class Source:
    """A file, its style where that depends on its name, and whether it has JSON records instead of plain text."""

    path: str
    style: str | None = None
    is_json: bool = False


@dataclass
class Document:
    """A text with boundaries that no window crosses."""

    style: str | None
    place: str
    """The file, or ``file:line`` of a JSON record."""
    chunks: Iterator[np.ndarray]
    """Code points (uint32), or bytes (uint8), in order."""


def find_sources(paths: Sequence[str], reading: Reading) -> list[Source]:
    """Return the files that paths name, folders searched in sorted order, each with its style.

    Raises:
        UserError: missing, a folder without text, a file without a style, or with one that is not a name.
    """
    sources = []
    for path in paths:
        files = files_in(path) if os.path.isdir(path) else [path]
        parents = {os.path.dirname(os.path.abspath(file)) for file in files}
        for file in files:
            _check(file, reading)
            records = is_json(file, reading.jsonl_key)
            style = _style_of(file, path, len(parents) > 1, records, reading)
            _check_style(style, file)
            sources.append(Source(os.path.abspath(file), style, records))
    return sources


def files_in(folder: str) -> list[str]:
    """Return the files of text in a folder and its subfolders, compressed or not, in sorted order.

    Raises:
        UserError: there is none.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(root, name) for name in names if not name.startswith(".")]
    texts = sorted(file for file in found if without_suffix(file).lower().endswith(TEXT_SUFFIXES))
    if not texts:
        raise UserError(
            f"{folder}: no text in this folder (files named *{', *'.join(TEXT_SUFFIXES)}, possibly with .gz or .zst)"
        )
    return texts


def check_outside(training: Iterable[str | Path], held_out: Mapping[str, Iterable[str | Path]]) -> None:
    """Check that no file of another split lies in a folder of training text, where it would be trained on, too.

    A file that is named for both is only warned of.

    Args:
        training: files and folders of training text.
        held_out: the files of each other split.

    Raises:
        UserError: names the file.
    """
    folders = [path for path in training if os.path.isdir(path)]
    named = {os.path.realpath(path) for path in training if not os.path.isdir(path)}
    within = {os.path.realpath(file): folder for folder in folders for file in files_in(str(folder))}
    for split, files in held_out.items():
        for file in files:
            real = os.path.realpath(file)
            if real in named:
                warn_if_trained_on(file, real, split)
            elif real in within:
                raise UserError(
                    f"{file}: the {split} split would be trained on, too, because it is in {within[real]}; move it out "
                    "of that folder, or name the files to train on"
                )


def warn_if_trained_on(file: str | Path, training: str | Path, split: str) -> None:
    """Log a warning if the file of another split is that of the training split."""
    if same_file(file, training):
        logger.warning(
            "%s: both the training and the %s split, whose scores are then of text seen in training", file, split
        )


def _check(file: str, reading: Reading) -> None:
    check_regular(file)
    if not os.access(file, os.R_OK):
        raise UserError(f"{file}: permission denied")
    if os.path.getsize(file) == 0:
        raise UserError(f"{file}: empty; put text in it or leave it out")
    if reading.unit != "byte" and packing(file) is None and (error := packed_error(file)):
        raise error


def _style_of(file: str, path: str, several_folders: bool, is_json: bool, reading: Reading) -> str | None:
    """Return the style of a file found under ``path``, by its name or its folder; None if each record has its own."""
    if reading.style_from == "file":
        return Path(without_suffix(file)).stem
    if reading.style_from == "folder":
        parent = os.path.dirname(os.path.abspath(file))
        if several_folders and parent == os.path.abspath(path):
            raise UserError(
                f"{file}: has no style; --style-from folder expects it in a folder named after its style within {path}"
            )
        return os.path.basename(parent)
    if reading.style_from == "jsonl" and not is_json:
        raise UserError(f"{file}: has no style; --style-from jsonl reads .jsonl files, --style-from file its name")
    return None


def _check_style(style: str | None, place: str) -> None:
    if style is None:
        return
    if style.strip() in ("", "none"):
        raise UserError(f"{place}: {style!r} cannot name a style: 'none' means no style; rename it")
    try:
        check_name(style, "style")
    except BadRow as error:
        raise UserError(f"{place}: {error}") from None


def read_documents(source: Source, reading: Reading, progress: Progress | None = None) -> Iterator[Document]:
    """Yield the documents of a file; read each before the next.

    A text file is one document; line breaks are kept, a byte-order mark is removed (``--unit char``). Each record of a
    JSON file is one.

    Args:
        progress: called with the number of bytes after each piece that was read.

    Raises:
        UserError: not UTF-8, or a JSON record without text or style, or with a style that is not a name.
    """
    progress = progress or (lambda count: None)
    if source.is_json:
        yield from _records(source, reading, progress)
    else:
        read = _bytes if reading.unit == "byte" else _characters
        yield Document(source.style, source.path, read(source.path, progress))


def _records(source: Source, reading: Reading, progress: Progress) -> Iterator[Document]:
    for number, record in json_records(source.path):
        place = f"{source.path}:{number}"
        text = text_of(record, reading.jsonl_key, place)
        progress(len(text) + 1)
        style = source.style
        if reading.style_from == "jsonl":
            style = text_of(record, reading.style_key, place, "--style-key", "style")
            _check_style(style, place)
        codes = np.frombuffer(text.encode(), np.uint8) if reading.unit == "byte" else code_points(text)
        yield Document(style, place, iter([codes]))


def code_points(text: str) -> np.ndarray:
    """Return the code points of a text, (characters,) uint32."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _raw_chunks(path: str, progress: Progress, binary: bool = False) -> Iterator[bytes]:
    with PackedFile(path, binary=binary) as file:
        position = 0
        while chunk := file.read(CHUNK):
            yield chunk
            progress(file.position - position)
            position = file.position


def _bytes(path: str, progress: Progress) -> Iterator[np.ndarray]:
    return (np.frombuffer(chunk, np.uint8) for chunk in _raw_chunks(path, progress, binary=True))


def _characters(path: str, progress: Progress) -> Iterator[np.ndarray]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, first = 0, True  # offset: of the bytes that the decoder has not seen
    for chunk in _raw_chunks(path, progress):
        yield code_points(_decode(decoder, chunk, offset, path).removeprefix("\ufeff" if first else ""))
        offset, first = offset + len(chunk), False
    _decode(decoder, b"", offset, path, final=True)


def _decode(decoder: codecs.IncrementalDecoder, chunk: bytes, offset: int, path: str, final: bool = False) -> str:
    held_back = len(decoder.getstate()[0])  # the first bytes of a character that the last chunk cut
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        where = offset - held_back + error.start
        problem = not_utf8(path, None, error.object[error.start], where, unpacked=True)
        raise UserError(f"{problem}, or read it as bytes: --unit byte") from None

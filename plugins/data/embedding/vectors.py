"""Files of embeddings: ``vectors`` (N, d) float32, ``index`` (N,) names, ``text_hash`` (N,) uint64, in one ``.npz``.

A text's hash is the first 8 bytes of the SHA-256 of its UTF-8, so that vectors are matched with texts and not with
row numbers.
"""

import hashlib
import itertools
import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plugins import numpy_files
from plugins.errors import UserError
from plugins.files import replacing

CLOSE = 0.98  # least cosine of two computations of a vector, which may be in bfloat16 or on another device
LARGEST = 1e15  # number in a vector, score, margin or weight: losses and lengths are float32
ARRAYS = ("vectors", "index", "text_hash")


@dataclass(frozen=True)
class Vectors:
    """Embeddings of N texts.

    Attributes:
        vectors: (N, d) float32.
        index: (N,) names of the texts.
        text_hash: (N,) uint64.
    """

    vectors: np.ndarray
    index: np.ndarray
    text_hash: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)


def text_hash(text: str) -> int:
    """Return the hash of a text; see the module's docstring."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")


def read(path: str | Path) -> Vectors:
    """Read a file of embeddings.

    Raises:
        UserError: missing, damaged, of other arrays, or with numbers that are not finite.
    """
    stored = numpy_files.read_npz(path, ARRAYS)
    missing = [name for name in ARRAYS if name not in stored]
    if missing:
        raise UserError(f"{path}: no array {missing[0]!r}; write the file with scripts/embed.py")
    vectors, index, hashes = (stored[name] for name in ARRAYS)
    fits = vectors.ndim == 2 and vectors.dtype.kind == "f" and vectors.size and index.ndim == 1
    if not fits or not len(vectors) == len(index) == len(hashes):
        raise UserError(
            f"{path}: {vectors.dtype} vectors of shape {vectors.shape} for {len(index)} names; write it again"
        )
    if hashes.ndim != 1 or hashes.dtype.kind != "u":
        raise UserError(f"{path}: text_hash of type {hashes.dtype} and shape {hashes.shape}; write it again")
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32, copy=False)
    if not (np.abs(vectors) <= LARGEST).all():
        raise UserError(
            f"{path}: a vector has a number that is not finite, or not between {-LARGEST:g} and {LARGEST:g}"
        )
    return Vectors(vectors, index, hashes)


def check_model(path: str | Path, stored: np.ndarray, computed: np.ndarray, names: Sequence[str], model: str) -> None:
    """Check that vectors are those of a model, by comparing a few with new ones.

    Vectors of another checkpoint, or with another pooling, may have the same size: a search among them gives no error,
    only wrong neighbors. Lengths are not compared, because the vectors may have been normalized.

    Args:
        path: the file of the vectors, for the error.
        stored: vectors (B, d) of the file.
        computed: vectors (B, d) of the model for the same texts.
        names: B names of the texts.
        model: the checkpoint, for the error.

    Raises:
        UserError: a vector differs.
    """
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(computed, axis=1)
    cosine = np.where(lengths > 0, (stored * computed).sum(axis=1) / np.where(lengths > 0, lengths, 1), 1)
    worst = int(cosine.argmin())
    if cosine[worst] < CLOSE:
        raise UserError(
            f"{path}: not the vectors of {model}, which has another one for {names[worst]} (cosine "
            f"{cosine[worst]:.2f}): name the checkpoint and the --pooling of scripts/embed.py, or embed the files again"
        )


def write(path: str | Path, blocks: Iterable[tuple[np.ndarray, list, list]]) -> tuple[int, int]:
    """Write embeddings as they arrive, in constant memory, and return their shape (N, d).

    Args:
        blocks: (vectors (B, d), B names, B texts).

    Raises:
        UserError: it cannot be written, or there are no vectors.
    """
    path, shape, longest = Path(path), (0, 0), 1
    with replacing(path) as part, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        raw, index, hashes = (Path(folder, name) for name in ARRAYS)
        with raw.open("wb") as numbers, index.open("w", encoding="utf-8") as lines, hashes.open("wb") as digests:
            for vectors, names, texts in blocks:
                np.ascontiguousarray(vectors, np.float32).tofile(numbers)
                lines.writelines(json.dumps(str(name)) + "\n" for name in names)
                np.array([text_hash(text) for text in texts], np.uint64).tofile(digests)
                longest = max(longest, *(len(str(name)) for name in names))
                shape = (shape[0] + len(vectors), vectors.shape[1])
        if not shape[0]:
            raise UserError(f"{path}: there are no texts to embed")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            _add(archive, "vectors", "<f4", shape, _bytes(raw))
            _add(archive, "index", f"<U{longest}", shape[:1], _names(index, longest))
            _add(archive, "text_hash", "<u8", shape[:1], _bytes(hashes))
    return shape


def _add(archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...], content: Iterable[bytes]) -> None:
    """Add an array to an ``.npz`` archive, block by block."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
        for block in content:
            file.write(block)


def _bytes(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _names(path: Path, longest: int) -> Iterator[bytes]:
    """Yield names as numpy stores them: UTF-32, padded to the longest."""
    with path.open(encoding="utf-8") as file:
        while lines := list(itertools.islice(file, 10_000)):
            yield np.array([json.loads(line) for line in lines], f"<U{longest}").tobytes()


def match(path: str | Path, texts: list[str]) -> np.ndarray:
    """Return the vectors (N, d) of texts.

    Raises:
        UserError: as :func:`read`, or a text has none.
    """
    found = read(path)
    places = {int(value): place for place, value in enumerate(found.text_hash)}
    try:
        return found.vectors[[places[text_hash(text)] for text in texts]].astype(np.float32)
    except KeyError:
        missing = next(text for text in texts if text_hash(text) not in places)
        raise UserError(f"{path}: no vector of the text {missing[:60]!r}; embed the training file") from None

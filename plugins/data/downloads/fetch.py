"""Download, verify, unpack and split the files of a dataset."""

import contextlib
import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from plugins import locks
from plugins.atomic import NotWritten, make_folder, replacing, temporary_folder
from plugins.data.downloads import datasets
from plugins.data.downloads.datasets import Dataset, RemoteFile, Split
from plugins.errors import UserError


def get(name: str, output: str | Path, source: str | Path | None = None) -> Path:
    """Make the folder ``output/name`` of a dataset and return it.

    Args:
        source: a local copy of the file to split, or of its archive; in that case nothing is downloaded.

    Raises:
        UserError: no dataset of that name, another process is making the folder, or as :func:`fetch` and :func:`take`.
    """
    dataset, folder = datasets.find(name), Path(output) / name
    if source and dataset.split is None:
        raise UserError(f"--from is for corpora with a standard split; {name} has none: use your copy as it is")
    try:
        if source:
            check_source(dataset, Path(source))
        with locks.lock(folder):
            take(dataset, Path(source), folder) if source else fetch(dataset, folder)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{error.filename or folder}: {reason}; -o names the folder to write to") from error
    return folder


def fetch(dataset: Dataset, folder: Path) -> None:
    """Bring all files of a dataset into ``folder``; files that are already complete are not downloaded again.

    Raises:
        UserError: a URL cannot be reached, refuses, or sends a file with another SHA-256; or the file to be split
            does not have the expected size.
    """
    make_folder(folder)
    for file in dataset.files:
        path = download(file, folder)
        if file.sha256 is None:
            print(f"{path}: sha256 {pooch.file_hash(path)} (no published value to compare with)")
        if path.suffix == ".zip":
            unpack(path, folder)
    if dataset.split is not None:
        cut(folder / dataset.split.source, dataset.split, folder)


def check_source(dataset: Dataset, source: Path) -> None:
    """Check a local copy before anything is made from it.

    Raises:
        UserError: the file does not exist, is not the right archive, or does not have the expected size.
    """
    if not source.is_file():
        raise UserError(f"--from {source}: no such file")
    assert dataset.split is not None, "see get"
    size = size_in(source, dataset.split.source) if source.suffix == ".zip" else source.stat().st_size
    check_size(source, size, dataset.split)


def take(dataset: Dataset, source: Path, folder: Path) -> None:
    """Process a local copy like a downloaded file: unpack an archive, split the text.

    Raises:
        UserError: as :func:`check_source`; in that case nothing is written.
    """
    check_source(dataset, source)
    assert dataset.split is not None, "see get"
    make_folder(folder)
    if source.suffix == ".zip":
        unpack(source, folder)
        source = folder / dataset.split.source
    cut(source, dataset.split, folder)


def size_in(archive: Path, name: str) -> int:
    """Return the size in bytes of a file in an undamaged zip archive.

    Raises:
        UserError: the archive is damaged, or has no such file.
    """
    damaged = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError)
    with contextlib.suppress(*damaged), zipfile.ZipFile(archive) as file:
        if file.testzip() is None:
            return file.getinfo(name).file_size
    raise UserError(f"--from {archive}: damaged, or not the archive with {name}; name that one")


def check_size(source: Path, found: int, split: Split) -> None:
    """Raise :class:`UserError` if a file's size is not the sum of its parts' sizes."""
    total = sum(size for _, size in split.sizes)
    if found != total:
        raise UserError(f"{source} has {found:,} bytes, not {total:,}: it is another file, or damaged")


def cut(source: Path, split: Split, folder: Path) -> None:
    """Write the parts of a file into ``folder``, each atomically.

    Raises:
        UserError: the file does not exist, does not have the size of its parts together, or a part cannot be written.
    """
    if not source.is_file():
        raise UserError(f"{source}: not found, though the archive should contain it; delete the archive and try again")
    check_size(source, source.stat().st_size, split)
    with source.open("rb") as file:
        for name, size in split.sizes:
            with replacing(folder / name) as temporary, temporary.open("wb") as part:
                left = size
                while left and (block := file.read(min(left, 2**20))):
                    left -= part.write(block)
                if left:
                    raise UserError(f"{source}: {left:,} bytes shorter than it was; do not write to it meanwhile")


def download(file: RemoteFile, folder: Path) -> Path:
    """Download one file and return its path; the name appears only when the file is complete and verified.

    The caller holds the lock of the folder.

    Raises:
        UserError: as :func:`fetch`.
    """
    downloader = ResumingDownloader(folder / f"{file.name}.part", resume=file.sha256 is not None)
    host = urlsplit(file.url).hostname
    again = f"run the command again to resume, or put {file.name} into {folder} yourself"
    try:
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(file.url, file.sha256, fname=file.name, path=folder, downloader=downloader)
    except requests.HTTPError as error:
        raise UserError(f"{file.url} answers {error.response.status_code} {error.response.reason}") from None
    except requests.TooManyRedirects:
        raise UserError(f"{file.url} redirects in a loop; {again}") from None
    except requests.exceptions.SSLError as error:
        raise UserError(f"{host}: its certificate is not accepted ({type(error).__name__}); {again}") from None
    except requests.RequestException as error:
        raise UserError(f"cannot reach {host} ({type(error).__name__}): are you offline? {again}") from None
    except ValueError as error:  # pooch's error for another hash
        if isinstance(error, UserError):
            raise
        raise UserError(f"{file.url} does not have the SHA-256 {file.sha256}: not kept") from None
    return folder / file.name


class ResumingDownloader:
    """A downloader for pooch that collects a file in ``part`` and continues with what is there.

    Resuming a file that has changed in between would join two halves that do not match, so ``resume`` is only for
    files whose hash is verified afterwards. Anything at ``part`` that is not a regular file with one link is removed.
    """

    def __init__(self, part: Path, *, resume: bool):
        self.part = part
        self.resume = resume

    def __call__(self, url: str, output_file: str, pooch_instance: object) -> None:
        """Download ``url`` and move it to ``output_file``."""
        done = self._done()
        response = self._get(url, done)
        if response.status_code == 416:  # the file is complete already or has changed: start over
            done, response = 0, self._get(url, 0)
        response.raise_for_status()
        if response.status_code != 206:  # the server ignores the range request and sends the whole file
            done = 0
        try:
            self._receive(response, done)
        except requests.RequestException:  # also an OSError; the partial file is kept
            raise
        except OSError as error:  # the disk is full: keeping the partial file would not help
            self.part.unlink(missing_ok=True)
            raise NotWritten(self.part, error.strerror or str(error)) from error
        os.replace(self.part, output_file)

    def _done(self) -> int:
        """Return how many bytes are there already."""
        try:
            info = os.lstat(self.part)
        except FileNotFoundError:
            return 0
        if self.resume and stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
            return info.st_size
        shutil.rmtree(self.part) if stat.S_ISDIR(info.st_mode) else self.part.unlink()
        return 0

    @staticmethod
    def _get(url: str, start: int) -> requests.Response:
        # Some hosts refuse Python's default user agent. Compressed transfer would make ranges meaningless.
        headers = {"User-Agent": "fairseq-workbench", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        return requests.get(url, headers=headers, stream=True, timeout=30)

    def _open(self, append: bool) -> BinaryIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_APPEND if append else os.O_TRUNC)
        return os.fdopen(os.open(self.part, flags, 0o666), "ab" if append else "wb")

    def _receive(self, response: requests.Response, done: int) -> None:
        rest = response.headers.get("Content-Length")
        total = done + int(rest) if rest else None
        bar: tqdm = tqdm(
            total=total, initial=done, desc=self.part.stem, unit="B", unit_scale=True, leave=False, disable=None
        )
        with bar, self._open(append=bool(done)) as file:
            for chunk in response.iter_content(2**16):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and self.part.stat().st_size < total:
            raise requests.ConnectionError("the connection broke off")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into ``folder``; its content appears there all at once.

    Raises:
        UserError: the file is not a zip archive, or its content cannot be written.
    """
    try:
        with temporary_folder(folder / archive.name) as temporary:
            with zipfile.ZipFile(archive) as file:
                file.extractall(temporary)
            for path in sorted(temporary.iterdir()):
                target = folder / path.name
                if target.is_dir() and not target.is_symlink():
                    shutil.rmtree(target)
                elif target.is_symlink():
                    target.unlink()
                os.replace(path, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise UserError(f"{archive} is damaged, or not a zip archive; delete it and try again") from None

#!/usr/bin/env python3
"""Fetch a named public dataset from its canonical address.

    python scripts/get_data.py --list
    python scripts/get_data.py wikitext-2 -o data
    python scripts/get_data.py enwik8 --from ~/enwik8.zip -o data

Files whose SHA-256 is published are checked, and resumed after a broken download.
Archives are unpacked, and character corpora cut into their standard splits: train.txt, valid.txt and test.txt.
All other commands read local files, so what you already have needs no download.
"""

import argparse
import contextlib
import os
import shutil
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

FAIRSEQ = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True)
class RemoteFile:
    """A file to download; names ending in ``.zip`` are unpacked."""

    url: str
    sha256: str | None
    """None where no published value is known: what arrives is printed for the record."""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Split:
    """How a file is cut into consecutive parts."""

    source: str
    """Name of the file, after unpacking."""
    sizes: tuple[tuple[str, int], ...]
    """File names of the parts, and their sizes in bytes; together they are the whole file."""


@dataclass(frozen=True)
class Dataset:
    """A named dataset; its files go into a folder of that name."""

    description: str
    files: tuple[RemoteFile, ...]
    split: Split | None = None


# Of 100,000,000 bytes, 90 % to train on, as in the papers that report bits per character on these two.
HUNDRED_MILLION = (("train.txt", 90_000_000), ("valid.txt", 5_000_000), ("test.txt", 5_000_000))

# fmt: off
DATASETS = {
    "wikitext-103": Dataset("Wikipedia articles, raw text, 517 MB (CC BY-SA)", (
        RemoteFile("https://wikitext.smerity.com/wikitext-103-raw-v1.zip",
                   "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794"),)),
    "wikitext-2": Dataset("Wikipedia articles, raw text, 13 MB (CC BY-SA)", (
        RemoteFile("https://wikitext.smerity.com/wikitext-2-raw-v1.zip",
                   "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11"),)),
    "enwik8": Dataset("first 100 MB of a Wikipedia dump, with markup, split 90/5/5 million bytes (CC BY-SA)", (
        RemoteFile("http://mattmahoney.net/dc/enwik8.zip",
                   "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc"),),
        Split("enwik8", HUNDRED_MILLION)),
    "text8": Dataset("100 MB of Wikipedia text, a-z and blanks only, split 90/5/5 million bytes (CC BY-SA)", (
        RemoteFile("http://mattmahoney.net/dc/text8.zip",
                   "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"),),
        Split("text8", HUNDRED_MILLION)),
    # The split is nanoGPT's: the first nine tenths, and the rest.
    "shakespeare_char": Dataset("Shakespeare's plays in part, 1.1 MB, split 90/10 (public domain)", (
        RemoteFile("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                   "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),),
        Split("input.txt", (("train.txt", 1_003_854), ("valid.txt", 111_540)))),
    # OpenAI's encoder.json and vocab.bpe have published hashes; those of fairseq's copies are not published.
    "gpt2-bpe": Dataset("GPT-2's byte-pair encoding with fairseq's dictionary, 2 MB (MIT)", tuple(
        RemoteFile(f"{FAIRSEQ}/fairseq/gpt2_bpe/{name}", None)
        for name in ("encoder.json", "vocab.bpe", "dict.txt"))),
    # No published hash is known for most of the GLUE archives.
    "glue": Dataset("the GLUE tasks as .tsv files, 1 GB (see gluebenchmark.com); MRPC as two text files", (
        RemoteFile(f"{FAIRSEQ}/glue/data/CoLA.zip",
                   "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),
        RemoteFile(f"{FAIRSEQ}/glue/data/SST-2.zip",
                   "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"),
        RemoteFile(f"{FAIRSEQ}/glue/data/STS-B.zip", None),
        RemoteFile(f"{FAIRSEQ}/glue/data/QQP-clean.zip", None),
        RemoteFile(f"{FAIRSEQ}/glue/data/MNLI.zip", None),
        RemoteFile(f"{FAIRSEQ}/glue/data/QNLIv2.zip", None),
        RemoteFile(f"{FAIRSEQ}/glue/data/RTE.zip", None),
        RemoteFile(f"{FAIRSEQ}/glue/data/WNLI.zip", None),
        RemoteFile(f"{FAIRSEQ}/senteval/senteval_data/msr_paraphrase_train.txt", None),
        RemoteFile(f"{FAIRSEQ}/senteval/senteval_data/msr_paraphrase_test.txt", None))),
}
# fmt: on


class DownloadError(Exception):
    """A download failed; the text is one line for the user."""


def fetch(dataset: Dataset, folder: Path) -> None:
    """Bring all files of a dataset into ``folder``, leaving alone those that are there and sound.

    Raises:
        DownloadError: an address cannot be reached, refuses, or sends something of another SHA-256; or the file to
            be split has another size than it should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in dataset.files:
        path = download(file, folder)
        if file.sha256 is None:
            print(f"{path}: sha256 {pooch.file_hash(path)} (no published value to compare with)")
        if path.suffix == ".zip":
            unpack(path, folder)
    if dataset.split is not None:
        cut(folder / dataset.split.source, dataset.split, folder)


def take(dataset: Dataset, source: Path, folder: Path) -> None:
    """Do with a local file what :func:`fetch` does with a downloaded one: unpack an archive, cut the text.

    Raises:
        DownloadError: the file is not there, is not the archive, or has another size than it should; nothing is made.
    """
    if not source.is_file():
        raise DownloadError(f"--from {source}: no such file")
    size = size_in(source, dataset.split.source) if source.suffix == ".zip" else source.stat().st_size
    check_size(source, size, dataset.split)
    folder.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".zip":
        unpack(source, folder)
        source = folder / dataset.split.source
    cut(source, dataset.split, folder)


def size_in(archive: Path, name: str) -> int:
    """Return the bytes of a file in a zip archive that is whole.

    Raises:
        DownloadError: the archive is damaged, or holds no such file.
    """
    with contextlib.suppress(zipfile.BadZipFile, zlib.error, EOFError, KeyError), zipfile.ZipFile(archive) as file:
        if file.testzip() is None:
            return file.getinfo(name).file_size
    raise DownloadError(f"--from {archive}: damaged, or not the archive that holds {name}; name that one")


def check_size(source: Path, found: int, split: Split) -> None:
    """Raise DownloadError if a file has not the size of its parts together."""
    total = sum(size for _, size in split.sizes)
    if found != total:
        raise DownloadError(f"{source} has {found:,} bytes, not {total:,}: it is another file, or broken")


def cut(source: Path, split: Split, folder: Path) -> None:
    """Write the parts of a file into ``folder``, each of which appears under its name once it is whole.

    Raises:
        DownloadError: the file is not there, or its size is not that of its parts together.
    """
    if not source.is_file():
        raise DownloadError(f"{source}: not found, though the archive should hold it; delete the archive and try again")
    check_size(source, source.stat().st_size, split)
    with source.open("rb") as file:
        for name, size in split.sizes:
            temporary = folder / f"{name}.part"
            with temporary.open("wb") as part:
                left = size
                while left:
                    left -= part.write(file.read(min(left, 2**20)))
            os.replace(temporary, folder / name)


def download(file: RemoteFile, folder: Path) -> Path:
    """Download one file and return its path; it appears under its name only once it is whole and checked.

    Raises:
        DownloadError: as for :func:`fetch`.
    """
    downloader = ResumingDownloader(folder / f"{file.name}.part", resume=file.sha256 is not None)
    try:
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(file.url, file.sha256, fname=file.name, path=folder, downloader=downloader)
    except requests.HTTPError as error:
        answer = f"{error.response.status_code} {error.response.reason}"
        raise DownloadError(f"{file.url} answers {answer}") from None
    except requests.RequestException as error:
        host = urlsplit(file.url).hostname
        raise DownloadError(
            f"cannot reach {host} ({type(error).__name__}): are you offline? "
            f"Run the command again to go on, or put {file.name} into {folder} yourself"
        ) from None
    except ValueError:  # pooch's word for another hash
        raise DownloadError(f"{file.url} does not have the SHA-256 {file.sha256}: not kept") from None
    return folder / file.name


class ResumingDownloader:
    """A downloader for pooch that collects a file in ``part`` and goes on from what is there.

    Resuming a file that has changed meanwhile would join two halves that do not match, so ``resume`` is only
    for files whose hash is checked afterwards.
    """

    def __init__(self, part: Path, *, resume: bool):
        self.part = part
        self.resume = resume

    def __call__(self, url: str, output_file: str, pooch_instance: object) -> None:
        """Download ``url`` and move it to ``output_file``, as pooch asks of a downloader."""
        done = self.part.stat().st_size if self.resume and self.part.exists() else 0
        response = self._get(url, done)
        if response.status_code == 416:  # nothing beyond what is there, or another file by now: start afresh
            done, response = 0, self._get(url, 0)
        response.raise_for_status()
        if response.status_code != 206:  # the server sends the whole file, asked for a part of it or not
            done = 0
        self._receive(response, done)
        os.replace(self.part, output_file)

    @staticmethod
    def _get(url: str, start: int) -> requests.Response:
        # Some hosts refuse Python's default user agent. Compressed transfer would make ranges meaningless.
        headers = {"User-Agent": "fairseq-workbench", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        return requests.get(url, headers=headers, stream=True, timeout=30)

    def _receive(self, response: requests.Response, done: int) -> None:
        rest = response.headers.get("Content-Length")
        total = done + int(rest) if rest else None
        shown = {"desc": self.part.stem, "unit": "B", "unit_scale": True, "leave": False, "disable": None}
        bar = tqdm(total=total, initial=done, **shown)
        with bar, self.part.open("ab" if done else "wb") as file:
            for chunk in response.iter_content(2**16):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and self.part.stat().st_size < total:
            raise requests.ConnectionError("the connection broke off")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into ``folder``; what it holds appears there all at once.

    Raises:
        DownloadError: the file is no zip archive.
    """
    temporary = folder / f".{archive.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(temporary)
        for path in sorted(temporary.iterdir()):
            target = folder / path.name
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(path, target)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise DownloadError(f"{archive} is damaged, or not a zip archive; delete it and try again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def list_datasets() -> None:
    """Print the names that the command knows, with addresses."""
    for name, dataset in DATASETS.items():
        print(f"{name:<16} {dataset.description}")
        for file in dataset.files:
            print(f"{'':<16} {file.url}{'' if file.sha256 else '  (hash unknown)'}")


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("name", nargs="?", choices=DATASETS, metavar="NAME", help=", ".join(DATASETS))
    add("--list", action="store_true", help="say what there is, and where from")
    add("--from", dest="source", type=Path, metavar="FILE", help="cut this local copy, downloading nothing: "
        + ", ".join(name for name, dataset in DATASETS.items() if dataset.split))  # fmt: skip
    add("-o", "--output", default="data", metavar="DIR", help="files go to DIR/NAME (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.list:
        list_datasets()
        return
    if args.name is None:
        parser.error("name a dataset, or see --list")
    dataset, folder = DATASETS[args.name], Path(args.output) / args.name
    if args.source and dataset.split is None:
        parser.error(f"--from is for corpora with a standard split; {args.name} has none: use your copy as it is")
    try:
        if args.source:
            take(dataset, args.source, folder)
        else:
            fetch(dataset, folder)
    except DownloadError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or folder}: {error.strerror or error}; -o names the folder to write to")
    except KeyboardInterrupt:
        sys.exit("interrupted: run the command again to go on")
    print(f"{args.name} is in {folder}")


if __name__ == "__main__":
    main()

"""Named public datasets: their addresses, published SHA-256 values and standard splits."""

from dataclasses import dataclass

from plugins.errors import UserError

FAIRSEQ = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True)
class RemoteFile:
    """A file to download; ``.zip`` files are unpacked."""

    url: str
    sha256: str | None
    """None where no published value is known; the hash of the downloaded file is printed then."""

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Split:
    """The consecutive parts that a file is split into."""

    source: str
    """Name of the file, after unpacking."""
    sizes: tuple[tuple[str, int], ...]
    """File name and size in bytes of each part; together they are the whole file."""


@dataclass(frozen=True)
class Dataset:
    """A named dataset; its files go into a folder of that name."""

    description: str
    files: tuple[RemoteFile, ...]
    split: Split | None = None


# 90 % of 100,000,000 bytes for training, as in the papers that report bits per character on these two.
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
    "text8": Dataset("100 MB of Wikipedia text, a-z and spaces only, split 90/5/5 million bytes (CC BY-SA)", (
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


def find(name: str) -> Dataset:
    """Return a dataset by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DATASETS:
        raise UserError(f"no dataset {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def listing() -> str:
    """Return the names and descriptions of all datasets, each with its addresses, one per line."""
    lines = []
    for name, dataset in DATASETS.items():
        lines.append(f"{name:<16} {dataset.description}")
        lines += [f"{'':<16} {file.url}{'' if file.sha256 else '  (hash unknown)'}" for file in dataset.files]
    return "\n".join(lines)

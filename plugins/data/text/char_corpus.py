"""A corpus of characters or bytes: encoded on disk once, then read through a memory map."""

import logging
import os
from collections.abc import Sequence

import numpy as np

from plugins.data.text.cache import cached, describe_sources
from plugins.data.text.char_dictionary import CharDictionary, describe
from plugins.data.text.encoding import Sources, encode, pieces
from plugins.data.text.sources import CorpusSpec
from plugins.data.text.splits import TextSplit
from plugins.errors import UserError

logger = logging.getLogger(__name__)

FORMAT = 2  # version of the cache files


def open_corpus(spec: CorpusSpec, cache: str) -> "CharCorpus":
    """Return a corpus; it is encoded into the folder ``cache`` unless it is there already and no file has changed.

    Raises:
        UserError: a source is missing, empty, not UTF-8 or without a style, or the cache cannot be written.
    """
    sources = spec.sources()
    key = {"format": FORMAT, **describe_sources(spec, sources)}
    folder, content = cached(cache, key, lambda part: encode(spec, sources, part))
    return CharCorpus(spec, sources, folder, content)


class CharCorpus:
    """The splits of a corpus, and its styles.

    Attributes:
        styles: names of the styles in sorted order; empty if the documents have none.
    """

    def __init__(self, spec: CorpusSpec, sources: Sources, folder: str, content: dict):
        self._spec, self._sources, self._folder, self._content = spec, sources, folder, content
        self.styles: list[str] = self._content["styles"]

    def dictionary(self) -> CharDictionary:
        """Return the dictionary of the training text, including its held-out part (as in nanoGPT).

        Raises:
            UserError: the training split is empty.
        """
        if self._spec.reading.unit == "byte":
            return CharDictionary.of_bytes()
        if not self._content["splits"]["train"]["length"]:
            raise UserError(f"{self._names('train')}: nothing left to train on; lower --valid-fraction")
        cut_from_it = [split for split in self._content["splits"] if split == "train" or not self._sources[split]]
        return CharDictionary(map(chr, sorted(set().union(*map(self._codes, cut_from_it)))))

    def _codes(self, split: str) -> list[int]:
        """Return the code points that occur in a split."""
        return [self._content["alphabet"][index] for index in self._content["splits"][split]["used"]]

    def _names(self, split: str) -> str:
        files = self._sources[split] or self._sources["train"]
        return files[0].path + (f" and {len(files) - 1} more" if len(files) > 1 else "")

    def split(
        self,
        name: str,
        dictionary: CharDictionary,
        styles: Sequence[str],
        window: int,
        trained_on: str = "training text",
    ) -> "TextSplit":
        """Return a split with the ids of a dictionary and style labels that index a list of names.

        Args:
            window: length of the longest window in characters.
            trained_on: where the dictionary comes from, for the error.

        Raises:
            UserError: the split is shorter than a window and the character after it, or has a character or a style that
                the dictionary or the list lacks.
        """
        info = self._content["splits"].get(name)
        if info is None:
            raise UserError(f"no split {name!r}: there are {', '.join(self._content['splits'])}")
        if info["length"] <= window:
            files = [source.path for source in self._sources[name] or self._sources["train"]]
            whole = sum(length for path, _, length in self._content["lengths"] if path in files)
            raise UserError(
                f"{self._names(name)}: {whole} characters, of which the {name} split has {info['length']} but needs "
                f"{window + 1}; give more text, change --valid-fraction or --test-fraction, or lower --block-size"
            )
        if name == "train":
            for style, place in self._content["untrained"].items():
                raise UserError(f"{place}: style {style!r} has no text to train on; give it more or leave it out")
        table = dictionary.ids_of(self._content["alphabet"][-1])[self._content["alphabet"]]  # (alphabet,)
        self._check_seen(name, table[info["used"]] == len(dictionary), trained_on)
        prefix = os.path.join(self._folder, name)
        labels = np.load(prefix + ".styles.npy", mmap_mode="r")
        return TextSplit(
            ids=np.memmap(prefix + ".bin", info["dtype"], "r", shape=(info["length"],)),
            starts=np.load(prefix + ".starts.npy"),
            labels=self._style_ids(styles, trained_on)[labels] if self.styles else None,
            table=None if (table == np.arange(len(table))).all() else table,
        )

    def _style_ids(self, styles: Sequence[str], trained_on: str) -> np.ndarray:
        unknown = sorted(set(self.styles) - set(styles))
        if unknown:
            raise UserError(
                f"{self._names('train')}: style {unknown[0]!r} is not one of {', '.join(styles)} in {trained_on}; "
                "rename it, or leave --style-from out"
            )
        return np.array([styles.index(style) for style in self.styles], np.int64)

    def _check_seen(self, name: str, unseen: np.ndarray, trained_on: str) -> None:
        """Raise an error with the place of the first character of a split that the dictionary lacks, if any."""
        if not unseen.any():
            return
        codes = [code for code, is_unseen in zip(self._codes(name), unseen, strict=True) if is_unseen]
        lengths = self._lengths()
        for piece in pieces(self._spec, self._sources, lengths):
            hits = np.flatnonzero(np.isin(piece.codes, codes)) if piece.split == name else np.zeros(0, int)
            if len(hits):
                character = chr(piece.codes[hits[0]])
                raise UserError(
                    f"{piece.document.place}: {describe(character)}, character {piece.offset + hits[0] + 1}, is in the "
                    f"{name} split but not in {trained_on}; replace it, add text that has it, or use --unit byte"
                )
        raise UserError(f"{self._names(name)}: changed while it was read; run the command again")

    def _lengths(self) -> dict:
        return {(path, style): length for path, style, length in self._content["lengths"]}
